//! Whether a plan's documents are as planned, and whether new damage has come.

use super::error::RunError;
use super::observe::{Seen, observe};
use super::options::RunOptions;
use super::patience::patiently;
use super::status::count_tokens;
use crate::plan::Plan;
use crate::progress::{Progress, Unit};
use crate::server::{Server, failed};
use crate::verify::VerifyReport;

/// Reads and hashes every document of `plan`, and counts new damage. Writes nothing.
///
/// # Errors
/// [`RunError`] when the plan or the server can't be read, or it was told to stop.
pub async fn verify(
    plan: &Plan,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
) -> Result<VerifyReport, RunError> {
    let collection = &plan.content().snapshot.tokens;
    progress.begin("verifying", plan.content().totals.changes, Unit::Documents);
    let (mut as_planned, mut as_before, mut drifted, mut missing) = (0, 0, 0, 0);
    let not_changed = plan.content().not_changed.values();
    let mut known_problematic = not_changed.fold(0, |sum: u64, n| sum.saturating_add(*n));
    for batch in plan.batches() {
        progress.check().map_err(|_| RunError::Stopped)?;
        let batch = batch?;
        let changes: Vec<_> = batch.changes().collect();
        let seen = patiently(options.retry, || observe(server, collection, &changes, None));
        let seen = seen.await;
        let seen = seen.map_err(failed("read the plan's documents", "find on cashu_tokens"))?;
        for seen in seen.0 {
            match seen {
                Seen::After => as_planned += 1,
                Seen::Before => as_before += 1,
                Seen::Changed { .. } => drifted += 1,
                Seen::Missing => missing += 1,
            }
            let is_problematic =
                matches!(seen, Seen::Before | Seen::Changed { is_problematic: true });
            known_problematic += u64::from(is_problematic);
        }
        progress.advance(changes.len() as u64);
    }
    let checked = as_planned + as_before + drifted + missing;
    let counts = count_tokens(server, collection, options.retry).await?;
    let new_problematic_tokens = counts.problematic.saturating_sub(known_problematic);
    let ok = as_planned == checked && new_problematic_tokens == 0;
    Ok(VerifyReport {
        plan_sha256: plan.sha256(),
        checked,
        as_planned,
        as_before,
        drifted,
        missing,
        new_problematic_tokens,
        ok,
    })
}

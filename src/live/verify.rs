//! Whether a plan's documents are as planned, and whether new damage has come.

use super::error::RunError;
use super::observe::{Seen, observe};
use super::options::RunOptions;
use super::patience::patiently;
use super::status::count_tokens;
use crate::document::find;
use crate::plan::{LeftTokens, Plan};
use crate::progress::{Progress, Unit};
use crate::server::{Server, ServerError, failed};
use crate::verify::VerifyReport;
use futures_util::StreamExt;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::Result as DriverResult;

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
    let mut known_problematic = 0;
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
    let problematic = match LeftTokens::read(plan) {
        Some(left) => count_problematic(server, collection, options, &left).await?,
        // Without their names the known ones can only be counted.
        None => {
            let counts = count_tokens(server, collection, options.retry).await?;
            counts.problematic.saturating_sub(plan.content().left())
        }
    };
    let new_problematic_tokens = problematic.saturating_sub(known_problematic);
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

/// Tokens with the fault, those that the plan left not counted.
async fn count_problematic(
    server: &Server,
    collection: &str,
    options: &RunOptions,
    left: &LeftTokens,
) -> Result<u64, ServerError> {
    let count = || async {
        let mut left = left.clone();
        let tokens = server.database().collection::<RawDocumentBuf>(collection);
        // A filter alone would match lists that hold the words, too.
        let is = |field: &str, word: &str| doc! {"$eq": [field, word]};
        let is_text = [is("$transaction_type", "melted"), is("$status", "unspent")];
        let found = tokens.find(doc! {
            "transaction_type": "melted", "status": "unspent", "$expr": {"$and": is_text.to_vec()},
        });
        let mut batches = found.projection(doc! {"_id": 1}).batch().await?;
        let mut count = 0;
        while let Some(batch) = batches.next().await {
            for token in batch?.doc_slices()? {
                let Some(token) = token?.as_document() else { continue };
                let id = find(token.as_bytes(), b"_id").ok().flatten().map(|it| it.value);
                count += u64::from(!left.meet(id));
            }
        }
        DriverResult::Ok(count)
    };
    let counted = patiently(options.retry, count).await;
    counted.map_err(failed("count the tokens with the fault", "find on cashu_tokens"))
}

//! What an apply would change now. Reads only.

use super::apply::{compare, is_rolled_back};
use super::error::RunError;
use super::guard::guard;
use super::options::RunOptions;
use super::place::{Place, find_place};
use super::preflight::Tally;
use super::rollback::read_complete;
use super::status::must_exist;
use super::work::{UnitKey, remaining};
use crate::decide::OnDrift;
use crate::journal::Goal;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::server::Server;

/// What an apply would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applying {
    /// The run that it would go on with; `None` when it would begin one.
    pub run_id: Option<String>,
    /// Tokens of the plan that are not applied yet.
    pub tokens: u64,
    /// Of them, those that would be left, as they are no longer what the plan saw.
    pub drifted: u64,
    /// Their users.
    pub users: u64,
    /// Sum of their amounts, by which balances fall.
    pub amount: i128,
}

/// Looks for everything that stands in the plan's way, and adds up what is left of it.
///
/// # Errors
/// [`RunError`] for what `apply` would refuse for.
pub async fn applying(
    plan: &Plan,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
) -> Result<Applying, RunError> {
    guard(plan, server, options)?;
    let place = find_place(plan, server, options).await?.place;
    must_exist(server, options, &plan.content().snapshot.tokens).await?;
    let (run_id, recorded) = match place {
        Place::New => (None, Vec::new()),
        Place::Resume(run) => {
            let recorded = read_complete(server, options, &run).await?;
            if recorded.iter().any(is_rolled_back) {
                return Err(RunError::BeingRolledBack(run.id));
            }
            (Some(run.id), recorded)
        }
    };
    let keys = remaining(&plan.content().batches, &recorded, options.batch_changes_max);
    let keys: Vec<UnitKey> = keys.into();
    let drift = compare(plan, server, options, progress, &keys).await?;
    progress.check().map_err(|_| RunError::Stopped)?;
    let drifted = drift.count;
    if options.on_drift == OnDrift::Abort {
        drift.refuse(Goal::Apply)?;
    }
    let mut tally = Tally::default();
    for key in keys {
        tally.add(&key.read(plan)?);
    }
    let (tokens, users, amount) = (tally.tokens, tally.users(), tally.amount);
    Ok(Applying { run_id, tokens, drifted, users, amount })
}

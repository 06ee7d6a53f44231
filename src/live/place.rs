//! Where a plan stands in the database: new, to be resumed, or not to be applied.

use super::error::RunError;
use super::migration_state;
use super::options::RunOptions;
use super::store::{StoredRun, find_forgotten_run, read_runs};
use crate::journal::RunState;
use crate::plan::Plan;
use crate::server::Server;
use std::fmt;

/// Where to begin.
#[derive(Debug)]
pub(super) enum Place {
    /// A new run.
    New,
    /// This run of the plan, which was not finished.
    Resume(StoredRun),
}

/// Where to begin, and what is replaced there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    /// What another tool wrote down of the migration, which is in nobody's way.
    pub(super) replaced: Option<Replaced>,
}

/// Another tool's record of the migration that applying replaces by its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replaced(&'static str);

impl Replaced {
    /// Only known words are repeated.
    fn of(status: &str) -> Replaced {
        let known = ["failed", "pending", "rolled_back"].into_iter().find(|word| *word == status);
        Replaced(known.unwrap_or("in a state that is not known"))
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, Replaced(word)) = (migration_state::MIGRATION_NAME, self);
        write!(f, "migrationstates says that another tool's migration {name} is {word}")
    }
}

fn is_unfinished(state: RunState) -> bool {
    !matches!(state, RunState::Completed | RunState::RolledBack)
}

/// Finds the plan's place, or what stands in its way.
pub(super) async fn find_place(
    plan: &Plan,
    server: &Server,
    options: &RunOptions,
) -> Result<Found, RunError> {
    let mut place = Place::New;
    let runs = read_runs(server, options.retry).await?;
    let is_standing = |run: &&StoredRun| run.state != RunState::RolledBack;
    let known: Vec<String> = runs.iter().filter(is_standing).map(|run| run.id.clone()).collect();
    let forgotten = find_forgotten_run(server, options.retry, plan.sha256(), &known).await?;
    if let Some(run_id) = forgotten {
        let what =
            "remelt_journal has batches of it that are applied, and it is gone or says rolled_back";
        return Err(RunError::RunAltered { run_id, what });
    }
    for run in runs {
        if run.collection != plan.content().snapshot.tokens {
            continue;
        }
        let is_ours = run.plan_sha256 == Some(plan.sha256());
        match run.state {
            RunState::Completed if is_ours => {
                return Err(RunError::AlreadyCompleted {
                    by: format!("run {} of this plan", run.id),
                });
            }
            RunState::RollingBack if is_ours => return Err(RunError::BeingRolledBack(run.id)),
            state if is_unfinished(state) && is_ours => place = Place::Resume(run),
            state if is_unfinished(state) => {
                let what = match run.plan_sha256 {
                    Some(hash) => format!("the plan with SHA-256 {hash}"),
                    None => "another plan".to_owned(),
                };
                return Err(RunError::UnfinishedRun { run_id: run.id, what });
            }
            _ => {}
        }
    }
    let state = migration_state::read(server, options).await?;
    let foreign = state.filter(|state| state.run_id.is_none());
    match foreign.as_ref().map(|state| state.status.as_str()) {
        Some("completed") => Err(RunError::AlreadyCompleted {
            by: "by another tool, says migrationstates".to_owned(),
        }),
        Some("running") => Err(RunError::OtherToolRuns(migration_state::MIGRATION_NAME)),
        other => Ok(Found { place, replaced: other.map(Replaced::of) }),
    }
}

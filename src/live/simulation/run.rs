//! One process: the command `apply` or `rollback` on the simulated database, with the real workers,
//! batches, commits, local journal and manifest. What is simulated around them is the lease's upkeep and
//! the state of the run, which the real commands keep in `remelt_runs`.

use super::super::apply::is_rolled_back;
use super::super::batch::RunContext;
use super::super::error::RunError;
use super::super::options::{RunOptions, WORKERS_MAX};
use super::super::rollback::{check_complete, is_standing};
use super::super::run_log::RunLog;
use super::super::store::{Recorded, StoredRun, recorded, recorded_batch};
use super::super::work::{Halt, UnitKey, Work, held, remaining};
use super::session::{Process, Simulated};
use crate::decide::{OnDrift, Step};
use crate::journal::{DRIFT_LISTED_MAX, Goal, Record, RunDirectory, RunState};
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::progress::Progress;
use mongodb::bson::DateTime;
use std::cell::Cell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;

pub(super) const RUN_ID: &str = "a-run";

/// What `remelt_runs` says of the run; `None` before it has begun.
pub(super) type StoredState = Rc<Cell<Option<RunState>>>;

/// What a process reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) written: u64,
    pub(super) already: u64,
    pub(super) drifted: u64,
}

/// What a process works with.
pub(super) struct Machine<'a> {
    pub(super) plan: &'a Plan,
    /// Where its runs' directories lie.
    pub(super) directory: &'a Path,
    pub(super) options: &'a RunOptions,
    pub(super) state: &'a StoredState,
}

/// The command.
pub(super) async fn command(
    process: &Rc<Process>,
    machine: &Machine<'_>,
) -> Result<Report, RunError> {
    let me = process.number;
    let collection = "cashu_tokens".to_owned();
    if !process.ask("take the lease", |world| world.take_lease(me, WORKERS_MAX)).await {
        return Err(RunError::LeaseHeld { collection, run_id: RUN_ID.to_owned() });
    }
    let result = with_lease(process, machine).await;
    if !matches!(result, Err(RunError::LeaseLost)) {
        process.ask("release the lease", |world| world.release_lease(me)).await;
    }
    result
}

async fn with_lease(process: &Rc<Process>, machine: &Machine<'_>) -> Result<Report, RunError> {
    let Machine { plan, options, state, .. } = *machine;
    let goal = process.goal;
    match (goal, state.get()) {
        (Goal::Apply, Some(RunState::Completed)) => {
            return Err(RunError::AlreadyCompleted { by: "a run".to_owned() });
        }
        (Goal::Apply, Some(RunState::RollingBack | RunState::RolledBack)) => {
            return Err(RunError::BeingRolledBack(RUN_ID.to_owned()));
        }
        _ => {}
    }
    let (directory, local) = RunDirectory::resume(machine.directory, RUN_ID)?;
    let mut log = RunLog::new(RUN_ID, plan.sha256(), Timestamp(0), options.now, Some(directory));
    let found = process.ask("read the journal", |world| world.journal()).await;
    let found: Vec<Recorded> = found.iter().filter_map(|document| recorded(document)).collect();
    if goal == Goal::Rollback {
        check_complete(&stored(plan, state.get()), &found, 0)?;
    }
    log.append(&Record::Started { goal, plan_sha256: plan.sha256(), at: Timestamp(0) })?;
    log.reconcile(&found, &local)?;
    let is_done = |found: &&Recorded| found.step(goal) == Step::AlreadyDone;
    log.already = found.iter().filter(is_done).map(|found| found.reached(goal)).sum();
    let queue = match goal {
        Goal::Apply => {
            if found.iter().any(is_rolled_back) {
                return Err(RunError::BeingRolledBack(RUN_ID.to_owned()));
            }
            log.take_over_drift(goal, &found, &local);
            remaining(&plan.content().batches, &found, options.batch_changes_max)
        }
        Goal::Rollback => to_undo(&found),
    };
    if options.on_drift == OnDrift::Abort {
        preflight(process, plan, goal, &queue).await?;
    }
    let begun = if goal == Goal::Apply { RunState::Running } else { RunState::RollingBack };
    process.ask("record the run's state", |_| state.set(Some(begun))).await;
    work(process, machine, log, queue).await
}

fn stored(plan: &Plan, state: Option<RunState>) -> StoredRun {
    StoredRun {
        id: RUN_ID.to_owned(),
        plan_sha256: Some(plan.sha256()),
        state: state.unwrap_or(RunState::Running),
        collection: "cashu_tokens".to_owned(),
        changes: plan.content().totals.changes,
        applied: None,
        started_at: DateTime::from_millis(0),
        updated_at: DateTime::from_millis(0),
    }
}

fn to_undo(found: &[Recorded]) -> VecDeque<UnitKey> {
    let applied = found.iter().rev().filter(|found| is_standing(found));
    applied
        .map(|found| UnitKey { batch: found.batch, from: found.from, changes: found.changes })
        .collect()
}

async fn preflight(
    process: &Process,
    plan: &Plan,
    goal: Goal,
    queue: &VecDeque<UnitKey>,
) -> Result<(), RunError> {
    let mut listed = Vec::new();
    for key in queue {
        let changes = match goal {
            Goal::Apply => key.read(plan)?,
            Goal::Rollback => {
                let (batch, from) = (key.batch, key.from);
                let found =
                    process.ask("read undo images", |world| world.majority_journal(batch, from));
                match found.await {
                    Some(found) => recorded_batch(&found, batch, from)?.written,
                    // It has not reached a majority yet; the worker waits for it.
                    None => continue,
                }
            }
        };
        let changes: Vec<_> = changes.changes().collect();
        listed.extend(process.look(&changes).await.drift(key.batch, &changes));
    }
    listed.truncate(DRIFT_LISTED_MAX);
    let count = listed.len() as u64;
    if count == 0 { Ok(()) } else { Err(RunError::Drift { goal, count, listed, written: 0 }) }
}

async fn work(
    process: &Rc<Process>,
    machine: &Machine<'_>,
    log: RunLog,
    queue: VecDeque<UnitKey>,
) -> Result<Report, RunError> {
    let Machine { plan, options, state, .. } = *machine;
    let (goal, progress) = (process.goal, Progress::new());
    let log = Mutex::new(log);
    let plan_sha256 = plan.sha256();
    let halt = Halt::new(&progress);
    let work = Work {
        context: RunContext {
            options,
            collection: "cashu_tokens",
            run_id: RUN_ID,
            plan_sha256,
            goal,
        },
        database: Simulated(Rc::clone(process)),
        plan: (goal == Goal::Apply).then_some(plan),
        progress: &progress,
        log: &log,
        queue: Mutex::new(queue),
        halt: &halt,
    };
    let ended = work.run().await;
    let me = process.number;
    let is_mine = process.ask("check the lease", |world| world.lease.holder == Some(me)).await;
    if !is_mine {
        return Err(RunError::LeaseLost);
    }
    let end = match (&ended, goal) {
        (Ok(()), Goal::Apply) => RunState::Completed,
        (Ok(()), Goal::Rollback) => RunState::RolledBack,
        (Err(_), Goal::Apply) => RunState::Failed,
        (Err(_), Goal::Rollback) => RunState::RollingBack,
    };
    assert!(ended.is_err() || held(&work.queue).is_empty(), "nobody told it to stop");
    process.ask("record the run's state", |_| state.set(Some(end))).await;
    let mut log = held(&log);
    log.append(&Record::Ended { state: end, at: Timestamp(0) })?;
    log.write_manifest(end)?;
    ended.map(|()| Report { written: log.written, already: log.already, drifted: log.drifted })
}

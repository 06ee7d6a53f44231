//! Rolling a run back, with nothing but the database.

use super::batch::RunContext;
use super::error::RunError;
use super::guard::guard_deployment;
use super::lease::{Lease, counted_by_fences};
use super::migration_state::{self, Change, RunName};
use super::mongo::Mongo;
use super::observe::observe;
use super::options::RunOptions;
use super::pace::Pace;
use super::patience::patiently;
use super::preflight::AllDrift;
use super::run_log::RunLog;
use super::status::must_exist;
use super::store::{
    Recorded, StoredRun, begin_run, create_collections, may_write, number, read_recorded,
    read_recorded_batch, read_runs, set_run,
};
use super::work::{Halt, UnitKey, Work, held};
use crate::decide::{OnDrift, Step};
use crate::journal::{BatchOutcome, DriftEntry, Goal, Record, RunDirectory, RunState};
use crate::journal::{RollbackReport, pace_of};
use crate::model::{Sha256Hash, Timestamp};
use crate::plan::Plan;
use crate::progress::{Progress, Unit};
use crate::server::{Server, failed};
use futures_util::{StreamExt, stream};
use mongodb::bson::{DateTime, Document, doc};
use std::collections::HashSet;
use std::sync::Mutex;

/// What to roll back.
#[derive(Debug, Clone, Copy)]
pub enum RollbackOf<'a> {
    /// The newest run of a plan.
    Plan(&'a Plan),
    /// A run, by its id; no plan is needed.
    Run(&'a str),
}

/// A rollback at work.
struct Undo<'a> {
    server: &'a Server,
    options: &'a RunOptions,
    progress: &'a Progress,
    run: StoredRun,
    log: Mutex<RunLog>,
}

/// Brings every document that a run wrote back to what it was, or goes on with that.
///
/// # Errors
/// [`RunError`]. What was committed before is recorded; the same command goes on.
pub async fn rollback(
    of: RollbackOf<'_>,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
) -> Result<RollbackReport, RunError> {
    guard_deployment(server)?;
    let run = find_run(of, server, options).await?;
    must_exist(server, options, &run.collection).await?;
    may_write(server, &run.collection, options).await?;
    create_collections(server, options).await?;
    let lease = Lease::take(server, options, &run.collection, &run.id, progress).await?;
    options.reached("lease taken");
    let result = tokio::select! {
        result = with_lease(of, server, options, progress, &lease) => result,
        lost = lease.keep(progress) => Err(lost),
    };
    if !matches!(result, Err(RunError::LeaseLost)) {
        lease.release().await;
        options.reached("lease released");
    }
    result
}

pub(super) async fn find_run(
    of: RollbackOf<'_>,
    server: &Server,
    options: &RunOptions,
) -> Result<StoredRun, RunError> {
    let runs = read_runs(server, options.retry).await?;
    match of {
        RollbackOf::Run(id) => runs.into_iter().find(|run| run.id == id).ok_or_else(|| {
            let db = server.db();
            RunError::NoBackup(format!("database {db} has no such run; remelt status lists them"))
        }),
        RollbackOf::Plan(plan) => {
            let of_plan = |run: &StoredRun| run.plan_sha256 == Some(plan.sha256());
            let mut runs: Vec<StoredRun> = runs.into_iter().filter(of_plan).collect();
            let live = runs.iter().position(|run| run.state != RunState::RolledBack);
            if runs.is_empty() {
                let text = format!(
                    "database {} has no run of this plan; remelt status lists the runs",
                    server.db()
                );
                return Err(RunError::NoBackup(text));
            }
            Ok(runs.swap_remove(live.unwrap_or(0)))
        }
    }
}

async fn with_lease(
    of: RollbackOf<'_>,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
    lease: &Lease<'_>,
) -> Result<RollbackReport, RunError> {
    // Only now nobody else can change it.
    let run = find_run(of, server, options).await?;
    let recorded = read_complete(server, options, &run).await?;
    let (directory, local) = match of {
        RollbackOf::Plan(plan) => {
            let (directory, local) = RunDirectory::resume(plan.directory(), &run.id)?;
            (Some(directory), local)
        }
        RollbackOf::Run(_) => (None, Vec::new()),
    };
    let plan_sha256 = run.plan_sha256.unwrap_or(Sha256Hash([0; 32]));
    if run.state != RunState::RolledBack {
        check_known(&recorded, &local)?;
    } else if recorded.iter().any(is_standing) {
        let what = "it says rolled_back, and remelt_journal has batches of it that are applied";
        return Err(RunError::RunAltered { run_id: run.id, what });
    }
    let started_at = Timestamp(run.started_at.timestamp_millis());
    tracing::info!(run = run.id, state = run.state.as_str(), "rollback begun");
    let mut log = RunLog::new(&run.id, plan_sha256, started_at, options.now, directory);
    let at = (options.now)();
    log.append(&Record::Started { goal: Goal::Rollback, plan_sha256, at })?;
    log.reconcile(&recorded, &local)?;
    let is_undone = |found: &&Recorded| found.step(Goal::Rollback) == Step::AlreadyDone;
    log.already =
        recorded.iter().filter(is_undone).map(|found| found.reached(Goal::Rollback)).sum();
    log.take_over_drift(Goal::Rollback, &recorded, &local);
    let undo = Undo { server, options, progress, run, log: Mutex::new(log) };
    undo.run(lease, plan_sha256, &recorded).await
}

/// Whether a batch is still to be rolled back.
pub(super) fn is_standing(found: &Recorded) -> bool {
    found.step(Goal::Rollback) == Step::Compare
}

/// What the database's journal says of a run; fails when something of it is missing.
pub(super) async fn read_complete(
    server: &Server,
    options: &RunOptions,
    run: &StoredRun,
) -> Result<Vec<Recorded>, RunError> {
    // The fences first: a run that is at work records more meanwhile.
    let counted = counted_by_fences(server, options, &run.collection, &run.id).await?.recorded;
    let recorded = read_recorded(server, options, &run.id).await?;
    check_complete(run, &recorded, counted)?;
    Ok(recorded)
}

/// A run that was completed must have all of its undo images, and any other as many as it said it applied and as
/// were `counted` by the fences.
pub(super) fn check_complete(
    run: &StoredRun,
    recorded: &[Recorded],
    counted: u64,
) -> Result<(), RunError> {
    let seen: u64 = recorded.iter().map(|found| found.changes).sum();
    let least = match run.state {
        RunState::Completed => run.changes,
        // What is restored needs no images any more.
        RunState::RolledBack => 0,
        _ => run.applied.unwrap_or(0).max(counted),
    };
    if (least..=run.changes).contains(&seen) {
        return Ok(());
    }
    let expected = if least == run.changes { String::new() } else { format!("{least} to ") };
    Err(RunError::NoBackup(format!(
        "remelt_journal has the undo images of {seen} changes of run {}, expected {expected}{}",
        run.id, run.changes
    )))
}

/// Whatever the local journal says was applied must be in the database's.
pub(super) fn check_known(recorded: &[Recorded], local: &[Record]) -> Result<(), RunError> {
    let known: HashSet<(u64, u64)> = recorded.iter().map(|it| (it.batch, it.from)).collect();
    let lost = local.iter().find_map(|record| match *record {
        Record::Committed { batch, from, outcome: BatchOutcome::Applied, .. } => {
            (!known.contains(&(batch, from))).then_some((batch, from))
        }
        _ => None,
    });
    let what = "it is gone, and the journal beside the plan says that it was committed";
    lost.map_or(Ok(()), |(batch, from)| Err(RunError::JournalAltered { batch, from, what }))
}

impl Undo<'_> {
    async fn run(
        &self,
        lease: &Lease<'_>,
        plan_sha256: Sha256Hash,
        recorded: &[Recorded],
    ) -> Result<RollbackReport, RunError> {
        let began = (self.options.now)();
        let applied = recorded.iter().rev().filter(|found| is_standing(found));
        let queue: Vec<UnitKey> = applied
            .map(|found| UnitKey { batch: found.batch, from: found.from, changes: found.changes })
            .collect();
        if self.options.on_drift == OnDrift::Abort {
            self.preflight(&queue).await?;
        }
        // A comparison that was broken off has proven nothing.
        self.progress.check().map_err(|_| RunError::Stopped)?;
        self.options.reached("preflight done");
        if self.run.state != RunState::RolledBack {
            self.begin().await?;
            self.options.reached("rollback recorded");
            if self.is_named(&read_runs(self.server, self.options.retry).await?).await? {
                let begun = Change::RollingBack;
                migration_state::write(self.server, self.options, begun).await?;
            }
        }
        let total = queue.iter().map(|key| key.changes).sum();
        self.progress.begin("rolling back", total, Unit::Documents);
        let directory = held(&self.log).directory();
        let context = RunContext {
            options: self.options,
            collection: &self.run.collection,
            run_id: &self.run.id,
            plan_sha256,
            goal: Goal::Rollback,
        };
        let halt = Halt::new(self.progress);
        let pace = Pace::new(self.server, self.options, &halt, directory);
        let work = Work {
            context,
            database: Mongo { context, server: self.server, lease, pace },
            plan: None,
            progress: self.progress,
            log: &self.log,
            queue: Mutex::new(queue.into()),
            halt: &halt,
        };
        let ended = work.run().await;
        match (ended, lease.check().await) {
            // Whoever took over says how the run ended.
            (_, Err(RunError::LeaseLost)) => Err(RunError::LeaseLost),
            (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(())) if held(&work.queue).is_empty() => {
                self.end(RunState::RolledBack, began).await
            }
            (Ok(()), Ok(())) => self.end(RunState::RollingBack, began).await,
            (Err(error), _) => {
                let at = DateTime::from_millis((self.options.now)().0);
                let fields = doc! {"updatedAt": at, "error": error.to_string()};
                let _ = set_run(self.server, self.options, &self.run.id, fields).await;
                let mut log = held(&self.log);
                let at = (self.options.now)();
                let _ = log.append(&Record::Ended { state: RunState::RollingBack, at });
                let _ = log.write_manifest(RunState::RollingBack);
                Err(error)
            }
        }
    }

    /// Reads every document that is to be written, so that all drift is found before the first write.
    async fn preflight(&self, queue: &[UnitKey]) -> Result<(), RunError> {
        let total = queue.iter().map(|key| key.changes).sum();
        self.progress.begin("comparing with the run", total, Unit::Documents);
        let checks = stream::iter(queue.iter().copied()).map(|key| self.check(key));
        let checks = checks.buffered(self.options.workers());
        AllDrift::gather(checks).await?.refuse(Goal::Rollback)
    }

    async fn check(&self, key: UnitKey) -> Result<Vec<DriftEntry>, RunError> {
        if self.progress.is_stopped() {
            return Ok(Vec::new());
        }
        let UnitKey { batch, from, changes } = key;
        let id = &self.run.id;
        let recorded = read_recorded_batch(self.server, self.options, id, batch, from).await?;
        let written: Vec<_> = recorded.written.changes().collect();
        let seen = patiently(self.options.retry, || {
            observe(self.server, &self.run.collection, &written, None)
        });
        let error = failed("read the run's documents", "find on cashu_tokens");
        let seen = seen.await.map_err(error)?;
        self.progress.advance(changes);
        Ok(seen.drift(batch, &written))
    }

    /// Records that the run is being rolled back, and no more why it stopped before.
    async fn begin(&self) -> Result<(), RunError> {
        let fields = self.fields(RunState::RollingBack);
        Ok(begin_run(self.server, self.options, &self.run.id, fields).await?)
    }

    async fn set_state(&self, state: RunState) -> Result<(), RunError> {
        Ok(set_run(self.server, self.options, &self.run.id, self.fields(state)).await?)
    }

    fn fields(&self, state: RunState) -> Document {
        let at = DateTime::from_millis((self.options.now)().0);
        let (restored, drifted) = {
            let log = held(&self.log);
            (log.written + log.already, log.drifted)
        };
        doc! {
            "state": state.as_str(),
            "updatedAt": at,
            "restored": number(restored),
            "notRestored": number(drifted),
        }
    }

    /// Whether the migration's state is this run's, or one's that came later and changed nothing.
    async fn is_named(&self, runs: &[StoredRun]) -> Result<bool, RunError> {
        let stored = migration_state::read(self.server, self.options).await?;
        let Some(named) = stored.and_then(|stored| stored.run_id) else { return Ok(false) };
        let changed_nothing = |run: &StoredRun| run.id == named && run.applied == Some(0);
        Ok(named == self.run.id || runs.iter().any(changed_nothing))
    }

    /// Makes the migration's state that of the newest run that stands, when there is another.
    async fn tell_migration_state(&self, now: Timestamp) -> Result<(), RunError> {
        let runs = read_runs(self.server, self.options.retry).await?;
        if !self.is_named(&runs).await? {
            return Ok(());
        }
        let stands = |run: &&StoredRun| {
            run.id != self.run.id
                && run.collection == self.run.collection
                && run.state == RunState::Completed
                && run.applied.is_some_and(|applied| applied > 0)
        };
        let state = match runs.iter().find(stands) {
            None => Change::RolledBack { at: DateTime::from_millis(now.0) },
            Some(run) => Change::Completed {
                of: RunName {
                    run_id: run.id.clone(),
                    plan_sha256: run.plan_sha256.map_or_else(String::new, |it| it.to_string()),
                },
                at: run.updated_at,
                affected: run.applied.unwrap_or(0),
                ms: run.updated_at.timestamp_millis() - run.started_at.timestamp_millis(),
            },
        };
        migration_state::write(self.server, self.options, state).await?;
        self.options.reached("migration state rolled back");
        Ok(())
    }

    async fn end(&self, state: RunState, began: Timestamp) -> Result<RollbackReport, RunError> {
        let now = (self.options.now)();
        if state == RunState::RolledBack && self.run.state != RunState::RolledBack {
            self.tell_migration_state(now).await?;
            self.set_state(state).await?;
            self.options.reached("run rolled back");
        }
        let mut log = held(&self.log);
        log.append(&Record::Ended { state, at: now })?;
        log.write_manifest(state)?;
        self.options.reached("manifest written");
        let (seconds, _) = pace_of(log.written, began, now);
        Ok(RollbackReport {
            run_id: self.run.id.clone(),
            state,
            restored: log.written,
            already_restored: log.already,
            drifted: log.drifted,
            seconds,
            drift: log.drift.clone(),
        })
    }
}

//! Applying a plan.

use super::batch::RunContext;
use super::error::RunError;
use super::guard::guard;
use super::lease::Lease;
use super::migration_state::{self, Change, RunName};
use super::mongo::Mongo;
use super::observe::observe;
use super::options::RunOptions;
use super::pace::Pace;
use super::patience::patiently;
use super::place::{Found, Place, find_place};
use super::preflight::AllDrift;
use super::rollback::{check_known, read_complete};
use super::run_log::RunLog;
use super::status::{RunPace, must_exist};
use super::store::{Recorded, begin_run, create_collections, may_write, number, set_run};
use super::work::{Halt, UnitKey, Work, held, remaining};
use crate::decide::{OnDrift, Step};
use crate::journal::{ApplyReport, ManifestReport, pace_of};
use crate::journal::{Goal, Record, RunDirectory, RunState};
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::progress::{Progress, Unit};
use crate::server::{Server, failed};
use futures_util::{StreamExt, stream};
use mongodb::bson::{DateTime, doc, oid::ObjectId};
use std::collections::VecDeque;
use std::sync::Mutex;

/// A run that is about to work or at work.
struct Run<'a> {
    plan: &'a Plan,
    server: &'a Server,
    options: &'a RunOptions,
    progress: &'a Progress,
    id: String,
    started_at: Timestamp,
    log: Mutex<RunLog>,
}

/// Applies `plan`, or goes on with a run of it that was not finished.
///
/// # Errors
/// [`RunError`]. What was committed before is recorded; the same command goes on.
pub async fn apply(
    plan: &Plan,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
) -> Result<ApplyReport, RunError> {
    guard(plan, server, options)?;
    find_place(plan, server, options).await?;
    let collection = &plan.content().snapshot.tokens;
    must_exist(server, options, collection).await?;
    may_write(server, collection, options).await?;
    create_collections(server, options).await?;
    options.reached("collections created");
    let fresh = ObjectId::new().to_hex();
    let lease = Lease::take(server, options, collection, &fresh, progress).await?;
    options.reached("lease taken");
    let result = tokio::select! {
        result = with_lease(plan, server, options, progress, &lease, fresh) => result,
        lost = lease.keep(progress) => Err(lost),
    };
    if !matches!(result, Err(RunError::LeaseLost)) {
        lease.release().await;
        options.reached("lease released");
    }
    result
}

async fn with_lease(
    plan: &Plan,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
    lease: &Lease<'_>,
    fresh: String,
) -> Result<ApplyReport, RunError> {
    // Only now nobody else can change it.
    let Found { place, replaced } = find_place(plan, server, options).await?;
    if let Some(replaced) = replaced {
        tracing::warn!("{replaced}: this run's state takes its place");
    }
    let (id, started_at, directory, local) = match &place {
        Place::New => {
            let directory = RunDirectory::create(plan.directory(), &fresh)?;
            tracing::info!(run = fresh, plan = %plan.sha256(), "run begun");
            (fresh, (options.now)(), directory, Vec::new())
        }
        Place::Resume(run) => {
            let (directory, local) = RunDirectory::resume(plan.directory(), &run.id)?;
            tracing::info!(run = run.id, plan = %plan.sha256(), "run resumed");
            let started_at = Timestamp(run.started_at.timestamp_millis());
            (run.id.clone(), started_at, directory, local)
        }
    };
    lease.name_run(&id).await?;
    options.reached("run directory opened");
    let log = RunLog::new(&id, plan.sha256(), started_at, options.now, Some(directory));
    let run = Run { plan, server, options, progress, id, started_at, log: Mutex::new(log) };
    let recorded = match &place {
        Place::New => Vec::new(),
        Place::Resume(stored) => {
            let recorded = read_complete(server, options, stored).await?;
            check_known(&recorded, &local)?;
            recorded
        }
    };
    let begun = run.begin(&recorded, &local).await;
    if let Err(error) = begun {
        if matches!(place, Place::New) {
            held(&run.log).discard();
        }
        return Err(error);
    }
    run.work(lease, &recorded).await
}

/// Whether a batch can't be applied any more, nor the run it is of.
pub(super) fn is_rolled_back(found: &Recorded) -> bool {
    found.step(Goal::Apply) == Step::RefuseRolledBack
}

/// Compares the documents of `keys` with the plan. Told to stop, it compares no more.
pub(super) async fn compare(
    plan: &Plan,
    server: &Server,
    options: &RunOptions,
    progress: &Progress,
    keys: &[UnitKey],
) -> Result<AllDrift, RunError> {
    let collection = &plan.content().snapshot.tokens;
    let check = async |key: &UnitKey| {
        if progress.is_stopped() {
            return Ok(Vec::new());
        }
        let part = key.read(plan)?;
        let changes: Vec<_> = part.changes().collect();
        let seen = patiently(options.retry, || observe(server, collection, &changes, None));
        let seen =
            seen.await.map_err(failed("read the plan's documents", "find on cashu_tokens"))?;
        progress.advance(key.changes);
        Ok::<_, RunError>(seen.drift(key.batch, &changes))
    };
    let total = keys.iter().map(|key| key.changes).sum();
    progress.begin("comparing with the plan", total, Unit::Documents);
    AllDrift::gather(stream::iter(keys).map(check).buffered(options.workers())).await
}

impl Run<'_> {
    fn stamp(&self) -> DateTime {
        DateTime::from_millis((self.options.now)().0)
    }

    /// The run as the migration's state names it.
    fn of(&self) -> RunName {
        RunName { run_id: self.id.clone(), plan_sha256: self.plan.sha256().to_string() }
    }

    /// Everything before the first write of a document.
    async fn begin(&self, recorded: &[Recorded], local: &[Record]) -> Result<(), RunError> {
        if recorded.iter().any(is_rolled_back) {
            return Err(RunError::BeingRolledBack(self.id.clone()));
        }
        let plan_sha256 = self.plan.sha256();
        let started = Record::Started { goal: Goal::Apply, plan_sha256, at: (self.options.now)() };
        {
            let mut log = held(&self.log);
            log.append(&started)?;
            log.reconcile(recorded, local)?;
            log.already = recorded.iter().map(|found| found.reached(Goal::Apply)).sum();
            log.take_over_drift(Goal::Apply, recorded, local);
        }
        if self.options.on_drift == OnDrift::Abort {
            self.preflight(recorded).await?;
        }
        // A comparison that was broken off has proven nothing.
        self.progress.check().map_err(|_| RunError::Stopped)?;
        self.options.reached("preflight done");
        let totals = &self.plan.content().totals;
        let fields = doc! {
            "planSha256": plan_sha256.to_string(),
            "collection": &self.plan.content().snapshot.tokens,
            "state": RunState::Running.as_str(),
            "startedAt": DateTime::from_millis(self.started_at.0),
            "updatedAt": self.stamp(),
            "changes": number(totals.changes),
            "batches": number(self.plan.content().batches.len() as u64),
            "tool": &self.options.tool,
        };
        begin_run(self.server, self.options, &self.id, fields).await?;
        self.options.reached("run recorded");
        let at = DateTime::from_millis(self.started_at.0);
        let running = Change::Running { of: self.of(), at };
        migration_state::write(self.server, self.options, running).await?;
        held(&self.log).write_manifest(RunState::Running)?;
        self.options.reached("migration state recorded");
        Ok(())
    }

    /// What is not recorded yet.
    fn remaining(&self, recorded: &[Recorded]) -> VecDeque<UnitKey> {
        remaining(&self.plan.content().batches, recorded, self.options.batch_changes_max)
    }

    /// Reads every document that is still to be written, so that all drift is found before the first
    /// write.
    async fn preflight(&self, recorded: &[Recorded]) -> Result<(), RunError> {
        let keys: Vec<UnitKey> = self.remaining(recorded).into();
        let compared = compare(self.plan, self.server, self.options, self.progress, &keys);
        compared.await?.refuse(Goal::Apply)
    }

    async fn work(
        &self,
        lease: &Lease<'_>,
        recorded: &[Recorded],
    ) -> Result<ApplyReport, RunError> {
        let began = (self.options.now)();
        let queue = self.remaining(recorded);
        let total = queue.iter().map(|key| key.changes).sum();
        self.progress.begin("applying", total, Unit::Documents);
        let directory = held(&self.log).directory();
        let context = RunContext {
            options: self.options,
            collection: &self.plan.content().snapshot.tokens,
            run_id: &self.id,
            plan_sha256: self.plan.sha256(),
            goal: Goal::Apply,
        };
        let halt = Halt::new(self.progress);
        let pace = Pace::new(self.server, self.options, &halt, directory);
        let work = Work {
            context,
            database: Mongo { context, server: self.server, lease, pace },
            plan: Some(self.plan),
            progress: self.progress,
            log: &self.log,
            queue: Mutex::new(queue),
            halt: &halt,
        };
        let ended = work.run().await;
        match (ended, lease.check().await) {
            // Whoever took over says how the run ended.
            (_, Err(RunError::LeaseLost)) => Err(RunError::LeaseLost),
            (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(())) if held(&work.queue).is_empty() => {
                self.end(RunState::Completed, began).await
            }
            (Ok(()), Ok(())) => self.end(RunState::Interrupted, began).await,
            (Err(error), _) => {
                self.fail(&error).await;
                Err(error)
            }
        }
    }

    /// Writes down why the run stopped, as far as that can still be done.
    async fn fail(&self, error: &RunError) {
        let text = error.to_string();
        let fields =
            doc! {"state": RunState::Failed.as_str(), "updatedAt": self.stamp(), "error": &text};
        let _ = set_run(self.server, self.options, &self.id, fields).await;
        let failed = Change::Failed { of: self.of(), error: text };
        let _ = migration_state::write(self.server, self.options, failed).await;
        let mut log = held(&self.log);
        let at = (self.options.now)();
        let _ = log.append(&Record::Ended { state: RunState::Failed, at });
        let _ = log.write_manifest(RunState::Failed);
    }

    async fn end(&self, state: RunState, began: Timestamp) -> Result<ApplyReport, RunError> {
        let (written, already, drifted) = {
            let log = held(&self.log);
            (log.written, log.already, log.drifted)
        };
        let now = (self.options.now)();
        if state == RunState::Completed {
            let ms = now.0.saturating_sub(self.started_at.0);
            let at = DateTime::from_millis(now.0);
            let affected = written + already;
            let of = self.of();
            let completed = Change::Completed { of, at, affected, ms };
            migration_state::write(self.server, self.options, completed).await?;
            self.options.reached("migration state completed");
        }
        let mut fields = doc! {
            "state": state.as_str(),
            "updatedAt": self.stamp(),
            "applied": number(written + already),
            "drifted": number(drifted),
        };
        if written > 0 {
            let ms = u64::try_from(now.0.saturating_sub(began.0)).unwrap_or(0).max(1);
            fields.extend(RunPace { documents: written, ms }.field());
        }
        set_run(self.server, self.options, &self.id, fields).await?;
        self.options.reached("run completed");
        tracing::info!(
            run = self.id,
            state = state.as_str(),
            written,
            already,
            drifted,
            "run ended"
        );
        let mut log = held(&self.log);
        log.append(&Record::Ended { state, at: now })?;
        let manifest = log.write_manifest(state)?;
        self.options.reached("manifest written");
        let (path, sha256) = manifest.unwrap_or_else(|| ("".into(), self.plan.sha256()));
        let (seconds, documents_per_second) = pace_of(written, began, now);
        Ok(ApplyReport {
            run_id: self.id.clone(),
            plan_sha256: self.plan.sha256(),
            state,
            applied: written,
            already_applied: already,
            drifted,
            batches: log.batches(),
            seconds,
            documents_per_second,
            manifest: ManifestReport { path: path.display().to_string(), sha256 },
            drift: log.drift.clone(),
        })
    }
}

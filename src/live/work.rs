//! The workers: batches from a queue, each in a transaction, until all are done or one fails.

use super::batch::{RunContext, Unit, UnitEnd, run_unit};
use super::error::RunError;
use super::run_log::RunLog;
use super::store::Recorded;
use super::target::{Database, Session};
use crate::journal::{Goal, Record};
use crate::plan::{Batch, BatchRecord, Plan, PlanError};
use crate::progress::Progress;
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A batch, or a part of one, that is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnitKey {
    /// Number in the plan.
    pub(super) batch: u64,
    /// First change.
    pub(super) from: u64,
    /// Number of changes.
    pub(super) changes: u64,
}

impl UnitKey {
    /// Its changes.
    pub(super) fn read(self, plan: &Plan) -> Result<Batch, PlanError> {
        let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let whole = plan.read_batch(place(self.batch))?;
        Ok(whole.part(place(self.from), place(self.from + self.changes)))
    }
}

/// Whether a run begins no further batch: it was told to stop, or a worker failed. Who waits before a batch looks at it,
/// too.
#[derive(Debug)]
pub(super) struct Halt<'a> {
    progress: &'a Progress,
    has_failed: AtomicBool,
}

impl<'a> Halt<'a> {
    /// Of a run that is told to stop by `progress`.
    pub(super) fn new(progress: &'a Progress) -> Halt<'a> {
        Halt { progress, has_failed: AtomicBool::new(false) }
    }

    pub(super) fn is_called(&self) -> bool {
        self.progress.is_stopped() || self.has_failed.load(Ordering::Relaxed)
    }

    fn call(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

/// A run's work.
#[derive(Debug)]
pub(super) struct Work<'a, D> {
    pub(super) context: RunContext<'a>,
    pub(super) database: D,
    /// Where an apply reads its changes; a rollback has nothing but the database.
    pub(super) plan: Option<&'a Plan>,
    pub(super) progress: &'a Progress,
    pub(super) log: &'a Mutex<RunLog>,
    pub(super) queue: Mutex<VecDeque<UnitKey>>,
    pub(super) halt: &'a Halt<'a>,
}

/// What of a plan's batches is not recorded yet, in parts of at most `most` changes.
pub(super) fn remaining(
    batches: &[BatchRecord],
    recorded: &[Recorded],
    most: Option<usize>,
) -> VecDeque<UnitKey> {
    let plan_max = batches.iter().map(|batch| batch.changes).max().unwrap_or(1);
    let most = most.map_or(plan_max, |most| most as u64).clamp(1, plan_max);
    let mut keys = VecDeque::new();
    let mut done = recorded.iter().peekable();
    for (batch, record) in (0_u64..).zip(batches) {
        let mut from = 0;
        while from < record.changes {
            while done.next_if(|d| (d.batch, d.from) < (batch, from)).is_some() {}
            let next = done.peek().filter(|d| d.batch == batch);
            match next.filter(|d| d.from == from) {
                Some(d) => from += d.changes.max(1),
                None => {
                    let end = next.map_or(record.changes, |d| d.from.min(record.changes));
                    let changes = most.min(end - from);
                    keys.push_back(UnitKey { batch, from, changes });
                    from += changes;
                }
            }
        }
    }
    keys
}

/// The lock, whatever happened to whoever held it.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Database> Work<'_, D> {
    /// Does the queue's batches with the lease held. `Ok` with a queue that is not empty means that it
    /// was told to stop.
    pub(super) async fn run(&self) -> Result<(), RunError> {
        let workers = join_all((0..self.context.options.workers()).map(|slot| self.worker(slot)));
        let error = workers.await.into_iter().find_map(Result::err);
        match error {
            None => Ok(()),
            Some(RunError::Drift { goal, count, listed, .. }) => {
                let log = held(self.log); // once: a second lock in one statement would wait for ever
                let written = log.written + log.already;
                Err(RunError::Drift { goal, count, listed, written })
            }
            Some(error) => Err(error),
        }
    }

    async fn worker(&self, slot: usize) -> Result<(), RunError> {
        let result = self.work(slot).await;
        if result.is_err() {
            self.halt.call();
        }
        result
    }

    async fn work(&self, slot: usize) -> Result<(), RunError> {
        let mut session = self.open_session(slot).await?;
        while let Some(key) = self.next() {
            self.database.make_way(key.changes).await?;
            if self.halt.is_called() {
                held(&self.queue).push_front(key);
                break;
            }
            let unit = self.load(key).await?;
            let UnitKey { batch, from, changes } = key;
            held(self.log).append(&Record::Intended { batch, from, changes })?;
            self.context.options.reached("batch intended");
            match run_unit(&self.context, &mut session, &unit).await? {
                UnitEnd::Done(done) => {
                    let (written, already, drifted) =
                        (done.written, done.already, done.drifted.len());
                    held(self.log).commit(self.context.goal, &unit, done)?;
                    tracing::debug!(batch, from, written, already, drifted, "batch committed");
                    self.progress.advance(changes);
                    self.context.options.reached("batch noted");
                }
                UnitEnd::Split => {
                    tracing::info!(
                        batch,
                        from,
                        changes,
                        "batch outlives the server's limits: halved"
                    );
                    let half = changes / 2;
                    let mut queue = held(&self.queue);
                    queue.push_front(UnitKey { batch, from: from + half, changes: changes - half });
                    queue.push_front(UnitKey { batch, from, changes: half });
                }
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<UnitKey> {
        if self.halt.is_called() { None } else { held(&self.queue).pop_front() }
    }

    /// A session that is written down, locally and in the lease, before it is used.
    async fn open_session(&self, slot: usize) -> Result<D::Session, RunError> {
        let session = self.database.open_session(slot).await?;
        if let Some(id) = session.id() {
            let hex = id.iter().map(|byte| format!("{byte:02x}")).collect();
            held(self.log).append(&Record::Session { id: hex })?;
            self.database.note_session(&id).await?;
        }
        self.context.options.reached("session noted");
        Ok(session)
    }

    async fn load(&self, key: UnitKey) -> Result<Unit, RunError> {
        let UnitKey { batch, from, changes } = key;
        if let (Goal::Apply, Some(plan)) = (self.context.goal, self.plan) {
            let part = key.read(plan)?;
            let sha256 = part.record.sha256;
            return Ok(Unit { batch, from, changes: part, recorded_changes: changes, sha256 });
        }
        let recorded = self.database.read_undo(batch, from).await?;
        Ok(Unit {
            batch,
            from,
            changes: recorded.written,
            recorded_changes: recorded.head.changes,
            sha256: recorded.head.sha256,
        })
    }
}

//! One batch in one transaction, tried until it is committed, refused, or out of time.

use super::commit::commit;
use super::error::RunError;
use super::observe::{Observation, Seen};
use super::options::RunOptions;
use super::patience::Backoff;
use super::store::{Recorded, UNDO_BYTES_MAX};
use super::target::{Fault, Session};
use crate::decide::{OnDrift, Step, decide};
use crate::journal::{BatchOutcome, DriftEntry, Goal};
use crate::model::Sha256Hash;
use crate::plan::{Batch, Change};

/// So often may a transaction vanish before its batch is taken to outlive the server's time limit.
const VANISHED_MAX: u32 = 2;

/// What all batches of a run share.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext<'a> {
    pub(super) options: &'a RunOptions,
    pub(super) collection: &'a str,
    pub(super) run_id: &'a str,
    pub(super) plan_sha256: Sha256Hash,
    pub(super) goal: Goal,
}

/// Changes for one transaction.
#[derive(Debug)]
pub(super) struct Unit {
    /// Number of the batch in the plan.
    pub(super) batch: u64,
    /// Its first change in the batch.
    pub(super) from: u64,
    /// The changes. For a rollback those that were written.
    pub(super) changes: Batch,
    /// What the journal document holds, which for a rollback may be more than is written.
    pub(super) recorded_changes: u64,
    pub(super) sha256: Sha256Hash,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) struct UnitDone {
    /// Documents written.
    pub(super) written: u64,
    /// Documents that were as wanted before.
    pub(super) already: u64,
    /// Documents left as they are.
    pub(super) drifted: Vec<DriftEntry>,
}

/// How the work on a batch ended.
#[derive(Debug)]
pub(super) enum UnitEnd {
    /// Committed.
    Done(UnitDone),
    /// It outlives the server's limits: halve it.
    Split,
}

/// Brings one batch to the goal.
pub(super) async fn run_unit(
    context: &RunContext<'_>,
    session: &mut impl Session,
    unit: &Unit,
) -> Result<UnitEnd, RunError> {
    let can_split = context.goal == Goal::Apply && unit.changes.record.changes > 1;
    if unit.changes.bytes().len() > UNDO_BYTES_MAX {
        let too_large = RunError::TooLarge { batch: unit.batch, from: unit.from };
        return if can_split { Ok(UnitEnd::Split) } else { Err(too_large) };
    }
    let changes: Vec<Change<'_>> = unit.changes.changes().collect();
    let mut backoff = Backoff::new(context.options.retry);
    let mut vanished = 0;
    // Set once an attempt may have been committed without our knowing what it did.
    let mut attempted: Option<UnitDone> = None;
    let attempt = Attempt { context, unit, changes: &changes };
    loop {
        let mut done = None;
        let ended = if vanished >= VANISHED_MAX && can_split {
            attempt.is_unclaimed(session).await.map(|()| UnitEnd::Split)
        } else {
            attempt.run(session, &mut done).await.map(UnitEnd::Done)
        };
        let fault = match ended {
            Ok(ended) => return Ok(ended),
            Err(fault) => fault,
        };
        attempted = done.or(attempted);
        let batch = unit.batch;
        let last = match fault {
            Fault::Stop(error) => return Err(error),
            Fault::Recorded => {
                return attempt.as_recorded(session, attempted, &mut backoff).await;
            }
            Fault::Unknown { last } => {
                tracing::info!(batch, last, "outcome of a commit unknown: asking the journal");
                match attempt.is_recorded(session, &mut backoff).await? {
                    true => return attempt.as_recorded(session, attempted, &mut backoff).await,
                    false => last,
                }
            }
            Fault::Again { last, has_vanished } => {
                vanished += u32::from(has_vanished);
                last
            }
        };
        tracing::debug!(batch, last, "batch tried again");
        if !backoff.wait().await {
            return Err(attempt.gave_up(last));
        }
    }
}

/// One transaction.
struct Attempt<'a> {
    context: &'a RunContext<'a>,
    unit: &'a Unit,
    changes: &'a [Change<'a>],
}

impl Attempt<'_> {
    fn reached(&self, step: &'static str) {
        self.context.options.reached(step);
    }

    fn gave_up(&self, last: String) -> RunError {
        let seconds = self.context.options.retry.as_secs();
        RunError::GaveUp { batch: self.unit.batch, seconds, last }
    }

    /// The whole transaction. `attempted` is set before the commit, whose outcome may stay unknown.
    async fn run(
        &self,
        session: &mut impl Session,
        attempted: &mut Option<UnitDone>,
    ) -> Result<UnitDone, Fault> {
        session.start().await?;
        let done = match self.write(session).await {
            Ok(done) => done,
            Err(fault) => {
                session.abort().await;
                return Err(fault);
            }
        };
        self.reached("before the commit");
        *attempted = Some(UnitDone { drifted: done.drifted.clone(), ..done });
        commit(session).await?;
        self.reached("committed");
        Ok(done)
    }

    /// Makes sure that no earlier attempt was committed after all, before the batch is done in halves: its
    /// journal document would collide here.
    async fn is_unclaimed(&self, session: &mut impl Session) -> Result<(), Fault> {
        session.start().await?;
        let claimed = session.record(self.unit).await;
        session.abort().await;
        claimed
    }

    /// Everything between start and commit.
    async fn write(&self, session: &mut impl Session) -> Result<UnitDone, Fault> {
        session.record(self.unit).await?;
        self.reached("journal document written");
        session.hold_lease(self.unit).await?;
        let seen = session.observe(self.changes).await?;
        self.reached("documents compared");
        let (from, to, recorded) = match self.context.goal {
            Goal::Apply => (Seen::Before, Seen::After, None),
            Goal::Rollback => (Seen::After, Seen::Before, Some(BatchOutcome::Applied)),
        };
        let drifted = seen.drift(self.unit.batch, self.changes);
        let on_drift = self.context.options.on_drift;
        match decide(self.context.goal, recorded, Some(seen.observed()), on_drift) {
            Step::RefuseDrift => {
                let count = drifted.len() as u64;
                return Err(Fault::Stop(RunError::Drift {
                    goal: self.context.goal,
                    count,
                    listed: drifted,
                    written: 0,
                }));
            }
            Step::Record => {}
            Step::Write | Step::WriteRest => self.set(session, &seen, from).await?,
            // Not of a batch that was claimed just now; what is recorded says more.
            Step::Compare | Step::AlreadyDone | Step::RefuseRolledBack | Step::NothingRecorded => {
                return Err(Fault::Recorded);
            }
        }
        self.note_left(session, &seen, from, to).await?;
        self.prove(session, &seen, from, to).await?;
        self.reached("documents written and read back");
        Ok(UnitDone { written: seen.count(from), already: seen.count(to), drifted })
    }

    /// Writes every document that is `from`.
    async fn set(
        &self,
        session: &mut impl Session,
        seen: &Observation,
        from: Seen,
    ) -> Result<(), Fault> {
        let chosen = seen.0.iter().zip(self.changes).filter(|(seen, _)| **seen == from);
        let changes: Vec<Change<'_>> = chosen.map(|(_, change)| *change).collect();
        let expected = changes.len() as u64;
        if expected == 0 {
            return Ok(());
        }
        let updated = session.update(&changes).await?;
        for seen in [updated.matched, updated.modified] {
            if seen != expected {
                let batch = self.unit.batch;
                return Err(Fault::Stop(RunError::Unexpected { batch, expected, seen }));
            }
        }
        Ok(())
    }

    /// Notes in the journal document which documents were not written, and how many of them were as wanted.
    async fn note_left(
        &self,
        session: &mut impl Session,
        seen: &Observation,
        from: Seen,
        to: Seen,
    ) -> Result<(), Fault> {
        let left = (0_u64..).zip(&seen.0).filter(|(_, seen)| **seen != from);
        let left: Vec<u64> = left.map(|(position, _)| position).collect();
        match left.is_empty() {
            true => Ok(()),
            false => session.note_left(self.unit, &left, seen.count(to)).await,
        }
    }

    /// Reads the written documents back in the same transaction: what is committed are these bytes.
    async fn prove(
        &self,
        session: &mut impl Session,
        before: &Observation,
        from: Seen,
        to: Seen,
    ) -> Result<(), Fault> {
        if before.count(from) == 0 {
            return Ok(());
        }
        let after = session.observe(self.changes).await?;
        let mut pairs = before.0.iter().zip(&after.0);
        if pairs.all(|(before, after)| *before != from || *after == to) {
            return Ok(());
        }
        Err(Fault::Stop(RunError::NotAsPlanned { batch: self.unit.batch }))
    }

    /// What follows from what the journal says of the batch.
    fn step(&self, found: Option<&Recorded>) -> Step {
        let outcome = found.map(|found| found.outcome);
        decide(self.context.goal, outcome, None, OnDrift::default())
    }

    /// Whether the database's journal says that the batch has reached the goal.
    async fn is_recorded(
        &self,
        session: &mut impl Session,
        backoff: &mut Backoff,
    ) -> Result<bool, RunError> {
        loop {
            match session.read_recorded(self.unit).await {
                Ok(found) => return Ok(self.step(found.as_ref()) == Step::AlreadyDone),
                Err(fault) => {
                    let last = may_pass(fault)?;
                    if !backoff.wait().await {
                        return Err(self.gave_up(last));
                    }
                }
            }
        }
    }

    /// What the database's journal says of a batch that it has already. What collided may not have
    /// reached a majority yet, so this waits until it has.
    async fn as_recorded(
        &self,
        session: &mut impl Session,
        attempted: Option<UnitDone>,
        backoff: &mut Backoff,
    ) -> Result<UnitEnd, RunError> {
        let Unit { batch, from, .. } = *self.unit;
        let altered = |what| RunError::JournalAltered { batch, from, what };
        let found = loop {
            let last = match session.read_recorded(self.unit).await {
                Ok(found) => match (self.step(found.as_ref()), found) {
                    (Step::AlreadyDone, Some(found)) => break found,
                    (Step::RefuseRolledBack, _) => {
                        // Not without taking over.
                        session.check_lease().await?;
                        return Err(RunError::BeingRolledBack(self.context.run_id.to_owned()));
                    }
                    _ => "the batch is recorded, but not by a majority".to_owned(),
                },
                Err(fault) => may_pass(fault)?,
            };
            if !backoff.wait().await {
                return Err(self.gave_up(last));
            }
        };
        let is_same =
            (found.changes, found.sha256) == (self.unit.recorded_changes, self.unit.sha256);
        if !is_same || attempted.is_none() {
            // Not our doing: somebody else's, who may have taken over.
            session.check_lease().await?;
        }
        if !is_same {
            return Err(altered("it holds other changes"));
        }
        if let Some(done) = attempted {
            return Ok(UnitEnd::Done(done));
        }
        let already = found.reached(self.context.goal);
        Ok(UnitEnd::Done(UnitDone { written: 0, already, drifted: Vec::new() }))
    }
}

/// What a reading that failed was told, when trying again can help.
fn may_pass(fault: Fault) -> Result<String, RunError> {
    match fault {
        Fault::Stop(error) => Err(error),
        Fault::Again { last, .. } | Fault::Unknown { last } => Ok(last),
        Fault::Recorded => Ok("a batch is recorded".to_owned()),
    }
}

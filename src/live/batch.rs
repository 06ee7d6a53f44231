//! One batch in one transaction, tried until it is committed, refused, or out of time.

use super::command::update_changes;
use super::commit::{Commit, commit};
use super::error::RunError;
use super::lease::Lease;
use super::observe::{Observation, Seen, observe};
use super::options::RunOptions;
use super::patience::{Backoff, is_passing, is_passing_code};
use super::store::{
    APPLIED, JOURNAL_COLLECTION, ROLLED_BACK, UNDO_BYTES_MAX, journal_document, journal_id, number,
    read_one_recorded,
};
use crate::decide::{self, Step, decide};
use crate::journal::{DriftEntry, Goal};
use crate::model::Sha256Hash;
use crate::plan::{Batch, Change};
use crate::server::{Server, ServerError, error_code, failed};
use mongodb::ClientSession;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::Error;
use mongodb::options::ReadConcern;
use std::time::Duration;

const MAX_COMMIT_TIME: Duration = Duration::from_secs(10);
const DUPLICATE_KEY: i32 = 11000;
const NO_SUCH_TRANSACTION: i32 = 251;
/// So often may a transaction vanish before its batch is taken to outlive the server's time limit.
const VANISHED_MAX: u32 = 2;

/// What all batches of a run share.
#[derive(Debug)]
pub(super) struct RunContext<'a> {
    pub(super) server: &'a Server,
    pub(super) options: &'a RunOptions,
    pub(super) collection: &'a str,
    pub(super) run_id: &'a str,
    pub(super) plan_sha256: Sha256Hash,
    pub(super) goal: Goal,
    pub(super) lease: &'a Lease<'a>,
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

/// Why one attempt did not commit.
enum Fault {
    /// Trying again can help.
    Again { last: String, has_vanished: bool },
    /// The journal has the batch already.
    Recorded,
    /// The commit's outcome is not known.
    Unknown { last: String },
    /// No attempt will help.
    Stop(RunError),
}

/// Brings one batch to the goal.
pub(super) async fn run_unit(
    context: &RunContext<'_>,
    session: &mut ClientSession,
    slot: usize,
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
    loop {
        let attempt = Attempt { context, slot, unit, changes: &changes };
        let mut done = None;
        let fault = match attempt.run(session, &mut done).await {
            Ok(done) => return Ok(UnitEnd::Done(done)),
            Err(fault) => fault,
        };
        attempted = done.or(attempted);
        let last = match fault {
            Fault::Stop(error) => return Err(error),
            Fault::Recorded => return attempt.as_recorded(attempted, &mut backoff).await,
            Fault::Unknown { last } => match attempt.recorded(&mut backoff).await? {
                true => return attempt.as_recorded(attempted, &mut backoff).await,
                false => last,
            },
            Fault::Again { last, has_vanished } => {
                vanished += u32::from(has_vanished);
                last
            }
        };
        if vanished >= VANISHED_MAX && can_split {
            return Ok(UnitEnd::Split);
        }
        if !backoff.wait().await {
            let seconds = context.options.retry.as_secs();
            return Err(RunError::GaveUp { batch: unit.batch, seconds, last });
        }
    }
}

/// One transaction.
struct Attempt<'a> {
    context: &'a RunContext<'a>,
    slot: usize,
    unit: &'a Unit,
    changes: &'a [Change<'a>],
}

fn fault(error: &Error, doing: &'static str, privilege: &'static str) -> Fault {
    let told = failed(doing, privilege)(error.clone());
    if is_passing(error) {
        let has_vanished = error_code(error) == Some(NO_SUCH_TRANSACTION);
        return Fault::Again { last: told.to_string(), has_vanished };
    }
    Fault::Stop(told.into())
}

impl Attempt<'_> {
    fn reached(&self, step: &'static str) {
        self.context.options.reached(step);
    }

    /// The whole transaction. `attempted` is set before the commit, whose outcome may stay unknown.
    async fn run(
        &self,
        session: &mut ClientSession,
        attempted: &mut Option<UnitDone>,
    ) -> Result<UnitDone, Fault> {
        let started = session.start_transaction();
        let started = started.read_concern(ReadConcern::snapshot());
        let started = started.write_concern(crate::server::durable());
        let started = started.max_commit_time(MAX_COMMIT_TIME).await;
        started.map_err(|e| fault(&e, "start a transaction", "none"))?;
        let done = match self.write(session).await {
            Ok(done) => done,
            Err(fault) => {
                let _ = session.abort_transaction().await;
                return Err(fault);
            }
        };
        self.reached("before the commit");
        *attempted = Some(UnitDone { drifted: done.drifted.clone(), ..done });
        match commit(session).await {
            Commit::Done => {
                self.reached("committed");
                Ok(done)
            }
            Commit::Again(error) => Err(fault(&error, "commit a batch", "none")),
            Commit::Unknown(error) => {
                let last = failed("commit a batch", "none")(error).to_string();
                Err(Fault::Unknown { last })
            }
        }
    }

    /// Everything between start and commit.
    async fn write(&self, session: &mut ClientSession) -> Result<UnitDone, Fault> {
        self.record(session).await?;
        self.reached("journal document written");
        let fence = self.context.lease.fence_command(self.slot);
        let fenced =
            self.command(session, fence, "hold the lease", "update on remelt_runs").await?;
        if matched(&fenced) != 1 {
            return Err(Fault::Stop(RunError::LeaseLost));
        }
        let seen = self.observe(session).await?;
        self.reached("documents compared");
        let (from, to) = match self.context.goal {
            Goal::Apply => (Seen::Before, Seen::After),
            Goal::Rollback => (Seen::After, Seen::Before),
        };
        let drifted = seen.drift(self.unit.batch, self.changes);
        let recorded = match self.context.goal {
            Goal::Apply => decide::Recorded::Absent,
            Goal::Rollback => decide::Recorded::Applied,
        };
        let on_drift = self.context.options.on_drift;
        match decide(self.context.goal, recorded, seen.observed(), on_drift) {
            Step::RefuseDrift => {
                let count = drifted.len() as u64;
                return Err(Fault::Stop(RunError::Drift { count, listed: drifted, written: 0 }));
            }
            Step::Record => {}
            _ => self.set(session, &seen, from).await?,
        }
        self.note_left(session, &seen, from).await?;
        self.prove(session, &seen, from, to).await?;
        self.reached("documents written and read back");
        Ok(UnitDone { written: seen.count(from), already: seen.count(to), drifted })
    }

    /// Inserts the journal document, or marks it as rolled back: whatever else claims this batch
    /// collides here.
    async fn record(&self, session: &mut ClientSession) -> Result<(), Fault> {
        let RunContext { run_id, plan_sha256, options, .. } = self.context;
        let Unit { batch, from, changes, .. } = self.unit;
        let at = DateTime::from_millis((options.now)().0);
        let privilege = "insert and update on remelt_journal";
        match self.context.goal {
            Goal::Apply => {
                let document = journal_document(run_id, *plan_sha256, (*batch, *from), changes, at);
                let insert = doc! {"insert": JOURNAL_COLLECTION, "documents": [document]};
                self.command(session, insert, "record a batch", privilege).await.map(drop)
            }
            Goal::Rollback => {
                let id = journal_id(run_id, *batch, *from);
                let set = doc! {"state": ROLLED_BACK, "rolledBackAt": at};
                let update = doc! {"update": JOURNAL_COLLECTION, "updates": [
                    {"q": {"_id": id, "state": APPLIED}, "u": {"$set": set}},
                ]};
                let reply = self.command(session, update, "record a batch", privilege).await?;
                if matched(&reply) == 1 { Ok(()) } else { Err(Fault::Recorded) }
            }
        }
    }

    async fn observe(&self, session: &mut ClientSession) -> Result<Observation, Fault> {
        let RunContext { server, collection, .. } = self.context;
        let seen = observe(server, collection, self.changes, Some(session)).await;
        seen.map_err(|e| fault(&e, "read a batch's documents", "find on cashu_tokens"))
    }

    /// Writes every document that is `from`.
    async fn set(
        &self,
        session: &mut ClientSession,
        seen: &Observation,
        from: Seen,
    ) -> Result<(), Fault> {
        let chosen = seen.0.iter().zip(self.changes).filter(|(seen, _)| **seen == from);
        let changes: Vec<Change<'_>> = chosen.map(|(_, change)| *change).collect();
        let expected = changes.len() as u64;
        if expected == 0 {
            return Ok(());
        }
        let update = update_changes(self.context.collection, self.context.goal, &changes);
        let database = self.context.server.database();
        let reply = database.run_raw_command(update).session(&mut *session);
        let (doing, privilege) = ("write a batch's documents", "update on cashu_tokens");
        let reply = reply.await.map_err(|e| fault(&e, doing, privilege))?;
        check_write_errors(&reply, doing, privilege)?;
        let count = |name| reply.get_i32(name).ok().and_then(|n| u64::try_from(n).ok());
        for seen in [count("n"), count("nModified")].map(Option::unwrap_or_default) {
            if seen != expected {
                let batch = self.unit.batch;
                return Err(Fault::Stop(RunError::Unexpected { batch, expected, seen }));
            }
        }
        Ok(())
    }

    /// Notes in the journal document which documents were not written.
    async fn note_left(
        &self,
        session: &mut ClientSession,
        seen: &Observation,
        from: Seen,
    ) -> Result<(), Fault> {
        let left = (0_u64..).zip(&seen.0).filter(|(_, seen)| **seen != from);
        let left: Vec<Bson> = left.map(|(position, _)| Bson::Int64(number(position))).collect();
        if left.is_empty() {
            return Ok(());
        }
        let field = match self.context.goal {
            Goal::Apply => "left",
            Goal::Rollback => "notRestored",
        };
        let id = journal_id(self.context.run_id, self.unit.batch, self.unit.from);
        let update = doc! {"update": JOURNAL_COLLECTION, "updates": [
            {"q": {"_id": id}, "u": {"$set": {field: left}}},
        ]};
        let privilege = "update on remelt_journal";
        self.command(session, update, "record a batch", privilege).await.map(drop)
    }

    /// Reads the written documents back in the same transaction: what is committed are these bytes.
    async fn prove(
        &self,
        session: &mut ClientSession,
        before: &Observation,
        from: Seen,
        to: Seen,
    ) -> Result<(), Fault> {
        if before.count(from) == 0 {
            return Ok(());
        }
        let after = self.observe(session).await?;
        let mut pairs = before.0.iter().zip(&after.0);
        if pairs.all(|(before, after)| *before != from || *after == to) {
            return Ok(());
        }
        Err(Fault::Stop(RunError::NotAsPlanned { batch: self.unit.batch }))
    }

    /// A command of our own in the transaction.
    async fn command(
        &self,
        session: &mut ClientSession,
        command: Document,
        doing: &'static str,
        privilege: &'static str,
    ) -> Result<Document, Fault> {
        let database = self.context.server.database();
        let reply = database.run_command(command).session(&mut *session);
        let reply = reply.await.map_err(|e| match error_code(&e) {
            Some(DUPLICATE_KEY) => Fault::Recorded,
            _ => fault(&e, doing, privilege),
        })?;
        check_write_errors(&reply, doing, privilege)?;
        Ok(reply)
    }

    /// Whether the database's journal says that the batch has reached the goal.
    async fn recorded(&self, backoff: &mut Backoff) -> Result<bool, RunError> {
        let id = journal_id(self.context.run_id, self.unit.batch, self.unit.from);
        loop {
            match read_one_recorded(self.context.server, &id).await {
                Ok(found) => {
                    let wanted = self.context.goal == Goal::Apply;
                    return Ok(found.is_some_and(|found| found.is_applied == wanted));
                }
                Err(error) if is_passing(&error) && backoff.wait().await => {}
                Err(error) => {
                    let privilege = "find on remelt_journal";
                    return Err(failed("read the database's journal", privilege)(error).into());
                }
            }
        }
    }

    /// What the database's journal says of a batch that it has already. What collided may not have
    /// reached a majority yet, so this waits until it has.
    async fn as_recorded(
        &self,
        attempted: Option<UnitDone>,
        backoff: &mut Backoff,
    ) -> Result<UnitEnd, RunError> {
        let Unit { batch, from, .. } = *self.unit;
        let altered = |what| RunError::JournalAltered { batch, from, what };
        let id = journal_id(self.context.run_id, batch, from);
        let found = loop {
            let found = read_one_recorded(self.context.server, &id).await;
            let last = match found {
                Ok(Some(found)) if found.is_applied == (self.context.goal == Goal::Apply) => {
                    break found;
                }
                Ok(_) => "the batch is recorded, but not by a majority".to_owned(),
                Err(error) => {
                    let is_passing = is_passing(&error);
                    let privilege = "find on remelt_journal";
                    let told = failed("read the database's journal", privilege)(error);
                    if !is_passing {
                        return Err(told.into());
                    }
                    told.to_string()
                }
            };
            if !backoff.wait().await {
                let seconds = self.context.options.retry.as_secs();
                return Err(RunError::GaveUp { batch, seconds, last });
            }
        };
        let is_same =
            (found.changes, found.sha256) == (self.unit.recorded_changes, self.unit.sha256);
        if !is_same || attempted.is_none() {
            // Not our doing: somebody else's, who may have taken over.
            self.context.lease.check().await?;
        }
        if !is_same {
            return Err(altered("it holds other changes"));
        }
        if let Some(done) = attempted {
            return Ok(UnitEnd::Done(done));
        }
        let already = found.changes - found.left.min(found.changes);
        Ok(UnitEnd::Done(UnitDone { written: 0, already, drifted: Vec::new() }))
    }
}

/// How many documents a one-statement update matched.
fn matched(reply: &Document) -> i32 {
    reply.get_i32("n").unwrap_or_default()
}

/// `run_command` is `Ok` even when statements failed.
fn check_write_errors(
    reply: &Document,
    doing: &'static str,
    privilege: &'static str,
) -> Result<(), Fault> {
    let Ok(errors) = reply.get_array("writeErrors") else {
        return Ok(());
    };
    let first = errors.first().and_then(Bson::as_document);
    let code = first.and_then(|error| error.get_i32("code").ok()).unwrap_or_default();
    if code == DUPLICATE_KEY {
        return Err(Fault::Recorded);
    }
    let told = match code {
        13 => ServerError::PermissionDenied { doing, privilege },
        _ => ServerError::Refused { doing, code, name: "in a statement".to_owned() },
    };
    if is_passing_code(code) {
        let has_vanished = code == NO_SUCH_TRANSACTION;
        return Err(Fault::Again { last: told.to_string(), has_vanished });
    }
    Err(Fault::Stop(told.into()))
}

//! MongoDB as the target of a run: each step of the protocol as the driver's calls, and what their
//! failures mean.

use super::batch::{RunContext, Unit};
use super::command::update_changes;
use super::error::RunError;
use super::lease::Lease;
use super::observe::{Observation, observe};
use super::pace::Pace;
use super::patience::{is_passing, is_passing_code};
use super::store::{
    APPLIED, JOURNAL_COLLECTION, ROLLED_BACK, Recorded, RecordedBatch, journal_document,
    journal_id, number, read_one_of_journal, read_recorded_batch, recorded, unreadable,
};
use super::target::{CommitFault, Database, Fault, Session, Updated};
use crate::journal::Goal;
use crate::plan::Change;
use crate::server::{Server, ServerError, error_code, failed};
use mongodb::ClientSession;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::ReadConcern;
use std::time::Duration;

const MAX_COMMIT_TIME: Duration = Duration::from_secs(10);
const DUPLICATE_KEY: i32 = 11000;
const NO_SUCH_TRANSACTION: i32 = 251;
const MAX_TIME_EXPIRED: i32 = 50;
const PERMISSION_DENIED: i32 = 13;

/// A server with the lease of the run's collection held.
#[derive(Debug)]
pub(super) struct Mongo<'a> {
    pub(super) context: RunContext<'a>,
    pub(super) server: &'a Server,
    pub(super) lease: &'a Lease<'a>,
    pub(super) pace: Pace<'a>,
}

impl<'a> Database for Mongo<'a> {
    type Session = MongoSession<'a>;

    async fn make_way(&self, documents: u64) -> Result<(), RunError> {
        self.pace.wait(documents).await
    }

    async fn open_session(&self, slot: usize) -> Result<MongoSession<'a>, RunError> {
        let session = self.server.client().start_session().await;
        let session = session.map_err(failed("open a session", "none"))?;
        let Mongo { context, server, lease, .. } = *self;
        Ok(MongoSession { context, server, lease, slot, session })
    }

    async fn note_session(&self, id: &[u8]) -> Result<(), RunError> {
        self.lease.add_session(id).await
    }

    async fn read_undo(&self, batch: u64, from: u64) -> Result<RecordedBatch, RunError> {
        let RunContext { options, run_id, .. } = self.context;
        read_recorded_batch(self.server, options, run_id, batch, from).await
    }
}

/// A worker's session.
#[derive(Debug)]
pub(super) struct MongoSession<'a> {
    context: RunContext<'a>,
    server: &'a Server,
    lease: &'a Lease<'a>,
    slot: usize,
    session: ClientSession,
}

fn fault(error: &Error, doing: &'static str, privilege: &'static str) -> Fault {
    let told = failed(doing, privilege)(error.clone());
    if is_passing(error) {
        let has_vanished = error_code(error) == Some(NO_SUCH_TRANSACTION);
        return Fault::Again { last: told.to_string(), has_vanished };
    }
    Fault::Stop(told.into())
}

impl Session for MongoSession<'_> {
    fn id(&self) -> Option<Vec<u8>> {
        let id = self.session.id();
        // Sessions have UUIDs; `get_binary_generic` knows only the other subtype.
        id.get_binary_generic("id").ok().cloned().or_else(|| match id.get("id") {
            Some(Bson::Binary(id)) => Some(id.bytes.clone()),
            _ => None,
        })
    }

    async fn start(&mut self) -> Result<(), Fault> {
        let started = self.session.start_transaction();
        let started = started.read_concern(ReadConcern::snapshot());
        let started = started.write_concern(crate::server::durable());
        let started = started.max_commit_time(MAX_COMMIT_TIME).await;
        started.map_err(|e| fault(&e, "start a transaction", "none"))
    }

    async fn record(&mut self, unit: &Unit) -> Result<(), Fault> {
        let RunContext { run_id, plan_sha256, options, goal, .. } = self.context;
        let Unit { batch, from, changes, .. } = unit;
        let at = DateTime::from_millis((options.now)().0);
        let privilege = "insert and update on remelt_journal";
        match goal {
            Goal::Apply => {
                let document = journal_document(run_id, plan_sha256, (*batch, *from), changes, at);
                let insert = doc! {"insert": JOURNAL_COLLECTION, "documents": [document]};
                self.command(insert, "record a batch", privilege).await.map(drop)
            }
            Goal::Rollback => {
                let id = journal_id(run_id, *batch, *from);
                let set = doc! {"state": ROLLED_BACK, "rolledBackAt": at};
                let update = doc! {"update": JOURNAL_COLLECTION, "updates": [
                    {"q": {"_id": id, "state": APPLIED}, "u": {"$set": set}},
                ]};
                let reply = self.command(update, "record a batch", privilege).await?;
                if matched(&reply) == 1 { Ok(()) } else { Err(Fault::Recorded) }
            }
        }
    }

    async fn hold_lease(&mut self, unit: &Unit) -> Result<(), Fault> {
        let RunContext { run_id, goal, .. } = self.context;
        let recorded = match goal {
            Goal::Apply => unit.recorded_changes,
            Goal::Rollback => 0,
        };
        let reached = (goal, unit.changes.record.changes);
        let fence = self.lease.fence_command(self.slot, run_id, recorded, reached);
        let fenced = self.command(fence, "hold the lease", "update on remelt_runs").await?;
        if matched(&fenced) == 1 { Ok(()) } else { Err(Fault::Stop(RunError::LeaseLost)) }
    }

    async fn observe(&mut self, changes: &[Change<'_>]) -> Result<Observation, Fault> {
        let collection = self.context.collection;
        let seen = observe(self.server, collection, changes, Some(&mut self.session)).await;
        seen.map_err(|e| fault(&e, "read a batch's documents", "find on cashu_tokens"))
    }

    async fn update(&mut self, changes: &[Change<'_>]) -> Result<Updated, Fault> {
        let update = update_changes(self.context.collection, self.context.goal, changes);
        let database = self.server.database();
        let reply = database.run_raw_command(update).session(&mut self.session);
        let (doing, privilege) = ("write a batch's documents", "update on cashu_tokens");
        let reply = reply.await.map_err(|e| fault(&e, doing, privilege))?;
        check_write_errors(&reply, doing, privilege)?;
        let count = |name| reply.get_i32(name).ok().and_then(|n| u64::try_from(n).ok());
        Ok(Updated {
            matched: count("n").unwrap_or_default(),
            modified: count("nModified").unwrap_or_default(),
        })
    }

    async fn note_left(&mut self, unit: &Unit, left: &[u64], found: u64) -> Result<(), Fault> {
        let drifted = (left.len() as u64).saturating_sub(found);
        let left: Vec<Bson> = left.iter().map(|place| Bson::Int64(number(*place))).collect();
        let RunContext { run_id, goal, .. } = self.context;
        let id = journal_id(run_id, unit.batch, unit.from);
        let set = doc! {left_field(goal): left, found_field(goal): number(found)};
        let update = doc! {"update": JOURNAL_COLLECTION, "updates": [
            {"q": {"_id": id}, "u": {"$set": set}},
        ]};
        self.command(update, "record a batch", "update on remelt_journal").await?;
        if drifted > 0 {
            let uncount = self.lease.uncount_command(self.slot, run_id, (goal, drifted));
            self.command(uncount, "count a batch", "update on remelt_runs").await?;
        }
        Ok(())
    }

    async fn abort(&mut self) {
        let _ = self.session.abort_transaction().await;
    }

    async fn commit(&mut self) -> Result<(), CommitFault> {
        let Err(error) = self.session.commit_transaction().await else {
            return Ok(());
        };
        // First the label that says "not committed": both together mean that.
        if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
            return Err(CommitFault::NotCommitted(fault(&error, "commit a batch", "none")));
        }
        // Whatever else it is: an error without a label was seen on a commit that happened.
        let may_pass = error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
            || error_code(&error) == Some(MAX_TIME_EXPIRED)
            || is_passing(&error);
        let last = failed("commit a batch", "none")(error).to_string();
        Err(CommitFault::Unknown { last, may_pass })
    }

    async fn read_recorded(&mut self, unit: &Unit) -> Result<Option<Recorded>, Fault> {
        let id = journal_id(self.context.run_id, unit.batch, unit.from);
        let found = read_one_of_journal(self.server, &id).await;
        let found =
            found.map_err(|e| fault(&e, "read the database's journal", "find on remelt_journal"));
        let read = |found| recorded(&found).ok_or_else(|| Fault::Stop(unreadable(&found)));
        found?.map(read).transpose()
    }

    async fn check_lease(&mut self) -> Result<(), RunError> {
        self.lease.check().await
    }
}

/// The field of a journal document that counts what was not written because it was as wanted.
pub(super) fn found_field(goal: Goal) -> &'static str {
    match goal {
        Goal::Apply => "foundApplied",
        Goal::Rollback => "foundRestored",
    }
}

/// The field of a journal document that lists what was not written.
pub(super) fn left_field(goal: Goal) -> &'static str {
    match goal {
        Goal::Apply => "left",
        Goal::Rollback => "notRestored",
    }
}

impl MongoSession<'_> {
    /// A command of our own in the transaction.
    async fn command(
        &mut self,
        command: Document,
        doing: &'static str,
        privilege: &'static str,
    ) -> Result<Document, Fault> {
        let database = self.server.database();
        let reply = database.run_command(command).session(&mut self.session);
        let reply = reply.await.map_err(|e| match error_code(&e) {
            Some(DUPLICATE_KEY) => Fault::Recorded,
            _ => fault(&e, doing, privilege),
        })?;
        check_write_errors(&reply, doing, privilege)?;
        Ok(reply)
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
        PERMISSION_DENIED => ServerError::PermissionDenied { doing, privilege },
        _ => ServerError::Refused { doing, code, name: "in a statement".to_owned() },
    };
    if is_passing_code(code) {
        let has_vanished = code == NO_SUCH_TRANSACTION;
        return Err(Fault::Again { last: told.to_string(), has_vanished });
    }
    Err(Fault::Stop(told.into()))
}

//! The two collections in the database: `remelt_runs` and `remelt_journal`.
//!
//! `remelt_runs` holds one document a run (`_id` is the run's id), one lease document a collection, and
//! the fences of the lease (see `lease.rs`). `remelt_journal` holds one document a committed batch, or a
//! part of one: `_id: {run, batch, from}`, `state` (`applied`, `rolled_back`), `planSha256`, `changes`,
//! `sha256` and `undo` (the batch's bytes of `changes.bson` and their hash), `left` (positions in it that
//! were not written) and `foundApplied` (how many of those were as wanted before), `notRestored` (positions among
//! what was written that rolling back left) and `foundRestored` (likewise), `at`. It is written in the batch's own
//! transaction, so it is the truth.

use super::error::RunError;
use super::mongo::{found_field, left_field};
use super::options::RunOptions;
use super::patience::patiently;
use crate::decide::{OnDrift, Step, decide};
use crate::journal::{BatchOutcome, Goal, RunState};
use crate::model::{Sha256Hash, hash_bytes};
use crate::plan::Batch;
use crate::server::{Server, ServerError, error_code, failed, integer, unsigned};
use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use mongodb::error::Result as DriverResult;
use std::time::Duration;

/// Runs, leases and fences.
pub const RUNS_COLLECTION: &str = "remelt_runs";
/// One document a committed batch.
pub const JOURNAL_COLLECTION: &str = "remelt_journal";
/// Most bytes of undo images in one journal document: the server's 16 MiB with room for the rest.
pub(super) const UNDO_BYTES_MAX: usize = 15 * 1024 * 1024;

/// State of a journal document whose batch is applied.
pub(super) const APPLIED: &str = "applied";
/// State of a journal document whose batch is rolled back.
pub(super) const ROLLED_BACK: &str = "rolled_back";

/// A run as the database has it.
#[derive(Debug, Clone)]
pub(super) struct StoredRun {
    pub(super) id: String,
    pub(super) plan_sha256: Option<Sha256Hash>,
    pub(super) state: RunState,
    pub(super) collection: String,
    /// Changes of the plan.
    pub(super) changes: u64,
    /// Documents as applied, when applying ended; then they are all recorded.
    pub(super) applied: Option<u64>,
    pub(super) started_at: DateTime,
    pub(super) updated_at: DateTime,
}

impl StoredRun {
    fn read(document: &Document) -> Option<StoredRun> {
        Some(StoredRun {
            id: document.get_str("_id").ok()?.to_owned(),
            plan_sha256: document.get_str("planSha256").ok().and_then(|hex| hex.parse().ok()),
            state: RunState::from_word(document.get_str("state").ok()?)?,
            collection: document.get_str("collection").ok()?.to_owned(),
            changes: unsigned(document, "changes")?,
            applied: unsigned(document, "applied"),
            started_at: *document.get_datetime("startedAt").ok()?,
            updated_at: *document.get_datetime("updatedAt").ok()?,
        })
    }
}

/// A journal document without its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) batch: u64,
    pub(super) from: u64,
    pub(super) changes: u64,
    /// Documents that applying did not write.
    pub(super) left: u64,
    /// Those of them that were as wanted.
    pub(super) found_applied: u64,
    /// Written documents that rolling back did not write.
    pub(super) not_restored: u64,
    /// Those of them that were as wanted.
    pub(super) found_restored: u64,
    pub(super) outcome: BatchOutcome,
    pub(super) sha256: Sha256Hash,
}

impl Recorded {
    /// What is to be done with the batch before its documents are looked at.
    pub(super) fn step(&self, goal: Goal) -> Step {
        decide(goal, Some(self.outcome), None, OnDrift::default())
    }

    /// Documents that applying wrote.
    pub(super) fn written(&self) -> u64 {
        self.changes.saturating_sub(self.left)
    }

    /// Documents that were not as expected, and were left as they are.
    pub(super) fn drifted(&self, goal: Goal) -> u64 {
        match goal {
            Goal::Apply => self.left.saturating_sub(self.found_applied),
            Goal::Rollback => self.not_restored.saturating_sub(self.found_restored),
        }
    }

    /// Documents that were brought to the goal or found there.
    pub(super) fn reached(&self, goal: Goal) -> u64 {
        let all = if goal == Goal::Apply { self.changes } else { self.written() };
        all.saturating_sub(self.drifted(goal))
    }
}

/// A journal document with its images.
#[derive(Debug)]
pub(super) struct RecordedBatch {
    pub(super) head: Recorded,
    /// The changes that were written.
    pub(super) written: Batch,
}

pub(super) fn runs(server: &Server) -> Collection<Document> {
    server.collection(RUNS_COLLECTION)
}

fn journal(server: &Server) -> Collection<Document> {
    server.collection(JOURNAL_COLLECTION)
}

pub(super) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A list of positions; `None` when it is not there or holds something else.
fn positions(document: &Document, name: &str) -> Option<Vec<u64>> {
    document.get_array(name).ok()?.iter().map(|place| u64::try_from(integer(place)?).ok()).collect()
}

pub(super) fn journal_id(run_id: &str, batch: u64, from: u64) -> Document {
    doc! {"run": run_id, "batch": number(batch), "from": number(from)}
}

/// The filter for all journal documents of a run; a range of `_id`, so that it needs no other index.
fn of_run(run_id: &str) -> Document {
    let (first, last) =
        (doc! {"run": run_id, "batch": Bson::MinKey}, doc! {"run": run_id, "batch": Bson::MaxKey});
    doc! {"_id": {"$gt": first, "$lt": last}}
}

/// Asks with an update that can match nothing whether the user may write, before anything is written.
pub(super) async fn may_write(
    server: &Server,
    collection: &str,
    options: &RunOptions,
) -> Result<(), ServerError> {
    let nothing = doc! {"_id": {"$in": []}};
    for (name, privilege) in [
        (collection, "find and update on cashu_tokens (role readWrite on the database)"),
        (RUNS_COLLECTION, "find, insert and update on remelt_runs (role readWrite)"),
        (JOURNAL_COLLECTION, "find, insert and update on remelt_journal (role readWrite)"),
        (super::migration_state::COLLECTION, "find, insert and update on migrationstates"),
    ] {
        let command = doc! {"update": name, "updates": [
            {"q": nothing.clone(), "u": {"$set": {"remelt": 1}}, "multi": true},
        ]};
        let probe = patiently(options.retry, || async {
            server.database().run_command(command.clone()).await
        });
        probe.await.map_err(failed("make sure that writing is allowed", privilege))?;
    }
    Ok(())
}

/// Creates the collections, which must not happen inside transactions that run at the same time.
pub(super) async fn create_collections(
    server: &Server,
    options: &RunOptions,
) -> Result<(), ServerError> {
    for name in [RUNS_COLLECTION, JOURNAL_COLLECTION] {
        let created = patiently(options.retry, || async {
            match server.database().create_collection(name).await {
                Err(error) if error_code(&error) == Some(48) => Ok(()), // it exists
                other => other,
            }
        });
        created.await.map_err(failed("create remelt's collections", "createCollection"))?;
    }
    Ok(())
}

/// All runs, newest first.
pub(super) async fn read_runs(
    server: &Server,
    patience: Duration,
) -> Result<Vec<StoredRun>, RunError> {
    let documents = read_run_documents(server, patience).await?;
    let read = |document| {
        StoredRun::read(document).ok_or_else(|| RunError::RunAltered {
            run_id: document.get_str("_id").unwrap_or("(without a name)").to_owned(),
            what: "its fields are not as written",
        })
    };
    documents.iter().map(read).collect()
}

/// A run of the plan whose first batch is applied, says the journal, and which is none of `known`. Batches are rolled
/// back last to first. Reads one document of each run.
pub(super) async fn find_forgotten_run(
    server: &Server,
    patience: Duration,
    plan: Sha256Hash,
    known: &[String],
) -> Result<Option<String>, ServerError> {
    let plan = plan.to_string();
    // Comparisons find only values of one type, and ours are documents.
    let mut rest = doc! {"_id": {"$gt": {}}};
    loop {
        let next = patiently(patience, || async {
            let journal = journal(server);
            let first = journal.find_one(rest.clone()).sort(doc! {"_id": 1});
            first.projection(doc! {"undo": 0}).await
        });
        let next =
            next.await.map_err(failed("read the database's journal", "find on remelt_journal"))?;
        let Some(first) = next else { return Ok(None) };
        let is = |field, word: &str| first.get_str(field).is_ok_and(|seen| seen == word);
        let run = first.get_document("_id").ok().and_then(|id| id.get_str("run").ok());
        let Some(run) = run else {
            rest = doc! {"_id": {"$gt": first.get("_id").cloned()}}; // not ours
            continue;
        };
        if is("planSha256", &plan) && !is("state", ROLLED_BACK) && !known.iter().any(|it| it == run)
        {
            return Ok(Some(run.to_owned()));
        }
        rest = doc! {"_id": {"$gt": {"run": run, "batch": Bson::MaxKey}}};
    }
}

/// Records that a run works (again), and no more why it stopped before.
pub(super) async fn begin_run(
    server: &Server,
    options: &RunOptions,
    run_id: &str,
    fields: Document,
) -> Result<(), ServerError> {
    update_run(server, options, run_id, doc! {"$set": fields, "$unset": {"error": 1}}).await
}

/// All runs' documents, newest first.
pub(super) async fn read_run_documents(
    server: &Server,
    patience: Duration,
) -> Result<Vec<Document>, ServerError> {
    let newest = doc! {"startedAt": -1, "_id": -1};
    let read = patiently(patience, || async {
        let runs = runs(server);
        let found = runs.find(doc! {"planSha256": {"$exists": true}}).sort(newest.clone());
        found.await?.try_collect().await
    });
    read.await.map_err(failed("read the runs", "find on remelt_runs"))
}

pub(super) async fn set_run(
    server: &Server,
    options: &RunOptions,
    run_id: &str,
    fields: Document,
) -> Result<(), ServerError> {
    update_run(server, options, run_id, doc! {"$set": fields}).await
}

async fn update_run(
    server: &Server,
    options: &RunOptions,
    run_id: &str,
    update: Document,
) -> Result<(), ServerError> {
    let set = patiently(options.retry, || async {
        runs(server).update_one(doc! {"_id": run_id}, update.clone()).upsert(true).await
    });
    set.await.map(drop).map_err(failed("record the run's state", "update on remelt_runs"))
}

/// What the journal documents of a run say besides their images, in the plan's order.
pub(super) async fn read_recorded(
    server: &Server,
    options: &RunOptions,
    run_id: &str,
) -> Result<Vec<Recorded>, RunError> {
    let documents = read_journal(server, options, run_id).await?;
    documents
        .iter()
        .map(|document| recorded(document).ok_or_else(|| unreadable(document)))
        .collect()
}

/// The journal documents of a run without their images, in the plan's order.
pub(super) async fn read_journal(
    server: &Server,
    options: &RunOptions,
    run_id: &str,
) -> Result<Vec<Document>, ServerError> {
    let read = patiently(options.retry, || async {
        let journal = journal(server);
        let found = journal.find(of_run(run_id)).projection(doc! {"undo": 0});
        found.sort(doc! {"_id": 1}).await?.try_collect().await
    });
    read.await.map_err(failed("read the database's journal", "find on remelt_journal"))
}

/// Nothing may be counted as never recorded because it can't be read.
pub(super) fn unreadable(document: &Document) -> RunError {
    let id = document.get_document("_id").ok();
    let number = |name| id.and_then(|id| unsigned(id, name)).unwrap_or_default();
    let (batch, from) = (number("batch"), number("from"));
    RunError::JournalAltered { batch, from, what: "its fields are not as written" }
}

/// What a journal document says besides its images.
pub(super) fn recorded(document: &Document) -> Option<Recorded> {
    let id = document.get_document("_id").ok()?;
    let listed = |goal| Some(positions(document, left_field(goal))?.len() as u64);
    let not_restored = match document.contains_key(left_field(Goal::Rollback)) {
        true => listed(Goal::Rollback)?,
        false => 0,
    };
    Some(Recorded {
        batch: unsigned(id, "batch")?,
        from: unsigned(id, "from")?,
        changes: unsigned(document, "changes")?,
        left: listed(Goal::Apply)?,
        found_applied: unsigned(document, found_field(Goal::Apply)).unwrap_or(0),
        not_restored,
        found_restored: unsigned(document, found_field(Goal::Rollback)).unwrap_or(0),
        outcome: match document.get_str("state").ok()? {
            APPLIED => BatchOutcome::Applied,
            ROLLED_BACK => BatchOutcome::RolledBack,
            _ => return None,
        },
        sha256: document.get_str("sha256").ok()?.parse().ok()?,
    })
}

/// One journal document without its images; `None` when there is none.
pub(super) async fn read_one_of_journal(
    server: &Server,
    id: &Document,
) -> DriverResult<Option<Document>> {
    journal(server).find_one(doc! {"_id": id}).projection(doc! {"undo": 0}).await
}

/// Reads one journal document with its images.
pub(super) async fn read_recorded_batch(
    server: &Server,
    options: &RunOptions,
    run_id: &str,
    batch: u64,
    from: u64,
) -> Result<RecordedBatch, RunError> {
    let filter = doc! {"_id": journal_id(run_id, batch, from)};
    let read =
        patiently(options.retry, || async { journal(server).find_one(filter.clone()).await });
    let document = read.await.map_err(failed("read undo images", "find on remelt_journal"))?;
    let document = document.ok_or(RunError::JournalAltered { batch, from, what: "it is gone" })?;
    recorded_batch(&document, batch, from)
}

/// A journal document with its images, checked against its hash.
pub(super) fn recorded_batch(
    document: &Document,
    batch: u64,
    from: u64,
) -> Result<RecordedBatch, RunError> {
    let altered = |what| RunError::JournalAltered { batch, from, what };
    let head = recorded(document).ok_or(altered("its fields are not as written"))?;
    let undo = document.get_binary_generic("undo").map_err(|_| altered("it has no undo images"))?;
    if hash_bytes(undo) != head.sha256 {
        return Err(altered("its undo images do not fit their hash"));
    }
    let all = Batch::decode(undo.clone()).map_err(|_| altered("its undo images are damaged"))?;
    if all.record.changes != head.changes {
        return Err(altered("the number of its undo images is another"));
    }
    let left = positions(document, left_field(Goal::Apply))
        .filter(|left| left.iter().all(|position| *position < head.changes))
        .ok_or(altered("its list of what was not written is not as written"))?;
    if left.is_empty() {
        return Ok(RecordedBatch { head, written: all });
    }
    let mut written = Vec::new();
    for (position, bytes) in (0_u64..).zip(all.encoded()) {
        if !left.contains(&position) {
            written.extend_from_slice(bytes);
        }
    }
    let written = Batch::decode(written).map_err(|_| altered("its undo images are damaged"))?;
    Ok(RecordedBatch { head, written })
}

/// The journal document of a batch about to be applied.
pub(super) fn journal_document(
    run_id: &str,
    plan: Sha256Hash,
    (batch, from): (u64, u64),
    changes: &Batch,
    at: DateTime,
) -> Document {
    let undo = Binary { subtype: BinarySubtype::Generic, bytes: changes.bytes().to_vec() };
    doc! {
        "_id": journal_id(run_id, batch, from),
        "state": APPLIED,
        "planSha256": plan.to_string(),
        "changes": number(changes.record.changes),
        "sha256": changes.record.sha256.to_string(),
        "left": [],
        "at": at,
        "undo": undo,
    }
}

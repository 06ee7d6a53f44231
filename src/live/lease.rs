//! One active run a collection.
//!
//! The lease is one document of `remelt_runs` with its holder and when it expires, both by the server's
//! clock. A holder that is alive renews it; a lease that expires is taken over. So that a holder which
//! was only frozen can't commit afterwards, every transaction writes to a fence: a document that names
//! the holder, one for each worker. Whoever takes over first ends the old sessions, then writes its own
//! name into all fences: a transaction of the old holder either is over by then or finds its fence gone.
//! The fences count besides what each run recorded, so that a journal with documents missing is noticed, and how many
//! documents it applied and restored, so that nobody need read the journal to know.

use super::error::RunError;
use super::options::{RunOptions, WORKERS_MAX};
use super::patience::patiently;
use super::store::{RUNS_COLLECTION, number, runs};
use crate::journal::Goal;
use crate::progress::Progress;
use crate::server::{Server, ServerError, error_code, failed, integer, unsigned};
use futures_util::TryStreamExt;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc, oid::ObjectId};
use mongodb::options::ReturnDocument;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a run is left alone that gives no sign of life.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(30);

/// Least signs of life in the time of a lease.
const BEATS: u32 = 6;
/// Longest time between two signs of life, which tell how far the run is.
const BEAT_MAX: Duration = Duration::from_secs(1);

/// A lease that is held.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    server: &'a Server,
    options: &'a RunOptions,
    collection: String,
    holder: String,
}

/// When a free lease expired: a time that every driver can read.
const FREE: DateTime = DateTime::from_millis(0);

fn lease_id(collection: &str) -> String {
    format!("lease:{collection}")
}

/// The `_id` of the fence that worker number `slot` writes to.
fn fence_id(collection: &str, slot: usize) -> String {
    format!("fence:{collection}:{slot}")
}

/// The field of a fence that counts, by run, the changes whose journal documents were written with it.
const RECORDED: &str = "recorded";

/// The field of a fence that counts, by run, the documents that were brought to the goal with it or found there.
fn reached_field(goal: Goal) -> &'static str {
    match goal {
        Goal::Apply => "applied",
        Goal::Rollback => "restored",
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl<'a> Lease<'a> {
    /// Takes the lease. Of a holder that died it waits for the lease to expire.
    pub(super) async fn take(
        server: &'a Server,
        options: &'a RunOptions,
        collection: &str,
        run_id: &str,
        progress: &Progress,
    ) -> Result<Lease<'a>, RunError> {
        let lease = Lease {
            server,
            options,
            collection: collection.to_owned(),
            holder: ObjectId::new().to_hex(),
        };
        let error = || failed("take the lease", "insert and update on remelt_runs");
        patiently(options.retry, || lease.ensure()).await.map_err(error())?;
        let mut watched: Option<(String, DateTime, Instant)> = None;
        loop {
            progress.check().map_err(|_| RunError::Stopped)?;
            let taken = patiently(options.retry, || lease.try_take(run_id)).await;
            if let Some(before) = taken.map_err(error())? {
                lease.end_sessions(&before).await;
                patiently(options.retry, || lease.fence()).await.map_err(error())?;
                return Ok(lease);
            }
            let held = patiently(options.retry, || async {
                runs(server).find_one(doc! {"_id": lease_id(collection)}).await
            });
            let held = held.await;
            let Some(held) = held.map_err(error())? else {
                // Somebody removed it meanwhile.
                patiently(options.retry, || lease.ensure()).await.map_err(error())?;
                continue;
            };
            let holder = held.get_str("holder").unwrap_or_default().to_owned();
            let beat = held.get_datetime("beatAt").copied().unwrap_or(DateTime::MIN);
            let is_alive = watched.as_ref().is_some_and(|(h, b, _)| (h, *b) != (&holder, beat));
            if is_alive {
                let run_id = held.get_str("run").unwrap_or("unknown").to_owned();
                return Err(RunError::LeaseHeld { collection: collection.to_owned(), run_id });
            }
            if watched.is_none() {
                let run = held.get_str("run").unwrap_or("unknown");
                tracing::warn!(
                    run,
                    "the lease is held: waiting for a sign of life, or for its end"
                );
            }
            watched.get_or_insert_with(|| (holder, beat, Instant::now()));
            sleep(options.lease / (4 * BEATS)).await;
        }
    }

    async fn ensure(&self) -> mongodb::error::Result<()> {
        let free = doc! {"_id": lease_id(&self.collection), "expiresAt": FREE, "sessions": []};
        match runs(self.server).insert_one(free).await {
            Err(error) if error_code(&error) != Some(11000) => Err(error),
            _ => Ok(()),
        }
    }

    /// The lease as it was, when it was free or had expired.
    async fn try_take(&self, run_id: &str) -> mongodb::error::Result<Option<Document>> {
        let lease = millis(self.options.lease);
        let filter = doc! {"_id": lease_id(&self.collection), "$expr": {"$or": [
            {"$lte": ["$expiresAt", "$$NOW"]},
            {"$eq": ["$holder", &self.holder]}, // an earlier attempt whose answer was lost
        ]}};
        let update = vec![doc! {"$set": {
            "holder": &self.holder,
            "run": run_id,
            "tool": {"$literal": &self.options.tool},
            "takenAt": "$$NOW",
            "beatAt": "$$NOW",
            "expiresAt": {"$add": ["$$NOW", lease]},
        }}];
        let runs = runs(self.server);
        let taken = runs.find_one_and_update(filter, update);
        taken.return_document(ReturnDocument::Before).await
    }

    /// Ends the sessions that the holder before left: an open transaction would block its documents
    /// for a minute. Where that is not allowed, the server's own time limit ends them.
    async fn end_sessions(&self, before: &Document) {
        let Ok(sessions) = before.get_array("sessions") else {
            return;
        };
        if sessions.is_empty() {
            return;
        }
        let ids: Vec<Bson> = sessions.iter().map(|id| Bson::from(doc! {"id": id})).collect();
        let admin = self.server.client().database("admin");
        let _ = admin.run_command(doc! {"killSessions": ids}).await;
    }

    async fn fence(&self) -> mongodb::error::Result<()> {
        let updates: Vec<Bson> = (0..WORKERS_MAX)
            .map(|slot| {
                let fence = doc! {"_id": fence_id(&self.collection, slot)};
                let holder = doc! {"$set": {"holder": &self.holder}};
                Bson::from(doc! {"q": fence, "u": holder, "upsert": true})
            })
            .collect();
        let command = doc! {"update": RUNS_COLLECTION, "updates": updates,
        "writeConcern": {"w": "majority", "j": true}};
        let reply = self.server.database().run_command(command).await?;
        if reply.contains_key("writeErrors") {
            return Err(mongodb::error::Error::from(std::io::Error::from(
                std::io::ErrorKind::WouldBlock, // tried again: a dying transaction holds a fence
            )));
        }
        let mine = doc! {"_id": lease_id(&self.collection), "holder": &self.holder};
        runs(self.server).update_one(mine, doc! {"$set": {"sessions": []}}).await.map(drop)
    }

    /// Says on which run the holder works.
    pub(super) async fn name_run(&self, run_id: &str) -> Result<(), RunError> {
        self.set(doc! {"$set": {"run": run_id}}).await
    }

    /// Fails when somebody else has taken over.
    pub(super) async fn check(&self) -> Result<(), RunError> {
        self.set(doc! {"$currentDate": {"beatAt": true}}).await
    }

    /// Writes down a session before it is used.
    pub(super) async fn add_session(&self, id: &[u8]) -> Result<(), RunError> {
        let id = Binary { subtype: BinarySubtype::Uuid, bytes: id.to_vec() };
        self.set(doc! {"$addToSet": {"sessions": id}}).await
    }

    async fn set(&self, update: Document) -> Result<(), RunError> {
        let mine = doc! {"_id": lease_id(&self.collection), "holder": &self.holder};
        let set = patiently(self.options.retry, || async {
            runs(self.server).update_one(mine.clone(), update.clone()).await
        });
        let set = set.await.map_err(failed("write to the lease", "update on remelt_runs"))?;
        if set.matched_count == 1 { Ok(()) } else { Err(RunError::LeaseLost) }
    }

    /// The update of the fence of worker `slot`, to be run in its transaction; it must match once. `recorded` changes
    /// of `run_id` are new in the journal with it, and `documents` are about to reach the goal.
    pub(super) fn fence_command(
        &self,
        slot: usize,
        run_id: &str,
        recorded: u64,
        (goal, documents): (Goal, u64),
    ) -> Document {
        self.count(
            slot,
            doc! {
                "n": number(1),
                format!("{RECORDED}.{run_id}"): number(recorded),
                format!("{}.{run_id}", reached_field(goal)): number(documents),
            },
        )
    }

    /// Takes `drifted` documents from those that [`fence_command`](Self::fence_command) counted in the same transaction.
    pub(super) fn uncount_command(
        &self,
        slot: usize,
        run_id: &str,
        (goal, drifted): (Goal, u64),
    ) -> Document {
        let fewer = -number(drifted);
        self.count(slot, doc! {format!("{}.{run_id}", reached_field(goal)): fewer})
    }

    fn count(&self, slot: usize, count: Document) -> Document {
        let fence = doc! {"_id": fence_id(&self.collection, slot), "holder": &self.holder};
        doc! {"update": RUNS_COLLECTION, "updates": [{"q": fence, "u": {"$inc": count}}]}
    }

    /// Renews the lease, telling how far the run is, until it is lost, which is what it returns for.
    pub(super) async fn keep(&self, progress: &Progress) -> RunError {
        let beat = (self.options.lease / BEATS).min(BEAT_MAX);
        let mut last = Instant::now();
        // The step under way, and since when: it began after the beat before.
        let (mut serial, mut begun, mut before) = (0, last, last);
        let mine = doc! {"_id": lease_id(&self.collection), "holder": &self.holder};
        loop {
            sleep(beat).await;
            let (step, done) = progress.current();
            if step.serial != serial {
                (serial, begun) = (step.serial, before);
            }
            before = Instant::now();
            let update = vec![doc! {"$set": {
                "beatAt": "$$NOW",
                "expiresAt": {"$add": ["$$NOW", millis(self.options.lease)]},
                "progress": {
                    "step": step.name, "done": number(done), "total": number(step.total),
                    "ms": millis(before - begun),
                },
            }}];
            match runs(self.server).update_one(mine.clone(), update).await {
                Ok(renewed) if renewed.matched_count == 1 => last = Instant::now(),
                Ok(_) => return RunError::LeaseLost,
                // The server may be electing a primary: a lease that nobody can take is not lost, and
                // the fences stop whoever lost one without seeing it.
                Err(_) if last.elapsed() < self.options.retry.max(self.options.lease) => {}
                Err(_) => return RunError::LeaseLost,
            }
        }
    }

    /// Gives the lease back.
    pub(super) async fn release(self) {
        let mine = doc! {"_id": lease_id(&self.collection), "holder": &self.holder};
        let free = doc! {"$set": {"expiresAt": FREE, "sessions": []},
        "$unset": {"holder": 1, "run": 1, "progress": 1}};
        let _ = runs(self.server).update_one(mine, free).await;
    }
}

/// What the fences counted of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Changes that the journal must have; 0 of a run of a version that did not count.
    pub(super) recorded: u64,
    /// Documents that are applied, or were before they were restored; `None` of a run of which nothing was counted.
    pub(super) applied: Option<u64>,
    /// Documents that are restored; `None` before a batch was.
    pub(super) restored: Option<u64>,
}

/// Reads what the fences counted of a run: a few small documents.
pub(super) async fn counted_by_fences(
    server: &Server,
    options: &RunOptions,
    collection: &str,
    run_id: &str,
) -> Result<Counted, ServerError> {
    let (applied, restored) = (reached_field(Goal::Apply), reached_field(Goal::Rollback));
    let of_run = |field| (format!("{field}.{run_id}"), Bson::Int32(1));
    let fields: Document = [RECORDED, applied, restored].into_iter().map(of_run).collect();
    let ids: Vec<String> = (0..WORKERS_MAX).map(|slot| fence_id(collection, slot)).collect();
    let read = patiently(options.retry, || async {
        let runs = runs(server);
        let fences = runs.find(doc! {"_id": {"$in": &ids}}).projection(fields.clone());
        fences.await?.try_collect::<Vec<_>>().await
    });
    let fences = read.await.map_err(failed("read the fences", "find on remelt_runs"))?;
    let sum = |field| {
        let count = |fence: &Document| integer(fence.get_document(field).ok()?.get(run_id)?);
        let counts: Vec<i64> = fences.iter().filter_map(count).collect();
        let sum = || counts.iter().fold(0_i64, |sum, count| sum.saturating_add(*count));
        (!counts.is_empty()).then(|| u64::try_from(sum()).unwrap_or(0))
    };
    Ok(Counted {
        recorded: sum(RECORDED).unwrap_or(0),
        applied: sum(applied),
        restored: sum(restored),
    })
}

/// The run that holds a lease now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Holder {
    pub(super) run_id: String,
    /// Since when it has it.
    pub(super) taken_at: Option<DateTime>,
    /// When it gave its last sign of life.
    pub(super) beat_at: Option<DateTime>,
    /// What it said with its last sign of life.
    pub(super) progress: Option<RunProgress>,
}

/// How far a run was when it last gave a sign of life.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunProgress {
    /// What is being done.
    pub step: String,
    /// Documents to do in this step, or 0 when not known.
    pub changes: u64,
    /// Documents done of it.
    pub done: u64,
    /// As `changes`.
    pub total: u64,
    /// From 0 to 1; `None` when not known what there is to do.
    pub fraction: Option<f64>,
    /// Documents a second since the step began.
    pub documents_per_second: Option<u64>,
    /// Seconds that the rest takes at this rate.
    pub eta_seconds: Option<u64>,
}

impl RunProgress {
    /// A step of which so many documents of all were done in so many milliseconds.
    #[must_use]
    pub fn of(step: &str, done: u64, total: u64, ms: u64) -> RunProgress {
        let (wide_done, wide_ms) = (u128::from(done), u128::from(ms));
        let narrow = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        let is_moving = ms > 0 && done > 0;
        let left = u128::from(total.saturating_sub(done));
        let permille = (u128::from(done.min(total)) * 1000).checked_div(u128::from(total));
        RunProgress {
            step: step.to_owned(),
            changes: total,
            done,
            total,
            fraction: permille.map(|it| Duration::from_millis(narrow(it)).as_secs_f64()),
            documents_per_second: is_moving.then(|| narrow(wide_done * 1000 / wide_ms)),
            eta_seconds: is_moving.then(|| narrow(left * wide_ms / wide_done / 1000)),
        }
    }

    fn read(lease: &Document) -> Option<RunProgress> {
        let progress = lease.get_document("progress").ok()?;
        let count = |name| unsigned(progress, name);
        let step = progress.get_str("step").ok()?;
        Some(RunProgress::of(step, count("done")?, count("total")?, count("ms").unwrap_or(0)))
    }
}

/// Who holds the lease of `collection` now; `None` when it is free.
pub(super) async fn holder_of(
    server: &Server,
    collection: &str,
) -> mongodb::error::Result<Option<Holder>> {
    let filter = doc! {"_id": lease_id(collection), "$expr": {"$gt": ["$expiresAt", "$$NOW"]}};
    let held = runs(server).find_one(filter).await?;
    Ok(held.map(|held| Holder {
        run_id: held.get_str("run").unwrap_or("unknown").to_owned(),
        taken_at: held.get_datetime("takenAt").ok().copied(),
        beat_at: held.get_datetime("beatAt").ok().copied(),
        progress: RunProgress::read(&held),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_measured_from_the_step_under_way() {
        let told = RunProgress::of("applying", 250, 1_000, 2_000);
        assert_eq!((told.fraction, told.documents_per_second), (Some(0.25), Some(125)));
        assert_eq!((told.eta_seconds, told.changes, told.total), (Some(6), 1_000, 1_000));
        for told in [RunProgress::of("applying", 0, 0, 0), RunProgress::of("applying", 0, 0, 9)] {
            let figures = (told.fraction, told.documents_per_second, told.eta_seconds);
            assert_eq!(figures, (None, None, None));
        }
        // A lease of a version that did not say how long it took.
        let lease = doc! {"progress": {"step": "applying", "done": 5_i64, "total": 10_i64}};
        let told = RunProgress::read(&lease).unwrap();
        assert_eq!((told.fraction, told.documents_per_second), (Some(0.5), None));
    }
}

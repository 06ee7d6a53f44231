//! What the database says: the migration's state, the runs, the health, what to do.

use super::lease::{Holder, RunProgress, counted_by_fences, holder_of};
use super::migration_state;
use super::options::RunOptions;
use super::patience::patiently;
use super::store::{Recorded, number, read_journal, read_run_documents, recorded};
use crate::journal::{BatchOutcome, Goal, RunState};
use crate::model::{Timestamp, grouped};
use crate::server::{Server, ServerError, failed, unsigned};
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde::Serialize;
use std::time::Duration;

/// `status`'s result object (`design.md`, Result objects).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// The migration.
    pub migration: MigrationReport,
    /// The runs, newest first.
    pub runs: Vec<RunReport>,
    /// The tokens' health.
    pub health: HealthReport,
    /// What to do, most urgent first.
    pub recommendations: Vec<Recommendation>,
}

/// The migration's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationReport {
    /// Whether it was completed.
    pub is_completed: bool,
    /// Whether there is something to repair.
    pub migration_needed: bool,
    /// Melted and unspent tokens.
    pub problematic_tokens: u64,
    /// Melted tokens.
    pub total_melted_tokens: u64,
    /// Melted and spent tokens.
    pub spent_melted_tokens: u64,
    /// As in `migrationstates`; `not_started` without a record.
    pub state: String,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Its id.
    pub run_id: String,
    /// Its plan.
    pub plan_sha256: Option<String>,
    /// How far it is.
    pub state: String,
    /// Whether a process works on it now.
    pub is_active: bool,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it last said something.
    pub updated_at: Option<Timestamp>,
    /// Changes of the plan.
    pub changes: u64,
    /// Batches of the plan.
    pub batches: u64,
    /// Documents that are recorded as applied.
    pub applied: Option<u64>,
    /// Documents that were left as they are, when it ended.
    pub drifted: Option<u64>,
    /// Documents that are recorded as restored, once rolling back began.
    pub restored: Option<u64>,
    /// Why it stopped.
    pub error: Option<String>,
    /// How far it is, while a process works on it.
    pub progress: Option<RunProgress>,
    /// Since when the process that works on it does, which may be long after the run began; not part of the object.
    #[serde(skip)]
    pub worked_on_since: Option<Timestamp>,
    /// How fast the last process that applied it was; not part of the object.
    #[serde(skip)]
    pub pace: Option<RunPace>,
}

/// How fast a process worked on a run, from the first batch to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunPace {
    /// Documents that it wrote.
    pub documents: u64,
    /// Milliseconds that it took.
    pub ms: u64,
}

impl RunPace {
    fn read(run: &Document) -> Option<RunPace> {
        let pace = run.get_document(PACE).ok()?;
        Some(RunPace { documents: unsigned(pace, "documents")?, ms: unsigned(pace, "ms")? })
    }

    /// As it is written into a run's document.
    pub(super) fn field(self) -> Document {
        let RunPace { documents, ms } = self;
        doc! {PACE: {"documents": number(documents), "ms": number(ms)}}
    }
}

/// The field of a run's document with its pace.
const PACE: &str = "pace";

/// The tokens' health.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// All tokens.
    pub total_tokens: u64,
    /// 1 − problematic / melted; 1 when nothing is melted.
    pub health_score: f64,
    /// The server's version.
    pub server_version: String,
    /// Name of the replica set.
    pub replica_set: Option<String>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `high`, `medium` or `low`.
    pub priority: &'static str,
    /// What was found.
    pub message: String,
    /// What to do.
    pub action: String,
}

/// Counts over the whole collection, in one pass of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TokenCounts {
    pub(super) total: u64,
    pub(super) melted: u64,
    pub(super) problematic: u64,
    pub(super) spent_melted: u64,
}

pub(super) async fn count_tokens(
    server: &Server,
    collection: &str,
    patience: Duration,
) -> Result<TokenCounts, ServerError> {
    let is = |field: &str, word: &str| doc! {"$eq": [field, word]};
    let one_if = |condition: Document| doc! {"$sum": {"$cond": [condition, 1_i64, 0_i64]}};
    let melted = || is("$transaction_type", "melted");
    let melted_and = |word: &str| doc! {"$and": [melted(), is("$status", word)]};
    let group = doc! {"$group": {
        "_id": Bson::Null,
        "total": {"$sum": 1_i64},
        "melted": one_if(melted()),
        "problematic": one_if(melted_and("unspent")),
        "spent": one_if(melted_and("spent")),
    }};
    let counted = patiently(patience, || async {
        let tokens = server.collection(collection);
        let mut found = tokens.aggregate([group.clone()]).await?;
        match found.advance().await? {
            true => Ok(Some(Document::try_from(found.current())?)),
            false => Ok(None),
        }
    });
    let counted = counted.await.map_err(failed("count the tokens", "find on cashu_tokens"))?;
    let Some(counted) = counted else {
        return Ok(TokenCounts::default());
    };
    let count = |name| unsigned(&counted, name).unwrap_or(0);
    Ok(TokenCounts {
        total: count("total"),
        melted: count("melted"),
        problematic: count("problematic"),
        spent_melted: count("spent"),
    })
}

/// The migration's state (`not_started` without a record) and the runs, newest first: what of [`status`]
/// does not need the tokens.
///
/// # Errors
/// [`ServerError`].
pub async fn migration_and_runs(
    server: &Server,
    options: &RunOptions,
) -> Result<(String, Vec<RunReport>), ServerError> {
    let stored = migration_state::read(server, options).await?;
    let active = patiently(options.retry, || holder_of(server, &options.tokens));
    let active = active.await.map_err(failed("read the lease", "find on remelt_runs"))?;
    let documents = read_run_documents(server, options.retry).await?;
    let mut runs: Vec<RunReport> =
        documents.iter().map(|run| run_report(run, active.as_ref())).collect();
    // A run says how much it applied and restored when it ends; until then its transactions do.
    let has_ended = |run: &RunReport| {
        let state = RunState::from_word(&run.state);
        matches!(state, Some(RunState::Completed | RunState::RolledBack))
    };
    for (run, document) in runs.iter_mut().zip(&documents) {
        if run.applied.is_some() && has_ended(run) {
            continue;
        }
        let collection = document.get_str("collection").unwrap_or(&options.tokens);
        let (applied, restored) =
            recorded_figures(server, options, collection, &run.run_id).await?;
        run.applied = Some(applied);
        if run.state == RunState::RollingBack.as_str() {
            run.restored = Some(restored);
        }
    }
    let state = stored.map_or_else(|| "not_started".to_owned(), |stored| stored.status);
    Ok((state, runs))
}

/// How many documents of a run are recorded as applied and as restored. The fences have counted them; only of a run
/// of a version that did not count is the journal read, which holds all undo images.
async fn recorded_figures(
    server: &Server,
    options: &RunOptions,
    collection: &str,
    run_id: &str,
) -> Result<(u64, u64), ServerError> {
    let counted = counted_by_fences(server, options, collection, run_id).await?;
    if let Some(applied) = counted.applied {
        return Ok((applied, counted.restored.unwrap_or(0)));
    }
    let documents = read_journal(server, options, run_id).await?;
    let recorded: Vec<Recorded> = documents.iter().filter_map(recorded).collect();
    let applied = recorded.iter().map(|found| found.reached(Goal::Apply)).sum();
    let restored = recorded.iter().filter(|found| found.outcome == BatchOutcome::RolledBack);
    Ok((applied, restored.map(|found| found.reached(Goal::Rollback)).sum()))
}

/// Reads the state of everything. Writes nothing.
///
/// # Errors
/// [`ServerError`].
pub async fn status(server: &Server, options: &RunOptions) -> Result<StatusReport, ServerError> {
    let counts = count_tokens(server, &options.tokens, options.retry).await?;
    let (state, runs) = migration_and_runs(server, options).await?;
    if counts.total == 0 {
        // An empty answer must not look like a healthy ledger when the name is wrong.
        must_exist(server, options, &options.tokens).await?;
    }
    let migration = MigrationReport {
        is_completed: state == "completed",
        migration_needed: counts.problematic > 0,
        problematic_tokens: counts.problematic,
        total_melted_tokens: counts.melted,
        spent_melted_tokens: counts.spent_melted,
        state,
    };
    let health = HealthReport {
        total_tokens: counts.total,
        health_score: health_score(counts),
        server_version: server.deployment().server_version.clone(),
        replica_set: server.deployment().replica_set.clone(),
    };
    let recommendations = recommend(&migration, &runs);
    Ok(StatusReport { migration, runs, health, recommendations })
}

/// Fails when the database has no collection of that name.
pub(super) async fn must_exist(
    server: &Server,
    options: &RunOptions,
    collection: &str,
) -> Result<(), ServerError> {
    let named = patiently(options.retry, || async {
        server.database().list_collection_names().filter(doc! {"name": collection}).await
    });
    let named = named.await.map_err(failed("list the collections", "listCollections"))?;
    match named.is_empty() {
        false => Ok(()),
        true => {
            let collection = collection.to_owned();
            Err(ServerError::NoCollection { db: server.db().to_owned(), collection })
        }
    }
}

#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)] // a score for people, no amount
fn health_score(counts: TokenCounts) -> f64 {
    if counts.melted == 0 {
        return 1.0;
    }
    (counts.melted - counts.problematic) as f64 / counts.melted as f64
}

fn run_report(run: &Document, active: Option<&Holder>) -> RunReport {
    let count = |name| unsigned(run, name);
    let text = |name| run.get_str(name).ok().map(str::to_owned);
    let time = |name| run.get_datetime(name).ok().map(|at| Timestamp(at.timestamp_millis()));
    let run_id = text("_id").unwrap_or_default();
    let active = active.filter(|holder| holder.run_id == run_id);
    let stamp = |at: DateTime| Timestamp(at.timestamp_millis());
    let beat_at = active.and_then(|holder| holder.beat_at).map(stamp);
    RunReport {
        is_active: active.is_some(),
        progress: active.and_then(|holder| holder.progress.clone()),
        worked_on_since: active.and_then(|holder| holder.taken_at).map(stamp),
        pace: RunPace::read(run),
        run_id,
        plan_sha256: text("planSha256"),
        state: text("state").unwrap_or_default(),
        started_at: time("startedAt"),
        updated_at: time("updatedAt").max(beat_at),
        changes: count("changes").unwrap_or(0),
        batches: count("batches").unwrap_or(0),
        applied: count("applied"),
        drifted: count("drifted"),
        restored: count("restored"),
        error: text("error"),
    }
}

/// What to do about `migration` and `runs`, most urgent first.
#[must_use]
pub fn recommend(migration: &MigrationReport, runs: &[RunReport]) -> Vec<Recommendation> {
    let mut found = Vec::new();
    let is = |run: &RunReport, state: RunState| run.state == state.as_str();
    for run in runs.iter().filter(|run| !run.is_active) {
        let id = &run.run_id;
        let unfinished = [RunState::Running, RunState::Interrupted, RunState::Failed];
        if unfinished.iter().any(|state| is(run, *state)) {
            found.push(Recommendation {
                kind: "run",
                priority: "high",
                message: format!("Run {id} is not finished ({})", run.state),
                action: format!("Run the same remelt apply again, or: remelt rollback {id}"),
            });
        } else if is(run, RunState::RollingBack) {
            found.push(Recommendation {
                kind: "run",
                priority: "high",
                message: format!("The rollback of run {id} is not finished"),
                action: format!("remelt rollback {id}"),
            });
        }
    }
    let is_at_work = runs.iter().any(|run| run.is_active);
    if found.is_empty() && !is_at_work && migration.state == RunState::Running.as_str() {
        found.push(Recommendation {
            kind: "migration",
            priority: "medium",
            message: "migrationstates says that the migration is running, and no run of remelt is"
                .to_owned(),
            action: "Wait for the tool that runs it; if it died, settle its state with that tool"
                .to_owned(),
        });
    }
    if let Some(run) = runs.iter().find(|run| run.is_active) {
        found.push(Recommendation {
            kind: "run",
            priority: "low",
            message: format!("Run {} is at work, or its process died a moment ago", run.run_id),
            action: "Wait for it to end; if it died, run the same command again".to_owned(),
        });
    } else if !found.is_empty() {
        // Until that is done, what is unspent says nothing.
    } else if migration.migration_needed {
        found.push(Recommendation {
            kind: "migration",
            priority: if migration.is_completed { "medium" } else { "high" },
            message: match migration.problematic_tokens {
                1 => "1 melted token is unspent".to_owned(),
                n => format!("{} melted tokens are unspent", grouped(n.into())),
            },
            action: match migration.is_completed {
                true => "If the plan left them (its reports/findings.csv says so), settle them by hand; \
                         else they are new: remelt export, remelt analyze",
                false => "remelt export, remelt analyze, then remelt preview the plan",
            }
            .to_owned(),
        });
    } else {
        found.push(Recommendation {
            kind: "health",
            priority: "low",
            message: "No melted token is unspent".to_owned(),
            action: "Nothing to do; remelt monitor watches for new damage".to_owned(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: RunState, is_active: bool) -> RunReport {
        let mut run = run_report(&doc! {"_id": "r", "state": state.as_str()}, None);
        run.is_active = is_active;
        run
    }

    #[test]
    fn the_first_thing_to_do_comes_first_and_hides_what_follows_from_it() {
        let kinds = |state: &str, problematic_tokens, runs: &[RunReport]| -> Vec<(&str, &str)> {
            let migration = MigrationReport {
                is_completed: state == "completed",
                migration_needed: problematic_tokens > 0,
                problematic_tokens,
                total_melted_tokens: 9,
                spent_melted_tokens: 9 - problematic_tokens,
                state: state.to_owned(),
            };
            recommend(&migration, runs).iter().map(|it| (it.kind, it.priority)).collect()
        };
        assert_eq!(kinds("not_started", 0, &[]), [("health", "low")]);
        assert_eq!(kinds("not_started", 2, &[]), [("migration", "high")]);
        assert_eq!(kinds("completed", 2, &[]), [("migration", "medium")]);
        // Somebody else's.
        assert_eq!(kinds("running", 2, &[]), [("migration", "medium")]);
        for state in [RunState::Running, RunState::Failed, RunState::RollingBack] {
            assert_eq!(kinds("running", 2, &[run(state, false)]), [("run", "high")], "{state:?}");
            assert_eq!(kinds("running", 2, &[run(state, true)]), [("run", "low")], "{state:?}");
        }
        let ended = [run(RunState::RolledBack, false), run(RunState::Completed, false)];
        assert_eq!(kinds("rolled_back", 2, &ended), [("migration", "high")]);
    }
}

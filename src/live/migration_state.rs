//! The wallet's own record of its migrations, read as a prerequisite and kept true.

use super::options::RunOptions;
use super::patience::patiently;
use super::store::number;
use crate::server::{Server, ServerError, failed};
use mongodb::bson::{Bson, DateTime, Document, doc};

/// The migration that this repair stands for.
pub const MIGRATION_NAME: &str = "004_fix_melted_token_status";
/// The collection.
pub(super) const COLLECTION: &str = "migrationstates";

const VERSION: &str = "1.0.0";

/// What the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MigrationState {
    /// `pending`, `running`, `completed`, `failed`, `rolled_back`, or anything else.
    pub(super) status: String,
    /// The run of ours that wrote it.
    pub(super) run_id: Option<String>,
}

pub(super) async fn read(
    server: &Server,
    options: &RunOptions,
) -> Result<Option<MigrationState>, ServerError> {
    let found = patiently(options.retry, || async {
        let one = doc! {"migration_name": MIGRATION_NAME};
        server.collection(COLLECTION).find_one(one).await
    });
    let found =
        found.await.map_err(failed("read the migration's state", "find on migrationstates"))?;
    Ok(found.map(|document| MigrationState {
        status: document.get_str("status").unwrap_or("unknown").to_owned(),
        run_id: document
            .get_document("backup_data")
            .and_then(|backup| backup.get_str("remelt_run"))
            .ok()
            .map(str::to_owned),
    }))
}

/// What to write.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Running {
        of: RunName,
        at: DateTime,
    },
    Completed {
        of: RunName,
        at: DateTime,
        affected: u64,
        ms: i64,
    },
    Failed {
        of: RunName,
        error: String,
    },
    /// As to other tools it is at work.
    RollingBack,
    RolledBack {
        at: DateTime,
    },
}

/// Whose state it is. Written each time: else a document that was removed meanwhile would come back as another
/// tool's.
#[derive(Debug, Clone)]
pub(super) struct RunName {
    pub(super) run_id: String,
    pub(super) plan_sha256: String,
}

impl From<RunName> for Bson {
    fn from(RunName { run_id, plan_sha256 }: RunName) -> Bson {
        let journal = "remelt_journal";
        doc! {"remelt_run": run_id, "plan_sha256": plan_sha256, "journal": journal}.into()
    }
}

impl Change {
    fn fields(self) -> Document {
        match self {
            Change::Running { of, at } => doc! {
                "status": "running", "started_at": at, "completed_at": Bson::Null,
                "error_message": Bson::Null, "affected_tokens": 0_i64, "execution_time_ms": 0_i64,
                "backup_data": of,
            },
            Change::Completed { of, at, affected, ms } => doc! {
                "status": "completed", "completed_at": at, "affected_tokens": number(affected),
                "execution_time_ms": ms, "error_message": Bson::Null, "backup_data": of,
            },
            Change::Failed { of, error } => {
                doc! {"status": "failed", "error_message": error, "backup_data": of}
            }
            Change::RollingBack => doc! {"status": "running"},
            Change::RolledBack { at } => doc! {"status": "rolled_back", "completed_at": at},
        }
    }
}

pub(super) async fn write(
    server: &Server,
    options: &RunOptions,
    change: Change,
) -> Result<(), ServerError> {
    let update = doc! {"$set": change.fields(), "$setOnInsert": {"version": VERSION}};
    let written = patiently(options.retry, || {
        let states = server.collection(COLLECTION);
        let update = update.clone();
        async move {
            let one = doc! {"migration_name": MIGRATION_NAME};
            states.update_one(one, update).upsert(true).await
        }
    });
    let privilege = "insert and update on migrationstates";
    written.await.map(drop).map_err(failed("record the migration's state", privilege))
}

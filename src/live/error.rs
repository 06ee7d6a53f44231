//! Why a run did not do what it was asked, and which exit code that is.

use crate::journal::{DriftEntry, Goal, RunDirectoryError};
use crate::model::counted;
use crate::plan::PlanError;
use crate::server::{NOT_READY, ServerError};

/// Which exit code an error stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// 1: something failed.
    Failed,
    /// 3: a safety check refused.
    Refused,
}

/// Why a plan was not applied or a run not rolled back. Never holds content of a document.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The run's directory.
    #[error(transparent)]
    Directory(#[from] RunDirectoryError),
    /// No transactions there.
    #[error(
        "this is a standalone server, which has no transactions, so nothing could be undone safely; \
         make it a replica set of one member (--replSet and replSetInitiate), then run again"
    )]
    Standalone,
    /// The plan's secrets are hashes.
    #[error(
        "the plan was made from a snapshot without secrets (--without-secrets): its documents' hashes \
         are not those of the database, so nothing can be compared; export with secrets and analyze anew"
    )]
    WithoutSecrets,
    /// The snapshot does not say where it came from.
    #[error(
        "the plan's snapshot does not say which deployment it came from (a dump of another program, or \
         exported by a user who may not see the replica set's id); if you are sure that it was taken from \
         this deployment's database {db}, name that: --target {target}"
    )]
    ForeignPlan {
        /// The database.
        db: String,
        /// What to type.
        target: String,
    },
    /// Another deployment.
    #[error(
        "the plan was made from replica set {planned} and this is {seen}; nothing was written: connect to \
         the right deployment, or, if this is a restored copy, name it: --target {target}"
    )]
    OtherDeployment {
        /// The plan's.
        planned: String,
        /// The one connected to.
        seen: String,
        /// What to type.
        target: String,
    },
    /// Another database.
    #[error("the plan was made from database {planned} and this is {seen}; nothing was written")]
    OtherDatabase {
        /// The plan's.
        planned: String,
        /// The one connected to.
        seen: String,
    },
    /// The typed target is another one.
    #[error("the target that was typed is not this one, which is {target}; nothing was written")]
    OtherTarget {
        /// The one connected to.
        target: String,
    },
    /// It is applied already.
    #[error(
        "Migration has already been completed ({by}); nothing was written: see remelt status, or roll it \
         back first"
    )]
    AlreadyCompleted {
        /// By whom.
        by: String,
    },
    /// Another tool is at work.
    #[error(
        "the database says that another tool's migration {0} is running; wait for it, or correct its \
         document in migrationstates if it is dead"
    )]
    OtherToolRuns(&'static str),
    /// A run is in the way.
    #[error(
        "run {run_id} of {what} is not finished; finish it, or roll it back with: remelt rollback {run_id}"
    )]
    UnfinishedRun {
        /// The run.
        run_id: String,
        /// Of which plan.
        what: String,
    },
    /// The run is being rolled back.
    #[error("run {0} is being rolled back; finish that first with: remelt rollback {0}")]
    BeingRolledBack(String),
    /// Somebody else works on the collection.
    #[error(
        "another remelt works on {collection} (run {run_id}, alive); nothing was written: wait for it to \
         end, then run again"
    )]
    LeaseHeld {
        /// The collection.
        collection: String,
        /// Its run.
        run_id: String,
    },
    /// Somebody else took over.
    #[error(
        "this run lost its lease: another remelt took it over, or the server was out of reach for too \
         long; batches that were committed are recorded; run the same command again"
    )]
    LeaseLost,
    /// Documents have changed.
    #[error(
        "{}{}; {}", no_longer(*count, *goal), first_of(listed),
        match (*written, goal) {
            (0, Goal::Apply) => "nothing was written: export and analyze anew, or leave what changed with \
                --on-drift skip".to_owned(),
            (0, Goal::Rollback) => "nothing was written: --on-drift skip leaves what changed and restores \
                the rest".to_owned(),
            (n, Goal::Apply) => format!("the run stopped after {}, which are recorded: go on with \
                --on-drift skip, or roll back", counted(n, "document")),
            (n, Goal::Rollback) => format!("the rollback stopped after {}, which are recorded: go on with \
                --on-drift skip", counted(n, "document")),
        }
    )]
    Drift {
        /// What was under way.
        goal: Goal,
        /// How many.
        count: u64,
        /// Some of them.
        listed: Vec<DriftEntry>,
        /// Documents written by this run before.
        written: u64,
    },
    /// No journal in the database.
    #[error("No backup data found - cannot rollback safely: {0}")]
    NoBackup(String),
    /// A run's document is not what was written.
    #[error(
        "run {run_id} in remelt_runs is not as remelt wrote it: {what}; nothing was written: put remelt_runs and \
         remelt_journal back together from one backup, or restore the run's documents by hand from its undo images"
    )]
    RunAltered {
        /// The run.
        run_id: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The database's journal is not what was written.
    #[error(
        "the journal document of batch {batch} (from change {from}) in remelt_journal is not what this \
         plan wrote: {what}; nothing was written for it: somebody altered it"
    )]
    JournalAltered {
        /// The batch.
        batch: u64,
        /// First change.
        from: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The server wrote other bytes than planned.
    #[error(
        "batch {batch}: the server would have stored other bytes than planned, so its transaction was \
         aborted and the run stopped; please report this with the server's version"
    )]
    NotAsPlanned {
        /// The batch.
        batch: u64,
    },
    /// The server matched another number of documents.
    #[error(
        "batch {batch}: the server would have changed {seen} documents, expected {expected}; its transaction was aborted"
    )]
    Unexpected {
        /// The batch.
        batch: u64,
        /// Expected.
        expected: u64,
        /// Seen.
        seen: u64,
    },
    /// Retries ran out.
    #[error(
        "Database connection not ready: batch {batch} could not be committed within {seconds} s (last: {last}); batches that were committed are recorded; run the same command again"
    )]
    GaveUp {
        /// The batch.
        batch: u64,
        /// For how long.
        seconds: u64,
        /// The last obstacle, without content.
        last: String,
    },
    /// One change is too large.
    #[error(
        "batch {batch}, change {from}: its undo image exceeds what one journal document holds, so it can't be applied safely"
    )]
    TooLarge {
        /// The batch.
        batch: u64,
        /// The change.
        from: u64,
    },
    /// It was told to stop.
    #[error("interrupted; nothing was written")]
    Stopped,
    /// Replication lag can't be measured.
    #[error("the replication lag can't be watched: {0}")]
    Lag(ServerError),
}

fn no_longer(count: u64, goal: Goal) -> String {
    let documents = counted(count, "document");
    let is = if count == 1 { "is" } else { "are" };
    match goal {
        Goal::Apply => format!("{documents} of the plan {is} no longer what the plan saw"),
        Goal::Rollback => format!("{documents} of the run {is} no longer what the run wrote"),
    }
}

fn first_of(listed: &[DriftEntry]) -> String {
    match listed {
        [] => String::new(),
        [only] => format!(": token {}", named(only)),
        [first, ..] => format!(", the first is token {}", named(first)),
    }
}

/// The id, unless it could pass for words of the message: an `_id` may be any text.
fn named(entry: &DriftEntry) -> String {
    const ID_CHARACTERS_MAX: usize = 64;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_{}:$\"".contains(c);
    match entry.id.len() <= ID_CHARACTERS_MAX && entry.id.chars().all(is_plain) {
        true => entry.id.clone(),
        false => format!("number {} of the snapshot", entry.ordinal),
    }
}

impl RunError {
    /// Which exit code this is.
    #[must_use]
    pub fn class(&self) -> ExitClass {
        match self {
            RunError::Server(error) | RunError::Lag(error) if error.is_permission() => {
                ExitClass::Refused
            }
            RunError::Drift { written: 0, .. } => ExitClass::Refused,
            RunError::Plan(error) => match error {
                PlanError::Io { .. } | PlanError::Scratch(_) => ExitClass::Failed,
                _ => ExitClass::Refused,
            },
            RunError::Directory(RunDirectoryError::Locked(_))
            | RunError::Standalone
            | RunError::WithoutSecrets
            | RunError::ForeignPlan { .. }
            | RunError::OtherDeployment { .. }
            | RunError::OtherDatabase { .. }
            | RunError::OtherTarget { .. }
            | RunError::AlreadyCompleted { .. }
            | RunError::OtherToolRuns(_)
            | RunError::UnfinishedRun { .. }
            | RunError::BeingRolledBack(_)
            | RunError::LeaseHeld { .. }
            | RunError::NoBackup(_)
            | RunError::RunAltered { .. }
            | RunError::JournalAltered { .. } => ExitClass::Refused,
            _ => ExitClass::Failed,
        }
    }

    /// The word for programs, as in `{error: {code}}`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            RunError::Server(error) | RunError::Lag(error) => error.code(),
            RunError::GaveUp { .. } => NOT_READY,
            RunError::Plan(_) => "plan",
            RunError::Directory(_) => "run_directory",
            RunError::Standalone => "standalone",
            RunError::WithoutSecrets => "without_secrets",
            RunError::ForeignPlan { .. } => "foreign_plan",
            RunError::OtherDeployment { .. } => "other_deployment",
            RunError::OtherDatabase { .. } => "other_database",
            RunError::OtherTarget { .. } => "other_target",
            RunError::AlreadyCompleted { .. } => "already_completed",
            RunError::OtherToolRuns(_) => "other_tool_runs",
            RunError::UnfinishedRun { .. } => "unfinished_run",
            RunError::BeingRolledBack(_) => "being_rolled_back",
            RunError::LeaseHeld { .. } => "lease_held",
            RunError::LeaseLost => "lease_lost",
            RunError::Drift { .. } => "drift",
            RunError::NoBackup(_) => "no_backup_data_found",
            RunError::RunAltered { .. } => "run_altered",
            RunError::JournalAltered { .. } => "journal_altered",
            RunError::NotAsPlanned { .. } | RunError::Unexpected { .. } => "not_as_planned",
            RunError::TooLarge { .. } => "too_large",
            RunError::Stopped => "interrupted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_server_has_the_same_word_whatever_met_it() {
        let refused = ServerError::Refused { doing: "write", code: 121, name: "x".to_owned() };
        let lost = ServerError::Lost { doing: "write" };
        for (error, code) in [(refused, "server"), (lost, "not_ready")] {
            assert_eq!(error.code(), code);
            assert_eq!(RunError::Lag(error.clone()).code(), code);
            assert_eq!(RunError::Server(error).code(), code);
        }
        let gave_up = RunError::GaveUp { batch: 1, seconds: 2, last: String::new() };
        assert_eq!(gave_up.code(), "not_ready");
        let denied = ServerError::PermissionDenied { doing: "ask", privilege: "x" };
        let denied = RunError::Lag(denied);
        assert_eq!((denied.code(), denied.class()), ("permission_denied", ExitClass::Refused));
    }
}

//! Why an analysis in the cluster failed, in sentences for people.

use crate::progress::Interrupted;
use crate::server::{ServerError, error_code, failed};
use mongodb::error::Error;

/// Why an analysis in the cluster failed. Never holds content of a document or text of a third party.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The server can't be reached or refuses.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Tokens and wallets in one collection.
    #[error("--tokens and --wallets name the same collection; name two")]
    SameCollection,
    /// The collection is not there.
    #[error(
        "the database {db} has no collection {wanted}; say the database with --db, or the collection \
         with --{option}{or_without}"
    )]
    NoCollection {
        /// The database.
        db: String,
        /// What was looked for.
        wanted: String,
        /// The option that names it.
        option: &'static str,
        /// Another way, if there is one.
        or_without: &'static str,
    },
    /// A view or time series.
    #[error("{db}.{name} is not a plain collection; name the collection itself with --{option}")]
    NotACollection {
        /// The database.
        db: String,
        /// The name.
        name: String,
        /// The option that names it.
        option: &'static str,
    },
    /// The server no longer keeps the cluster time.
    #[error(
        "the server no longer keeps the cluster time at which the analysis reads (error {code}): its \
         history is shorter than the analysis takes, or a collection or index was just created; raise \
         the history (adminCommand {{setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600}}, 300 by \
         default) and run again, or pass --consistency none for documents of different times"
    )]
    SnapshotTooOld {
        /// The server's error code.
        code: i32,
    },
    /// The server gave no cluster time.
    #[error(
        "the server named no cluster time for the documents it read, so they may be of different times; \
         it needs MongoDB 5.0 or newer as a replica set or sharded cluster, or --consistency none"
    )]
    NoClusterTime,
    /// A group outgrew what the server allows for one document.
    #[error(
        "the server could not {doing}: one group holds more than it allows (error {code}), as when one \
         value is shared by hundreds of thousands of users; export the database and analyze the snapshot, \
         which has no such limit"
    )]
    GroupTooLarge {
        /// What was tried.
        doing: &'static str,
        /// The server's error code.
        code: i32,
    },
    /// The server has no room for what a pipeline spills.
    #[error(
        "the server could not {doing}: it may not use, or has not got, the disk space for it (error \
         {code}); give its dbPath more room, or export the database and analyze the snapshot"
    )]
    NoDisk {
        /// What was tried.
        doing: &'static str,
        /// The server's error code.
        code: i32,
    },
    /// Somebody ended the operation on the server, or its time limit did.
    #[error(
        "the server was told to end the operation while it tried to {doing} (error {code}); ask who \
         ended it, or raise the limit, and run again"
    )]
    Ended {
        /// What was tried.
        doing: &'static str,
        /// The server's error code.
        code: i32,
    },
    /// The answer is not what was asked for; a bug, or a server that differs from those known.
    #[error("the server's figures are not whole numbers of the expected names; please report this")]
    Figures,
    /// The user asked to stop.
    #[error("interrupted; the operation on the server was ended too")]
    Interrupted(#[from] Interrupted),
}

/// Judges an error of the driver that came up while the server was to do something.
pub(super) fn judge(
    doing: &'static str,
    privilege: &'static str,
) -> impl Fn(Error) -> ClusterError {
    move |error| match error_code(&error) {
        // SnapshotTooOld, SnapshotUnavailable
        Some(code @ (239 | 246)) => ClusterError::SnapshotTooOld { code },
        // BSONObjectTooLarge (and as a number of its own), ExceededMemoryLimit
        Some(code @ (10_334 | 17_419 | 17_420 | 146)) => {
            ClusterError::GroupTooLarge { doing, code }
        }
        // QueryExceededMemoryLimitNoDiskUseAllowed, OutOfDiskSpace
        Some(code @ (292 | 14_031)) => ClusterError::NoDisk { doing, code },
        // MaxTimeMSExpired, Interrupted
        Some(code @ (50 | 11_601)) => ClusterError::Ended { doing, code },
        _ => failed(doing, privilege)(error).into(),
    }
}

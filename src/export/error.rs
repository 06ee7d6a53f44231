//! Why an export failed, in sentences for people, and whether starting anew may help.

use super::redact::Unredactable;
use crate::progress::Interrupted;
use crate::publish::PublishError;
use crate::server::{ServerError, error_code, failed};
use mongodb::error::{Error, ErrorKind};

/// Why an export failed. Never holds content of a document or text of a third party.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The server can't be reached or refuses.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// An option holds what can't be a collection's name in a path.
    #[error("--{option}: expected a collection's name without slashes and $")]
    Name {
        /// The option.
        option: &'static str,
    },
    /// Tokens and wallets in one collection.
    #[error("--tokens and --wallets name the same collection; name two")]
    SameCollection,
    /// No snapshot reads.
    #[error(
        "the server is a standalone, which can't read all documents at one point in time; make it a \
         replica set (one member is enough), or pass --consistency none for documents of different times"
    )]
    Standalone,
    /// The collection is not there.
    #[error(
        "the database {db} has no collection {wanted} ({found}); say the database with --db, or the \
         collection with --{option}"
    )]
    NoCollection {
        /// The database.
        db: String,
        /// What was looked for.
        wanted: String,
        /// What is there, in words.
        found: String,
        /// The option that names it.
        option: &'static str,
    },
    /// A view or time series.
    #[error(
        "{db}.{name} is a {kind}, not a collection; name the collection itself with --{option}"
    )]
    NotACollection {
        /// The database.
        db: String,
        /// The name.
        name: String,
        /// What it is.
        kind: String,
        /// The option that names it.
        option: &'static str,
    },
    /// The server no longer keeps the snapshot's cluster time.
    #[error(
        "the server no longer keeps the cluster time at which the export reads (error {code}): its \
         history is shorter than the export takes, or a collection or index was just created; nothing \
         was published. Raise the history (adminCommand {{setParameter: 1, \
         minSnapshotHistoryWindowInSeconds: 3600}}, 300 by default) and export again, or pass \
         --consistency none for documents of different times"
    )]
    SnapshotTooOld {
        /// The server's error code.
        code: i32,
    },
    /// The server gave no cluster time.
    #[error(
        "the server named no cluster time for the documents it sent, so they may be of different times; \
         it needs MongoDB 5.0 or newer as a replica set, or --consistency none"
    )]
    NoClusterTime,
    /// A collection's indexes or options can't be told in JSON.
    #[error(
        "the indexes or options of {db}.{name} could not be read; look at them with the server's shell"
    )]
    Metadata {
        /// The database.
        db: String,
        /// The collection.
        name: String,
    },
    /// Secrets can't be taken out of a document.
    #[error(
        "document {number} (from 0, in natural order) of {collection}: its secrets can't be taken out \
         safely: {reason}; repair or remove it, or export in full"
    )]
    Unredactable {
        /// The collection.
        collection: String,
        /// Which document.
        number: u64,
        /// Why.
        reason: Unredactable,
    },
    /// No key for hashing.
    #[error(
        "the system gave no random bytes for the key of the hashed secrets; check getrandom(2)"
    )]
    NoRandomness,
    /// A file could not be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The thread that writes ended before its work; a bug.
    #[error("the thread that writes the documents ended before its work; please report this")]
    Writer,
}

/// Why one attempt failed.
pub(super) enum Failure {
    /// The connection or the server's role was lost: another attempt may get through.
    Passing(ExportError),
    /// Another attempt would fail alike.
    Final(ExportError),
}

impl<E: Into<ExportError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Final(error.into())
    }
}

const SNAPSHOT_TOO_OLD: i32 = 239;
const SNAPSHOT_UNAVAILABLE: i32 = 246;

/// Codes of a server that goes away, changes its role, or closed the cursor: HostUnreachable,
/// HostNotFound, CursorNotFound, NetworkTimeout, ShutdownInProgress, PrimarySteppedDown,
/// QueryPlanKilled, CursorKilled, SocketException, NotWritablePrimary, InterruptedAtShutdown,
/// InterruptedDueToReplStateChange, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary.
const PASSING: [i32; 14] =
    [6, 7, 43, 89, 91, 175, 189, 237, 9001, 10_107, 11_600, 11_602, 13_435, 13_436];

/// Judges an error of the driver that came up while trying to do something.
pub(super) fn judge(doing: &'static str, privilege: &'static str) -> impl Fn(Error) -> Failure {
    move |error| {
        let code = error_code(&error);
        let passing = match (code, error.kind.as_ref()) {
            (Some(code), _) => PASSING.contains(&code),
            (None, ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }) => true,
            _ => false,
        };
        match code {
            // Restarting takes as long again and the history stays as short.
            Some(code @ SNAPSHOT_TOO_OLD) => Failure::Final(ExportError::SnapshotTooOld { code }),
            // A collection or index that is younger than the cluster time; a new time may do.
            Some(code @ SNAPSHOT_UNAVAILABLE) => {
                Failure::Passing(ExportError::SnapshotTooOld { code })
            }
            _ if passing => Failure::Passing(failed(doing, privilege)(error).into()),
            _ => Failure::Final(failed(doing, privilege)(error).into()),
        }
    }
}

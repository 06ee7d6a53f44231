//! The driver's and the server's errors in our words.
//!
//! Their own texts quote documents (a duplicate key's value, a decoder's input), so they are never shown:
//! only what was being done, the code, the code's name, and what to do.

use mongodb::error::{Error, ErrorKind, WriteFailure};

/// The word for programs when the server is out of reach, or was for too long.
pub(crate) const NOT_READY: &str = "not_ready";

/// Why the server did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The connection string can't be used. It may hold a password, so it is not shown.
    #[error(
        "the connection string is malformed (it is not shown, as it may hold a password); expected \
         mongodb://HOST:PORT/DB?OPTIONS, with user and password percent-encoded before the host, and an \
         at sign between"
    )]
    BadUri,
    /// A file of the connection string's TLS options can't be used.
    #[error(
        "the connection string's TLS options can't be used (they are not shown); expected tlsCAFile and \
         tlsCertificateKeyFile to name PEM files that this user may read; check that they are there and whole"
    )]
    BadTls,
    /// The database's name can't be one.
    #[error("the database's name is empty, too long, or holds one of / \\ . $ \" or a space")]
    BadDatabaseName,
    /// Nobody answers.
    #[error(
        "Database connection not ready: no usable server at {hosts}; check that it runs, that host, \
         port, replica set name and TLS options are right, and that this machine may reach it"
    )]
    NotReady {
        /// Whom was tried, without credentials.
        hosts: String,
    },
    /// The connection broke while something was being done.
    #[error(
        "Database connection not ready: it was lost while trying to {doing}; check the server and run the same command again"
    )]
    Lost {
        /// What was tried.
        doing: &'static str,
    },
    /// The user's name or password is wrong.
    #[error(
        "Permission denied: the server did not accept the user or the password; check both and authSource"
    )]
    Authentication,
    /// The user lacks a privilege.
    #[error("Permission denied: could not {doing}; the user lacks the privilege: {privilege}")]
    PermissionDenied {
        /// What was tried.
        doing: &'static str,
        /// What is missing.
        privilege: &'static str,
    },
    /// The tokens are not there, so this can't be the ledger that was meant.
    #[error(
        "the database {db} has no collection {collection}; check the database's name, in the connection \
         string or --db"
    )]
    NoCollection {
        /// The database.
        db: String,
        /// The collection.
        collection: String,
    },
    /// The server refused for another reason.
    #[error("could not {doing}: the server answered with error {code} ({name})")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// The server's error code.
        code: i32,
        /// The code's name.
        name: String,
    },
    /// The answer is not what it should be.
    #[error("could not {doing}: the answer was not understood (the driver reports: {kind})")]
    Answer {
        /// What was tried.
        doing: &'static str,
        /// The kind of failure, without any content.
        kind: &'static str,
    },
}

impl ServerError {
    /// Whether the user lacks a privilege or could not log in.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self, ServerError::PermissionDenied { .. } | ServerError::Authentication)
    }

    /// The word for programs, as in `{error: {code}}`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ServerError::PermissionDenied { .. } | ServerError::Authentication => {
                "permission_denied"
            }
            ServerError::NotReady { .. } | ServerError::Lost { .. } => NOT_READY,
            ServerError::BadUri
            | ServerError::BadTls
            | ServerError::BadDatabaseName
            | ServerError::NoCollection { .. }
            | ServerError::Refused { .. }
            | ServerError::Answer { .. } => "server",
        }
    }
}

/// The server's error code in `error`, if the server gave one.
#[must_use]
pub fn error_code(error: &Error) -> Option<i32> {
    code_and_name(error).map(|(code, _)| code)
}

/// Whether the user lacks a privilege or could not log in.
pub(super) fn is_permission(error: &Error) -> bool {
    describe(error, "", "").is_permission()
}

/// Turns an error that came up while trying to do something into our words; `privilege` says what the
/// user needs for it.
pub fn failed(doing: &'static str, privilege: &'static str) -> impl Fn(Error) -> ServerError {
    move |error| describe(&error, doing, privilege)
}

fn describe(error: &Error, doing: &'static str, privilege: &'static str) -> ServerError {
    match code_and_name(error) {
        Some((18 | 8000, _)) => return ServerError::Authentication,
        Some((13 | 33, _)) => return ServerError::PermissionDenied { doing, privilege },
        Some((code, name)) => return ServerError::Refused { doing, code, name },
        None => {}
    }
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => ServerError::Authentication,
        ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. } => {
            ServerError::NotReady { hosts: "the given address".to_owned() }
        }
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::Shutdown => {
            ServerError::Lost { doing }
        }
        other => ServerError::Answer { doing, kind: kind_of(other) },
    }
}

fn kind_of(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument { .. } => "invalid argument",
        ErrorKind::BsonDeserialization(_) => "BSON that it could not read",
        ErrorKind::BsonSerialization(_) => "BSON that it could not write",
        ErrorKind::Internal { .. } => "internal error",
        ErrorKind::InvalidResponse { .. } => "invalid response",
        ErrorKind::InvalidTlsConfig { .. } => "invalid TLS configuration",
        ErrorKind::Transaction { .. } => "transaction misuse",
        ErrorKind::IncompatibleServer { .. } => "incompatible server",
        ErrorKind::SessionsNotSupported => "sessions not supported",
        _ => "another kind of error",
    }
}

fn code_and_name(error: &Error) -> Option<(i32, String)> {
    let (code, name) = match error.kind.as_ref() {
        ErrorKind::Command(command) => (command.code, command.code_name.as_str()),
        ErrorKind::Write(WriteFailure::WriteError(write)) => {
            (write.code, write.code_name.as_deref().unwrap_or_default())
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
            (concern.code, concern.code_name.as_str())
        }
        _ => return None,
    };
    Some((code, code_name(code, name)))
}

/// The server's name for the code when it looks like one, else ours.
fn code_name(code: i32, name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric()) && name.len() <= 64;
    if plain && !name.is_empty() {
        return name.to_owned();
    }
    match code {
        11000 => "DuplicateKey",
        112 => "WriteConflict",
        251 => "NoSuchTransaction",
        _ => "unnamed",
    }
    .to_owned()
}

//! What a failure means: an exit code, a word for scripts, and sentences for people.

use remelt::analysis::{AnalyzeError, FamilyError};
use remelt::api::{ServeError, TokenError};
use remelt::audit::AuditError;
use remelt::cluster::ClusterError;
use remelt::copy::{CopyError, CopyRunError};
use remelt::diff::DiffError;
use remelt::export::ExportError;
use remelt::generate::GenerateError;
use remelt::journal::RunDirectoryError;
use remelt::live::{ExitClass, RunError};
use remelt::plan::{BuildError, PageError, ParquetReportError, PlanError};
use remelt::publish::PublishError;
use remelt::server::ServerError;
use remelt::snapshot::SnapshotError;
use remelt::snapshot::input::InputError;
use remelt::verify::VerifyError;

/// How a command ends (`design.md`, Exit codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// A safety check refused.
    Refused = 3,
    /// Done, with something left for a person.
    LeftOver = 4,
}

/// A refusal of the command line itself.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) exit: Exit,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    /// A safety check of the command line refused.
    pub(crate) fn new(code: &'static str, message: String) -> Refusal {
        Refusal { exit: Exit::Refused, code, message }
    }

    /// The arguments make no sense together.
    pub(crate) fn usage(message: impl Into<String>) -> Refusal {
        Refusal { exit: Exit::Usage, code: "usage", message: message.into() }
    }
}

/// Exit code and word of an error that came up from the core.
pub(crate) fn classify(error: &anyhow::Error) -> (Exit, &'static str) {
    let found = error.chain().find_map(|cause| {
        None.or_else(|| cause.downcast_ref().map(refusal))
            .or_else(|| cause.downcast_ref().map(build))
            .or_else(|| cause.downcast_ref().map(live))
            .or_else(|| cause.downcast_ref().map(export))
            .or_else(|| cause.downcast_ref().map(cluster))
            .or_else(|| cause.downcast_ref().map(server))
            .or_else(|| cause.downcast_ref().map(copy_run))
            .or_else(|| cause.downcast_ref().map(copy))
            .or_else(|| cause.downcast_ref().map(plan))
            .or_else(|| cause.downcast_ref().map(snapshot))
            .or_else(|| cause.downcast_ref().map(input))
            .or_else(|| cause.downcast_ref().map(family))
            .or_else(|| cause.downcast_ref().map(verify))
            .or_else(|| cause.downcast_ref().map(diff))
            .or_else(|| cause.downcast_ref().map(audit))
            .or_else(|| cause.downcast_ref().map(publish))
            .or_else(|| cause.downcast_ref().map(generate))
            .or_else(|| cause.downcast_ref().map(serve))
            .or_else(|| cause.downcast_ref().map(token))
    });
    found.unwrap_or((Exit::Failed, "failed"))
}

fn refusal(error: &Refusal) -> (Exit, &'static str) {
    (error.exit, error.code)
}

fn serve(error: &ServeError) -> (Exit, &'static str) {
    match error {
        ServeError::Unprotected(_) => (Exit::Refused, "unprotected"),
        ServeError::Tls(_) => (Exit::Failed, "tls"),
        ServeError::Listen { .. } => (Exit::Failed, "listen"),
        ServeError::Broken { .. } => (Exit::Failed, "listener"),
    }
}

fn token(_: &TokenError) -> (Exit, &'static str) {
    (Exit::Refused, "api_token")
}

fn build(error: &BuildError) -> (Exit, &'static str) {
    match error {
        BuildError::Analyze(error) => analyze(error),
        BuildError::Snapshot(error) => snapshot(error),
        BuildError::Page(PageError::Table(_)) => (Exit::Failed, "io"),
        BuildError::Page(PageError::Scratch(_)) => (Exit::Failed, "scratch"),
        BuildError::Parquet(ParquetReportError::Table(_)) => (Exit::Failed, "io"),
        BuildError::Parquet(ParquetReportError::Publish(error)) | BuildError::Publish(error) => {
            publish(error)
        }
        BuildError::Parquet(ParquetReportError::Interrupted(_)) => (Exit::Failed, "interrupted"),
    }
}

fn analyze(error: &AnalyzeError) -> (Exit, &'static str) {
    let code = match error {
        AnalyzeError::Input(error) => return input(error),
        AnalyzeError::Publish(error) => return publish(error),
        AnalyzeError::Malformed { .. } | AnalyzeError::DuplicateId { .. } => "malformed_input",
        AnalyzeError::WalletsTooLarge { .. } => "memory",
        AnalyzeError::Interrupted(_) => "interrupted",
        AnalyzeError::Scratch(_) => "scratch",
        AnalyzeError::TooManyDocuments | AnalyzeError::Threads(_) => "limit",
        AnalyzeError::FingerprintsCollide => "input_changed",
        AnalyzeError::Unreachable(_) => "bug",
    };
    (Exit::Failed, code)
}

fn family(error: &FamilyError) -> (Exit, &'static str) {
    match error {
        FamilyError::Read(error) => analyze(error),
        FamilyError::Snapshot(error) => snapshot(error),
    }
}

fn snapshot(error: &SnapshotError) -> (Exit, &'static str) {
    match error {
        SnapshotError::Input(error) => input(error),
        SnapshotError::Io { .. } => (Exit::Failed, "io"),
        SnapshotError::Part { .. } => (Exit::Failed, "input"),
        SnapshotError::Manifest { .. }
        | SnapshotError::Incoherent(_)
        | SnapshotError::Metadata { .. }
        | SnapshotError::Unrecorded { .. }
        | SnapshotError::Root { .. }
        | SnapshotError::Altered { .. } => (Exit::Failed, "altered_snapshot"),
    }
}

fn input(_: &InputError) -> (Exit, &'static str) {
    (Exit::Failed, "input")
}

fn publish(error: &PublishError) -> (Exit, &'static str) {
    match error {
        PublishError::Exists(_) => (Exit::Refused, "exists"),
        PublishError::Locked(_) => (Exit::Refused, "locked"),
        PublishError::BadName(_) => (Exit::Failed, "bad_path"),
        PublishError::Io { .. } => (Exit::Failed, "io"),
    }
}

fn plan(error: &PlanError) -> (Exit, &'static str) {
    match error {
        PlanError::Io { .. } => (Exit::Failed, "io"),
        PlanError::NoPlan(_) => (Exit::Failed, "no_plan"),
        PlanError::Scratch(_) => (Exit::Failed, "scratch"),
        PlanError::Sealed { .. }
        | PlanError::Incoherent { .. }
        | PlanError::BatchAltered { .. }
        | PlanError::Change { .. } => (Exit::Refused, "altered_plan"),
    }
}

fn server(error: &ServerError) -> (Exit, &'static str) {
    let exit = match error {
        ServerError::PermissionDenied { .. } | ServerError::Authentication => Exit::Refused,
        ServerError::BadUri | ServerError::BadTls | ServerError::BadDatabaseName => Exit::Usage,
        _ => Exit::Failed,
    };
    (exit, error.code())
}

fn live(error: &RunError) -> (Exit, &'static str) {
    let exit = match error.class() {
        ExitClass::Failed => Exit::Failed,
        ExitClass::Refused => Exit::Refused,
    };
    let code = match error {
        RunError::Plan(error) => return plan(error),
        RunError::Directory(error) => return run_directory(error),
        other => other.code(),
    };
    (exit, code)
}

fn export(error: &ExportError) -> (Exit, &'static str) {
    match error {
        ExportError::Server(error) => server(error),
        ExportError::Publish(error) => publish(error),
        ExportError::Standalone => (Exit::Refused, "standalone"),
        ExportError::SnapshotTooOld { .. } => (Exit::Failed, "snapshot_too_old"),
        ExportError::Interrupted(_) => (Exit::Failed, "interrupted"),
        _ => (Exit::Failed, "export"),
    }
}

fn cluster(error: &ClusterError) -> (Exit, &'static str) {
    match error {
        ClusterError::Server(error) => server(error),
        ClusterError::SnapshotTooOld { .. } => (Exit::Failed, "snapshot_too_old"),
        ClusterError::Interrupted(_) => (Exit::Failed, "interrupted"),
        ClusterError::Figures => (Exit::Failed, "bug"),
        _ => (Exit::Failed, "cluster"),
    }
}

fn copy_run(error: &CopyRunError) -> (Exit, &'static str) {
    match error {
        CopyRunError::Copy(error) => copy(error),
        CopyRunError::Run(error) => run_directory(error),
    }
}

fn run_directory(error: &RunDirectoryError) -> (Exit, &'static str) {
    match error {
        RunDirectoryError::Publish(error) => publish(error),
        RunDirectoryError::Locked(_) => (Exit::Refused, "locked"),
        RunDirectoryError::Manifest { .. } => (Exit::Refused, "altered_run"),
        RunDirectoryError::Journal(_) | RunDirectoryError::BadRunId => (Exit::Failed, "journal"),
    }
}

fn copy(error: &CopyError) -> (Exit, &'static str) {
    match error {
        CopyError::Snapshot(error) => snapshot(error),
        CopyError::Plan(error) => plan(error),
        CopyError::Publish(error) => publish(error),
        CopyError::Drifted { .. } => (Exit::Refused, "drift"),
        CopyError::OtherSnapshot { .. } => (Exit::Refused, "other_snapshot"),
        CopyError::WithoutSecrets => (Exit::Refused, "without_secrets"),
        CopyError::Malformed(_) => (Exit::Failed, "malformed_input"),
        CopyError::DatabaseName => (Exit::Failed, "bad_path"),
        CopyError::Interrupted(_) => (Exit::Failed, "interrupted"),
    }
}

fn verify(error: &VerifyError) -> (Exit, &'static str) {
    match error {
        VerifyError::Plan(error) => plan(error),
        VerifyError::Input(error) => input(error),
        VerifyError::Snapshot(error) => snapshot(error),
        VerifyError::Malformed { .. } | VerifyError::DuplicateId => {
            (Exit::Failed, "malformed_input")
        }
        VerifyError::Scratch(_) => (Exit::Failed, "scratch"),
        VerifyError::Interrupted(_) => (Exit::Failed, "interrupted"),
    }
}

fn diff(error: &DiffError) -> (Exit, &'static str) {
    match error {
        DiffError::Input(error) => input(error),
        DiffError::Snapshot(error) => snapshot(error),
        DiffError::Malformed { .. } => (Exit::Failed, "malformed_input"),
        DiffError::Scratch(_) => (Exit::Failed, "scratch"),
        DiffError::Interrupted(_) => (Exit::Failed, "interrupted"),
    }
}

fn audit(error: &AuditError) -> (Exit, &'static str) {
    match error {
        AuditError::Plan(error) => plan(error),
        AuditError::Input(error) => input(error),
        AuditError::Snapshot(error) => snapshot(error),
        AuditError::Build(error) => build(error),
        AuditError::Malformed { .. } => (Exit::Failed, "malformed_input"),
        AuditError::Scratch(_) => (Exit::Failed, "scratch"),
        AuditError::Interrupted(_) => (Exit::Failed, "interrupted"),
    }
}

fn generate(error: &GenerateError) -> (Exit, &'static str) {
    match error {
        GenerateError::Publish(error) => publish(error),
        GenerateError::Interrupted(_) => (Exit::Failed, "interrupted"),
        GenerateError::Io { .. } => (Exit::Failed, "io"),
    }
}

/// Splits a message into what happened and what to do next: the core's errors say both, in this order,
/// with a semicolon between them.
pub(crate) fn split_hint(message: &str) -> (&str, &str) {
    message.split_once("; ").unwrap_or((message, ""))
}

/// `text` without what is secret in the URIs in it: the user information of all; of web addresses, which
/// may be webhooks, all after the host; of others a query with a password or a token.
pub(crate) fn without_credentials(text: &str) -> String {
    text.split_inclusive('\n').map(|line| without_secret_parts(&without_user(line))).collect()
}

/// A password may hold anything a person forgot to escape, blanks and slashes too, so all from a `://` to
/// the last `@` goes.
fn without_user(line: &str) -> String {
    match (line.find("://"), line.rfind('@')) {
        (Some(start), Some(sign)) if start < sign => {
            format!("{}://***{}", &line[..start], &line[sign..])
        }
        _ => line.to_owned(),
    }
}

fn without_secret_parts(line: &str) -> String {
    let mut safe = String::new();
    let mut rest = line;
    while let Some(start) = rest.find("://") {
        let (scheme, uri) = rest.split_at(start + 3);
        let end = uri.find(|c: char| c.is_whitespace() || "'\"\u{1b}".contains(c));
        let (uri, after) = uri.split_at(end.unwrap_or(uri.len()));
        let is_web = scheme.ends_with("http://") || scheme.ends_with("https://");
        let secret_part = match is_web {
            // Of our own examples the path is an ellipsis.
            true => uri.find(['/', '?', '#']).filter(|at| !uri[*at..].starts_with("/…")),
            false => uri.find('?').filter(|at| holds_secret(&uri[*at..])),
        };
        safe += scheme;
        match secret_part {
            Some(at) if at + 1 < uri.len() => {
                safe += &uri[..=at];
                safe += "***";
                safe += if uri.ends_with(':') { ":" } else { "" };
            }
            _ => safe += uri,
        }
        rest = after;
    }
    safe + rest
}

/// Whether a connection string's query has an option that is a secret.
fn holds_secret(query: &str) -> bool {
    let query = query.to_ascii_lowercase();
    ["password", "token", "authmechanismproperties"].iter().any(|word| query.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_uris_are_removed() {
        for (text, safe) in [
            ("mongodb://u:p@h/db", "mongodb://***@h/db"),
            ("'mongodb+srv://u:p@ss@h' and http://x/y", "'mongodb+srv://***@h' and http://x/***"),
            ("a mongodb://u:a b/c://@d@h\nx@y http://z", "a mongodb://***@h\nx@y http://z"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_credentials(text), safe);
        }
    }

    #[test]
    fn webhooks_and_passwords_in_queries_are_removed() {
        for (text, safe) in [
            ("https://h/T0/B1?k=v: gone", "https://h/***: gone"),
            ("'http://u:p@h:80/x' and 'http://h?k'", "'http://***@h:80/***' and 'http://h?***'"),
            (
                "'https://h/x' and http://h?k \u{1b}[33mhttps://h#k\u{1b}[0m",
                "'https://h/***' and http://h?*** \u{1b}[33mhttps://h#***\u{1b}[0m",
            ),
            ("expected http://HOST/… or https://h/", "expected http://HOST/… or https://h/"),
            ("mongodb://h/db?replicaSet=rs", "mongodb://h/db?replicaSet=rs"),
            ("mongodb://h/?tls=true&tlsCertificateKeyFilePassword=p", "mongodb://h/?***"),
            ("mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:x y", "mongodb://h/?*** y"),
        ] {
            assert_eq!(without_credentials(text), safe);
        }
    }
}

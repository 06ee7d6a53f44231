//! What several commands need: the version, the clock, randomness, and opened inputs.

use super::args::{OnDriftArg, RuleArgs, RunArgs, ServerArgs, SnapshotArgs};
use super::failure::{Refusal, without_credentials};
use super::output::Output;
use anyhow::Context;
use remelt::analysis::{AnalyzeOptions, FingerprintKey, RuleOptions};
use remelt::decide::OnDrift;
use remelt::live::RunOptions;
use remelt::model::Timestamp;
use remelt::plan::{BuildOptions, PLAN_FILE, Plan};
use remelt::server::{Server, ServerError, ServerOptions};
use remelt::snapshot::Snapshot;
use std::hash::{BuildHasher, RandomState};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;

/// Program and version, as artefacts name them.
pub(crate) const TOOL: &str = concat!("remelt ", env!("CARGO_PKG_VERSION"));

/// The command that was given, to be given again, without its connection string.
pub(crate) fn this_command() -> String {
    let mut command = "remelt".to_owned();
    let mut is_uri = false;
    for word in std::env::args_os().skip(1) {
        let word = word.to_string_lossy();
        let shown = match is_uri {
            true => "URI".to_owned(),
            false if word.starts_with("--uri=") => "--uri=URI".to_owned(),
            false => for_shell(&without_credentials(&word)),
        };
        command += &format!(" {shown}");
        is_uri = word == "--uri";
    }
    command
}

/// The options by which another command reaches the server at `uri`: none when the environment names it. A
/// connection string may hold a password and is never shown.
pub(crate) fn same_server(uri: Option<&str>, db: Option<&str>) -> String {
    let is_known = uri.is_some() && std::env::var("MONGODB_URI").ok().as_deref() == uri;
    let uri = if is_known { "" } else { " --uri URI" };
    let db = db.map(|db| format!(" --db {}", for_shell(db))).unwrap_or_default();
    format!("{uri}{db}")
}

/// `path` as a shell takes it for one word.
pub(crate) fn path_for_shell(path: &Path) -> String {
    for_shell(&path.to_string_lossy())
}

/// `word` as a shell takes it for one word.
pub(crate) fn for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// The time now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A name for a new run: when, what, and the plan.
pub(crate) fn new_run_id(what: &str, plan: &Plan) -> String {
    let digits: String = now().to_string().chars().filter(char::is_ascii_digit).collect();
    format!("{digits}-{what}-{}", &plan.sha256().to_string()[..8])
}

/// Options of an analysis, with now as the repair time unless one was given.
pub(crate) fn build_options(rule: &RuleArgs) -> BuildOptions {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    BuildOptions {
        analyze: AnalyzeOptions {
            rule: RuleOptions {
                spent_at: rule.spent_at.into(),
                repair_time: rule.repair_time.unwrap_or_else(now),
            },
            memory_bytes: rule.memory,
            threads: rule.threads.map_or(cores, usize::from),
            fingerprint_key: fingerprint_key(),
        },
        tool: TOOL.to_owned(),
        parquet: false,
    }
}

/// A key that who wrote the ledger can't know: the standard library's hash keys come from the system's
/// randomness.
fn fingerprint_key() -> FingerprintKey {
    let half = || RandomState::new().hash_one(now().0).to_le_bytes();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&half());
    key[8..].copy_from_slice(&half());
    FingerprintKey(key)
}

/// What server commands run on. It is never dropped: the driver's own tasks panic when they are cut off in
/// the middle, and the process ends right after the command.
pub(crate) fn runtime() -> anyhow::Result<ManuallyDrop<Runtime>> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map(ManuallyDrop::new)
        .context("could not start the threads for the connection; free some memory and run again")
}

/// Connects to the deployment that the arguments name.
pub(crate) async fn connect(args: &ServerArgs) -> Result<Server, ServerError> {
    Server::connect(&ServerOptions { uri: args.uri.clone(), db: args.db.clone() }).await
}

/// How to work on a server.
pub(crate) fn run_options(args: &RunArgs) -> RunOptions {
    RunOptions {
        on_drift: match args.on_drift {
            OnDriftArg::Abort => OnDrift::Abort,
            OnDriftArg::Skip => OnDrift::Skip,
        },
        workers: args.workers.into(),
        batch_changes_max: args.batch.and_then(|n| usize::try_from(n).ok()),
        rate_max: args.max_rate,
        lag_max: args.max_lag.map(Duration::from_secs),
        target_override: args.target.clone(),
        ..RunOptions::new(TOOL, now)
    }
}

/// Opens a snapshot and says what was skipped in it.
pub(crate) fn open_snapshot(
    path: &Path,
    args: &SnapshotArgs,
    output: Output,
) -> anyhow::Result<Snapshot> {
    let snapshot = Snapshot::open(path, &args.input_options())?;
    snapshot.input.notes.iter().for_each(|note| output.note(note));
    Ok(snapshot)
}

/// Refuses an output directory inside any plan: a plan holds what remelt wrote there, and nothing else.
pub(crate) fn refuse_inside_plans(out: &Path) -> anyhow::Result<()> {
    let absolute = std::path::absolute(out)?;
    match absolute.ancestors().skip(1).find(|above| above.join(PLAN_FILE).is_file()) {
        Some(plan) => refuse_inside(out, plan, "plan"),
        None => Ok(()),
    }
}

/// Refuses an output directory inside a plan or snapshot that is read.
pub(crate) fn refuse_inside(out: &Path, read: &Path, what: &str) -> anyhow::Result<()> {
    let read = std::fs::canonicalize(read).context("could not find the input")?;
    let absolute = std::path::absolute(out)?;
    let known = absolute.ancestors().find_map(|a| std::fs::canonicalize(a).ok());
    if read.is_dir() && known.is_some_and(|known| known.starts_with(&read)) {
        let message = format!(
            "{} lies inside the {what} {}, which is never written to; choose a place outside",
            out.display(),
            read.display()
        );
        return Err(Refusal::new("inside_input", message).into());
    }
    Ok(())
}

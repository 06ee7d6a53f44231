//! One full pass: the ledger is exported to scratch with its secrets hashed, analysed exactly as a
//! snapshot is, and what came out is read back from the reports. Writes nothing to the database and
//! leaves nothing behind but a findings file without a name.

use super::findings::{FINDINGS_INDEXED_MAX, Findings};
use super::options::MonitorOptions;
use super::users::{User, Users};
use crate::analysis::{AnalyzeOptions, FingerprintKey, RuleOptions, SpentAt};
use crate::background::standing_back;
use crate::export::{ExportError, ExportOptions, ReadConsistency, Secrets, export};
use crate::model::{FindingCode, JsonAmount, Timestamp};
use crate::plan::{
    AmountRange, AnalyzeReport, BuildError, BuildOptions, Plan, PlanError, UserImpact, build,
    preview,
};
use crate::progress::Progress;
use crate::publish::PublishError;
use crate::server::{DeploymentKind, Server};
use crate::snapshot::input::InputOptions;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::temporary::TemporaryDirectory;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SCRATCH_PREFIX: &str = "remelt-pass-";

/// Users listed as those who lose most.
const TOP_USERS: usize = 10;

/// What one pass found out.
#[derive(Debug)]
pub struct Pass {
    /// Counts the passes of this process, from 1.
    pub number: u64,
    /// When it began.
    pub began_at: Timestamp,
    /// The point in time of the ledger that it read.
    pub as_of: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The figures: the result object of `analyze`.
    pub report: AnalyzeReport,
    /// The users.
    pub users: Users,
    /// Users whose balance is wrong.
    pub users_with_issues: u64,
    /// The findings.
    pub findings: Findings,
    /// What would be repaired, by the day of the tokens' creation.
    pub days: Vec<DayImpact>,
    /// What would be repaired, by amount.
    pub amounts: Vec<AmountRange>,
    /// Who loses most.
    pub top_users: Vec<UserImpact>,
}

/// What would be repaired of the tokens created on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DayImpact {
    /// `YYYY-MM-DD`; `unknown` without a date, `other` for one that no service has seen.
    pub day: String,
    /// Tokens.
    pub token_count: u64,
    /// Sum of their amounts.
    pub total_amount: JsonAmount,
}

impl Pass {
    /// The count of a finding; 0 where it can't be told.
    #[must_use]
    pub fn count(&self, code: FindingCode) -> u64 {
        self.report.findings[code.as_str()]["count"].as_u64().unwrap_or(0)
    }

    /// The count of a class of a finding; 0 where it can't be told.
    #[must_use]
    pub fn class(&self, code: FindingCode, class: &str) -> u64 {
        self.report.findings[code.as_str()]["classes"][class].as_u64().unwrap_or(0)
    }
}

/// Why a pass failed. Never holds content of a document.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The ledger can't be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What was read can't be opened.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It can't be analysed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The plan can't be read back.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The scratch directory can't be used.
    #[error(transparent)]
    Scratch(#[from] PublishError),
    /// The reports can't be read back.
    #[error("could not read the pass's reports back: {}", crate::publish::io_reason(.0))]
    Reports(#[from] std::io::Error),
    /// The system gave no randomness.
    #[error("the system gave no randomness for the analysis' key; try again")]
    NoRandomness,
    /// A thread died; a bug.
    #[error("the pass's thread died; please report this")]
    Died,
}

/// Reads and analyses the whole ledger.
pub(super) async fn run(
    server: &Server,
    options: &MonitorOptions,
    number: u64,
    progress: &Arc<Progress>,
) -> Result<Pass, PassError> {
    let began = Instant::now();
    let began_at = (options.now)();
    let scratch = TemporaryDirectory::create(&options.scratch, SCRATCH_PREFIX)?;
    let snapshot = scratch.path().join("snapshot");
    let (how, elapsed) = (export_options(server, options), || began.elapsed());
    let exported = export(server, &snapshot, &how, progress, &elapsed).await?;
    let cluster_time = exported.snapshot.cluster_time;
    let (options, progress) = (options.clone(), Arc::clone(progress));
    let analysed = tokio::task::spawn_blocking(move || {
        standing_back(|| analyse(scratch.path(), &options, &progress, began))
    });
    let mut pass = analysed.await.map_err(|_| PassError::Died)??;
    pass.number = number;
    pass.began_at = began_at;
    pass.as_of = cluster_time.as_deref().and_then(time_of).unwrap_or(began_at);
    pass.took = began.elapsed();
    Ok(pass)
}

fn export_options(server: &Server, options: &MonitorOptions) -> ExportOptions {
    ExportOptions {
        tokens: options.tokens.clone(),
        wallets: options.wallets.clone(),
        require_wallets: false,
        secrets: Secrets::Hashed,
        consistency: match server.deployment().kind {
            DeploymentKind::Standalone => ReadConsistency::None,
            DeploymentKind::ReplicaSet | DeploymentKind::Mongos => ReadConsistency::Snapshot,
        },
        tool: options.tool.clone(),
        stands_back: true,
        ..ExportOptions::default()
    }
}

/// The time in `SECONDS:INCREMENT`.
fn time_of(cluster_time: &str) -> Option<Timestamp> {
    let seconds: i64 = cluster_time.split(':').next()?.parse().ok()?;
    seconds.checked_mul(1000).map(Timestamp)
}

fn analyse(
    scratch: &Path,
    options: &MonitorOptions,
    progress: &Progress,
    began: Instant,
) -> Result<Pass, PassError> {
    let input = InputOptions {
        tokens: options.tokens.clone(),
        wallets: options.wallets.clone(),
        require_wallets: false,
        ..InputOptions::default()
    };
    let snapshot = Snapshot::open(&scratch.join("snapshot"), &input)?;
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|_| PassError::NoRandomness)?;
    let build_options = BuildOptions {
        analyze: AnalyzeOptions {
            rule: RuleOptions { spent_at: SpentAt::Repair, repair_time: (options.now)() },
            memory_bytes: options.memory_bytes,
            threads: options.threads,
            fingerprint_key: FingerprintKey(key),
        },
        tool: options.tool.clone(),
        parquet: false,
    };
    let directory = scratch.join("plan");
    let report = build(&snapshot, &directory, &build_options, &|| began.elapsed(), progress)?;
    let plan = preview(&Plan::open(&directory)?, TOP_USERS)?;
    let reports = directory.join("reports");
    let mut users = Users::read(&reports.join("balances.csv"))?;
    let findings =
        Findings::index(&reports.join("findings.csv"), &mut users, FINDINGS_INDEXED_MAX)?;
    // Tokens without an npub are nobody's.
    let has_issues = |user: &&User| !user.npub.is_empty() && user.has_issues();
    let users_with_issues = users.all().iter().filter(has_issues).count() as u64;
    Ok(Pass {
        number: 0,
        began_at: Timestamp(0),
        as_of: Timestamp(0),
        took: Duration::ZERO,
        report,
        users,
        users_with_issues,
        findings,
        days: days(&reports.join("changes.csv"))?,
        amounts: plan.amounts,
        top_users: plan.top_users,
    })
}

/// Adds up `changes.csv`: column 5 is the amount, column 10 the time of creation.
fn days(path: &Path) -> std::io::Result<Vec<DayImpact>> {
    let mut days: BTreeMap<Day, (u64, i128)> = BTreeMap::new();
    let mut rows = csv::Reader::from_path(path)?;
    let mut row = csv::StringRecord::new();
    while rows.read_record(&mut row)? {
        let day = days.entry(Day::of(row.get(10).unwrap_or_default())).or_default();
        day.0 += 1;
        day.1 += row.get(5).and_then(|amount| amount.parse().ok()).unwrap_or(0);
    }
    let days = days.into_iter().map(|(day, (token_count, amount))| DayImpact {
        day: day.to_string(),
        token_count,
        total_amount: JsonAmount(amount),
    });
    Ok(days.collect())
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Day {
    Known(String),
    Other,
    Unknown,
}

impl Day {
    /// Of an RFC 3339 time; days that no service has seen go together, so that hostile data makes no
    /// endless list.
    fn of(time: &str) -> Day {
        let is_usual = (time.starts_with("19") || time.starts_with("20")) && time.ends_with('Z');
        match time.get(..10) {
            // Absent, null, or a type in brackets.
            _ if time.is_empty() || time == "null" || time.starts_with('(') => Day::Unknown,
            Some(day) if is_usual => Day::Known(day.to_owned()),
            _ => Day::Other,
        }
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Day::Known(day) => day,
            Day::Other => "other",
            Day::Unknown => "unknown",
        })
    }
}

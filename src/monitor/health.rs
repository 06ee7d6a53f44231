//! The health check: migration status, balance consistency over all users, data integrity, system health.

use super::alerts::{LedgerFigures, Situation};
use super::board::{Board, RecentError};
use super::movement::Movement;
use super::options::{MonitorOptions, Thresholds};
use super::pass::Pass;
use super::system::SystemHealth;
use crate::live::MigrationReport;
use crate::model::{FindingCode, Timestamp};
use crate::plan::seconds_of;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Everything is as it should be.
    Healthy,
    /// Something should be looked at.
    Degraded,
    /// The database is gone, or the ledger can't be read.
    Unhealthy,
    /// No pass has ended yet.
    Unknown,
}

/// The whole health check: the result object of `monitor --once`, and of `GET /admin/health`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// When it was put together.
    pub timestamp: Timestamp,
    /// The point in time of the ledger that it tells of.
    pub as_of: Option<Timestamp>,
    /// Whether that must not be taken for the present.
    pub stale: bool,
    /// Why not.
    pub stale_reason: Option<String>,
    /// In one word.
    pub status: HealthStatus,
    /// 1 − problematic / melted; `null` before the first pass.
    pub health_score: Option<f64>,
    /// The migration; `null` before the first pass.
    pub migration: Option<MigrationReport>,
    /// Balance consistency over all users; `null` before the first pass.
    pub balances: Option<BalanceHealth>,
    /// Data integrity: every finding's figures, as `analyze` has them; `null` before the first pass.
    pub integrity: Option<Map<String, Value>>,
    /// The system; `null` while the database was never reached.
    pub system: Option<SystemHealth>,
    /// What is wrong with the system, in sentences.
    pub faults: Vec<String>,
    /// What went wrong lately, newest first.
    pub recent_errors: Vec<RecentError>,
    /// How the passes go.
    pub pass: PassHealth,
    /// What moved since the latest pass.
    pub movement: Movement,
}

/// Balance consistency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BalanceHealth {
    /// Users checked: all.
    pub total_users: u64,
    /// Users whose balance is wrong.
    pub users_with_issues: u64,
    /// Melted and unspent tokens.
    pub total_problematic_tokens: u64,
}

/// How the passes go.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassHealth {
    /// Number of the latest one; 0 before the first.
    pub number: u64,
    /// When it began.
    pub began_at: Option<Timestamp>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Bytes of documents that it read.
    pub bytes: Option<u64>,
    /// Documents per second of it.
    pub documents_per_second: Option<u64>,
    /// When the next one begins.
    pub next_at: Option<Timestamp>,
    /// Passes that failed in a row.
    pub failures_in_a_row: u64,
}

/// Puts everything together.
#[must_use]
pub fn health_check(board: &Board, options: &MonitorOptions, now: Timestamp) -> HealthCheck {
    let pass = board.pass();
    let stale_reason = board.stale_reason();
    HealthCheck {
        timestamp: now,
        as_of: pass.as_ref().map(|pass| pass.as_of),
        stale: stale_reason.is_some(),
        stale_reason,
        status: health_status(board, options),
        health_score: pass.as_ref().map(|pass| pass.report.health_score),
        migration: pass.as_ref().map(|pass| migration(board, pass)),
        balances: pass.as_ref().map(|pass| BalanceHealth {
            total_users: pass.report.stats.total_users,
            users_with_issues: pass.users_with_issues,
            total_problematic_tokens: pass.report.stats.problematic_tokens,
        }),
        integrity: pass.as_ref().map(|pass| pass.report.findings.clone()),
        system: board.system().map(|system| (*system).clone()),
        faults: system_faults(board, options),
        recent_errors: board.errors(),
        pass: pass_health(board, pass.as_deref()),
        movement: board.movement(),
    }
}

/// The migration's state with the figures of `pass`.
#[must_use]
pub fn migration(board: &Board, pass: &Pass) -> MigrationReport {
    let state = board.runs().borrow().migration_state.clone();
    let stats = &pass.report.stats;
    MigrationReport {
        is_completed: state == "completed",
        migration_needed: stats.problematic_tokens > 0,
        problematic_tokens: stats.problematic_tokens,
        total_melted_tokens: stats.total_melted_tokens,
        spent_melted_tokens: stats.spent_melted_tokens,
        state,
    }
}

fn pass_health(board: &Board, pass: Option<&Pass>) -> PassHealth {
    let state = board.pass_state();
    PassHealth {
        number: pass.map_or(0, |pass| pass.number),
        began_at: pass.map(|pass| pass.began_at),
        seconds: pass.map(|pass| seconds_of(pass.took)),
        bytes: pass.map(|pass| pass.report.snapshot.bytes),
        documents_per_second: pass.map(|pass| pass.report.performance.documents_per_second),
        next_at: state.next_at,
        failures_in_a_row: state.failures_in_a_row,
    }
}

impl Pass {
    /// The figures that alerts look at.
    #[must_use]
    pub fn figures(&self) -> LedgerFigures {
        let duplicates = FindingCode::DuplicateSecrets;
        let benign_copies = self.class(duplicates, "benign_copy");
        LedgerFigures {
            problematic_tokens: self.report.stats.problematic_tokens,
            melted_tokens: self.report.stats.total_melted_tokens,
            duplicate_secrets: self.count(duplicates).saturating_sub(benign_copies),
            benign_copies,
            orphaned_tokens: self.count(FindingCode::OrphanedTokens),
            wallets_are_missing: self.report.snapshot.documents.cashu_wallets.is_none(),
            users_with_issues: self.users_with_issues,
        }
    }
}

/// What is wrong with the system, in sentences.
#[must_use]
pub fn system_faults(board: &Board, options: &MonitorOptions) -> Vec<String> {
    let mut faults: Vec<String> = board.stale_reason().into_iter().collect();
    if board.pass().is_some_and(|pass| pass.figures().wallets_are_missing) {
        faults.push(format!(
            "there is no collection {}, so tokens whose wallet is gone can't be told; check \
             --wallets and whether the collection was dropped or renamed",
            options.wallets
        ));
    }
    if let Some(system) = board.system() {
        faults.extend(faults_of(&system, &options.thresholds));
    }
    faults
}

fn faults_of(system: &SystemHealth, thresholds: &Thresholds) -> Vec<String> {
    let mut faults = Vec::new();
    for missing in &system.missing_indexes {
        let keys = missing.keys.join(", ");
        faults.push(format!("no index on {keys} in {}", missing.collection));
    }
    if let Some(replication) = &system.replication {
        let lag = Duration::from_secs(replication.lag_seconds_max);
        if lag > thresholds.lag_max {
            let most = thresholds.lag_max.as_secs();
            let lag = lag.as_secs();
            faults.push(format!("a secondary is {lag} s behind, at most {most} s expected"));
        }
        for member in replication.members.iter().filter(|member| !member.is_healthy) {
            faults.push(format!("the member {} is down", member.host));
        }
    }
    faults
}

/// How it stands with everything.
#[must_use]
pub fn health_status(board: &Board, options: &MonitorOptions) -> HealthStatus {
    if board.unreachable().is_some() {
        return HealthStatus::Unhealthy;
    }
    let Some(pass) = board.pass() else {
        let is_failing = board.pass_state().failures_in_a_row > 0;
        return if is_failing { HealthStatus::Unhealthy } else { HealthStatus::Unknown };
    };
    let figures = pass.figures();
    let is_clean = figures.problematic_tokens == 0
        && figures.users_with_issues == 0
        && figures.duplicate_secrets == 0
        && figures.orphaned_tokens == 0;
    if is_clean && system_faults(board, options).is_empty() {
        HealthStatus::Healthy
    } else {
        HealthStatus::Degraded
    }
}

/// What the alerts' rules judge.
pub(super) fn situation(board: &Board, options: &MonitorOptions, now: Timestamp) -> Situation {
    let runs = board.runs().borrow().clone();
    Situation {
        ledger: board.pass().map(|pass| pass.figures()),
        is_system_known: board.system().is_some(),
        system_faults: system_faults(board, options),
        migration_state: runs.read_at.map(|_| runs.migration_state.clone()),
        execution: longest_execution(board, now),
    }
}

/// The longest of the pass under way, the latest one, and the runs under way.
fn longest_execution(board: &Board, now: Timestamp) -> Option<(String, Duration)> {
    let since = |at: Timestamp| {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0))
    };
    let under_way = board.pass_state().under_way_since.map(since);
    let latest = board.pass().map(|pass| pass.took);
    let pass = pass_time(under_way, latest);
    let pass = pass.map(|took| ("The pass over the ledger".to_owned(), took));
    let runs = board.runs().borrow().clone();
    let runs = runs.runs.iter().filter(|run| run.is_active).filter_map(|run| {
        let since = since(run.worked_on_since.or(run.started_at)?);
        Some((format!("Run {}", run.run_id), since))
    });
    pass.into_iter().chain(runs).max_by_key(|(_, took)| *took)
}

/// How long passes take: as the latest one, until the one under way has taken longer. By the latter alone
/// every pass would seem short when it begins.
fn pass_time(under_way: Option<Duration>, latest: Option<Duration>) -> Option<Duration> {
    under_way.max(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_begins_does_not_hide_that_the_latest_one_was_long() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(pass_time(seconds(1), seconds(40)), seconds(40));
        assert_eq!(pass_time(seconds(41), seconds(40)), seconds(41));
        assert_eq!(pass_time(None, seconds(40)), seconds(40));
        assert_eq!(pass_time(seconds(1), None), seconds(1), "the first one");
        assert_eq!(pass_time(None, None), None);
    }
}

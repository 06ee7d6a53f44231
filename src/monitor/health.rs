//! The health check: migration status, balance consistency over all users, data integrity, system health.

use super::alerts::{LedgerFigures, Situation};
use super::board::Board;
use super::options::{MonitorOptions, Thresholds};
use super::pass::Pass;
use super::system::SystemHealth;
use crate::model::{FindingCode, Timestamp};
use serde::Serialize;
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
            users_with_issues: self.users_with_issues,
        }
    }
}

/// What is wrong with the system, in sentences.
#[must_use]
pub fn system_faults(board: &Board, thresholds: &Thresholds) -> Vec<String> {
    let mut faults: Vec<String> = board.stale_reason().into_iter().collect();
    if let Some(system) = board.system() {
        faults.extend(faults_of(&system, thresholds));
    }
    faults
}

fn faults_of(system: &SystemHealth, thresholds: &Thresholds) -> Vec<String> {
    let mut faults = Vec::new();
    for missing in &system.missing_indexes {
        let keys = missing.keys.join(", ");
        faults.push(format!("{} has no index on {keys}", missing.collection));
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
    if is_clean && system_faults(board, &options.thresholds).is_empty() {
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
        system_faults: system_faults(board, &options.thresholds),
        migration_state: runs.read_at.map(|_| runs.migration_state.clone()),
        execution: longest_execution(board, now),
    }
}

/// The longest of: the pass under way, or else the latest one, and the runs under way.
fn longest_execution(board: &Board, now: Timestamp) -> Option<(String, Duration)> {
    let since = |at: Timestamp| {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0))
    };
    let pass = match board.pass_state().under_way_since {
        Some(at) => Some(since(at)),
        None => board.pass().map(|pass| pass.took),
    };
    let pass = pass.map(|took| ("The pass over the ledger".to_owned(), took));
    let runs = board.runs().borrow().clone();
    let runs = runs
        .runs
        .iter()
        .filter(|run| run.is_active)
        .filter_map(|run| Some((format!("Run {}", run.run_id), since(run.started_at?))));
    pass.into_iter().chain(runs).max_by_key(|(_, took)| *took)
}

//! The monitor: a live ledger checked continuously, and alerts.
//!
//! At an interval, never overlapping, a full pass reads the whole ledger through the same export and the
//! same analysis as the files ([`Pass`]). Between passes a change stream tells what moved, and the
//! system's health is asked. What is known stands on the [`Board`], which answers everyone else;
//! [`alerts`] judge it. Nothing here writes to the database, and nothing holds content of a document but
//! the identifiers that the reports show.

pub mod alerts;
mod board;
mod delivery;
mod findings;
mod health;
mod history;
mod movement;
mod options;
mod pass;
mod system;
mod users;
mod watch;

pub use board::{Board, Change, PassState, RecentError, RunsView, TREND_POINTS_MAX, TrendPoint};
pub use delivery::{Notice, SIGNATURE_HEADER};
pub use findings::{FINDINGS_INDEXED_MAX, FindingFilter, FindingPage, FindingRow, Findings};
pub use health::{
    BalanceHealth, HealthCheck, HealthStatus, PassHealth, health_check, health_status, migration,
    system_faults,
};
pub use history::{History, Remembered};
pub use movement::Movement;
pub use options::{INTERVAL_DEFAULT, INTERVAL_MIN, MonitorOptions, Thresholds, Webhook};
pub use pass::{DayImpact, Pass, PassError};
pub use system::{
    CollectionHealth, ConnectionHealth, DatabaseSize, IndexUse, Member, MissingIndex, Replication,
    SystemHealth,
};
pub use users::{Affected, BALANCE_ISSUES, BalanceSums, MintBalance, User, Users};
pub use watch::{check_once, monitor};

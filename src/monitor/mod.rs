//! The monitor: a live ledger checked continuously, and alerts.
//!
//! At an interval, never overlapping, a full pass reads the whole ledger through the same export and the
//! same analysis as the files ([`Pass`]). Between passes a change stream tells what moved, and the
//! system's health is asked. What is known stands on the [`Board`], which answers everyone else;
//! [`alerts`] judge it. Nothing here writes to the database, and nothing holds content of a document but
//! the identifiers that the reports show.

pub mod alerts;
mod findings;
mod options;
mod pass;
mod scratch;
mod users;

pub use findings::{FINDINGS_INDEXED_MAX, FindingFilter, FindingPage, FindingRow, Findings};
pub use options::{INTERVAL_DEFAULT, INTERVAL_MIN, MonitorOptions, Thresholds, Webhook};
pub use pass::{DayImpact, Pass, PassError};
pub use users::{BALANCE_ISSUES, BalanceSums, MintBalance, User, Users};

//! How the monitor works.

use crate::model::Timestamp;
use crate::server::ServerOptions;
use std::path::PathBuf;
use std::time::Duration;

/// Time between the beginnings of two passes when nothing else is asked for (the seed's).
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// Least time between them.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How the monitor works.
#[derive(Debug, Clone)]
pub struct MonitorOptions {
    /// Which ledger.
    pub server: ServerOptions,
    /// The tokens' collection.
    pub tokens: String,
    /// The wallets' collection.
    pub wallets: String,
    /// Program and version.
    pub tool: String,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Time between the beginnings of two passes. A pass that takes longer than a quarter of it puts the
    /// next one off, so that at most a quarter of the time is spent reading.
    pub interval: Duration,
    /// Where a pass keeps the copy, without secrets, that it reads.
    pub scratch: PathBuf,
    /// Memory of the analysis, in bytes.
    pub memory_bytes: u64,
    /// Its worker threads.
    pub threads: usize,
    /// Where trend and alerts are kept over restarts; only in memory without it.
    pub state_directory: Option<PathBuf>,
    /// When alerts open.
    pub thresholds: Thresholds,
    /// Where alerts are sent.
    pub webhook: Option<Webhook>,
}

/// When alerts open.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// More problematic tokens than this.
    pub problematic_tokens_max: u64,
    /// More secrets in several proofs than this, benign copies not counted.
    pub duplicate_secrets_max: u64,
    /// More orphaned tokens than this.
    pub orphaned_tokens_max: u64,
    /// More users with wrong balances than this.
    pub users_with_issues_max: u64,
    /// A lower health score than this, in thousandths.
    pub health_score_min_permille: u64,
    /// A secondary that is further behind.
    pub lag_max: Duration,
    /// A pass or a run that takes longer: worth a look.
    pub execution_warn: Duration,
    /// A pass or a run that takes longer: something is wrong.
    pub execution_error: Duration,
}

impl Default for Thresholds {
    /// The seed's, where it has one.
    fn default() -> Thresholds {
        Thresholds {
            problematic_tokens_max: 10,
            duplicate_secrets_max: 0,
            orphaned_tokens_max: 0,
            users_with_issues_max: 0,
            health_score_min_permille: 900,
            lag_max: Duration::from_secs(10),
            execution_warn: Duration::from_secs(30),
            execution_error: Duration::from_secs(300),
        }
    }
}

/// Where alerts are sent. The address may hold a secret, and the key is one: neither is ever shown.
#[derive(Clone)]
pub struct Webhook {
    /// The address.
    pub url: String,
    /// Key of the signature, an HMAC-SHA256 of the body in `X-Remelt-Signature: sha256=HEX`.
    pub key: Option<Vec<u8>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhook")
    }
}

//! How a run works.

use super::lease::LEASE_DEFAULT;
use crate::decide::OnDrift;
use crate::model::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Workers when nothing else is asked for: what two cores apply fastest with.
pub const WORKERS_DEFAULT: u8 = 4;
/// Most workers.
pub const WORKERS_MAX: usize = 16;
/// The tokens' collection when nothing names another.
const TOKENS_DEFAULT: &str = "cashu_tokens";
/// While a file of this name is in the run's directory, no new batch is begun.
pub const PAUSE_FILE: &str = "pause";

const RETRY_DEFAULT: Duration = Duration::from_secs(120);

/// Called with the name of every step of a run as it is reached; tests die in it.
#[derive(Clone)]
pub struct StepHook(pub Arc<dyn Fn(&'static str) + Send + Sync>);

impl fmt::Debug for StepHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepHook")
    }
}

/// How to apply or roll back.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Program and version, as the database shows them.
    pub tool: String,
    /// The clock, for times that people read; nothing is decided by it.
    pub now: fn() -> Timestamp,
    /// What to do about documents that have changed.
    pub on_drift: OnDrift,
    /// Transactions at the same time, 1 to [`WORKERS_MAX`].
    pub workers: usize,
    /// Most changes in one transaction; never more than a batch of the plan.
    pub batch_changes_max: Option<usize>,
    /// Most documents written a second.
    pub rate_max: Option<u64>,
    /// Wait while a secondary is further behind than this.
    pub lag_max: Option<Duration>,
    /// Apply to another deployment than the snapshot's: `SET/DB`, the replica set's name (or id) and the
    /// database, typed by a person.
    pub target_override: Option<String>,
    /// The tokens' collection, where no plan names it.
    pub tokens: String,
    /// How long a run is left alone that gives no sign of life.
    pub lease: Duration,
    /// How long to go on trying when the server is away.
    pub retry: Duration,
    /// For tests.
    pub step: Option<StepHook>,
}

impl RunOptions {
    /// The defaults, for `tool` and its clock.
    #[must_use]
    pub fn new(tool: &str, now: fn() -> Timestamp) -> RunOptions {
        RunOptions {
            tool: tool.to_owned(),
            now,
            on_drift: OnDrift::Abort,
            workers: WORKERS_DEFAULT.into(),
            batch_changes_max: None,
            rate_max: None,
            lag_max: None,
            target_override: None,
            tokens: TOKENS_DEFAULT.to_owned(),
            lease: LEASE_DEFAULT,
            retry: RETRY_DEFAULT,
            step: None,
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.clamp(1, WORKERS_MAX)
    }

    /// Tells the hook that a step was reached.
    pub(super) fn reached(&self, step: &'static str) {
        if let Some(StepHook(hook)) = &self.step {
            hook(step);
        }
    }
}

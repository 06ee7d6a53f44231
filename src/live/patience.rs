//! Which failures pass, and how long to wait for that.

use crate::server::error_code;
use mongodb::error::{
    Error, ErrorKind, RETRYABLE_WRITE_ERROR, Result, TRANSIENT_TRANSACTION_ERROR,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Whoever waits is told when a pause is this long: some two seconds after the first failure.
const BACKOFF_TOLD: Duration = Duration::from_secs(1);

/// Codes of conditions that pass: elections and shutdowns, lost connections and time-outs, conflicts,
/// snapshots that are gone, interruptions (see the server's `error_codes.yml`).
const PASSING_CODES: &[i32] = &[
    6, 7, 24, 50, 64, 89, 91, 112, 117, 134, 189, 202, 225, 226, 239, 246, 251, 262, 267, 290,
    9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436,
];

/// Whether trying again can help.
pub(super) fn is_passing(error: &Error) -> bool {
    if error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        || error.contains_label(RETRYABLE_WRITE_ERROR)
    {
        return true;
    }
    match error.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::ServerSelection { .. } => true,
        _ => error_code(error).is_some_and(is_passing_code),
    }
}

/// Whether a condition with this code passes.
pub(super) fn is_passing_code(code: i32) -> bool {
    PASSING_CODES.contains(&code)
}

/// Waits longer each time, up to a bound, until a deadline.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    deadline: Instant,
    is_told: bool,
}

impl Backoff {
    pub(super) fn new(patience: Duration) -> Backoff {
        Backoff { next: BACKOFF_FIRST, deadline: Instant::now() + patience, is_told: false }
    }

    /// Waits; `false` when the deadline has passed.
    pub(super) async fn wait(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        if self.next >= BACKOFF_TOLD && !self.is_told {
            self.is_told = true;
            let seconds = left.as_secs();
            tracing::warn!("the server does not do what it should: trying for {seconds} s more");
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(BACKOFF_MAX);
        true
    }
}

/// Does `attempt`, which must be safe to repeat, until it works or fails for good.
pub(super) async fn patiently<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::new(patience);
    loop {
        match attempt().await {
            Err(error) if is_passing(&error) && backoff.wait().await => {}
            other => return other,
        }
    }
}

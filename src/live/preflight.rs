//! What is found before the first write: all drift, and what the changes add up to.

use super::error::RunError;
use crate::document::Value;
use crate::journal::{DRIFT_LISTED_MAX, DriftEntry, Goal};
use crate::model::{Sha256Hash, hash_bytes};
use crate::plan::Batch;
use futures_util::{Stream, TryStreamExt};
use std::collections::HashSet;
use std::pin::pin;

/// The documents that are no longer what they were expected to be.
#[derive(Debug, Default)]
pub(super) struct AllDrift {
    pub(super) count: u64,
    /// The first [`DRIFT_LISTED_MAX`] of them.
    listed: Vec<DriftEntry>,
}

impl AllDrift {
    /// Takes what each of `checks` found.
    pub(super) async fn gather(
        checks: impl Stream<Item = Result<Vec<DriftEntry>, RunError>>,
    ) -> Result<AllDrift, RunError> {
        let (mut checks, mut all) = (pin!(checks), AllDrift::default());
        while let Some(drift) = checks.try_next().await? {
            all.count += drift.len() as u64;
            let room = DRIFT_LISTED_MAX.saturating_sub(all.listed.len());
            all.listed.extend(drift.into_iter().take(room));
        }
        Ok(all)
    }

    /// Fails when there is any.
    pub(super) fn refuse(self, goal: Goal) -> Result<(), RunError> {
        let AllDrift { count, listed } = self;
        if count > 0 { Err(RunError::Drift { goal, count, listed, written: 0 }) } else { Ok(()) }
    }
}

/// What changes add up to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) tokens: u64,
    pub(super) amount: i128,
    users: HashSet<Sha256Hash>,
}

impl Tally {
    pub(super) fn add(&mut self, changes: &Batch) {
        for change in changes.changes() {
            self.tokens += 1;
            self.amount += i128::from(change.amount.unwrap_or(0));
            self.users.extend(change.npub.and_then(Value::as_text_bytes).map(hash_bytes));
        }
    }

    pub(super) fn users(&self) -> u64 {
        self.users.len() as u64
    }
}

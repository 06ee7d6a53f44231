//! The result objects of a run (`design.md`, Result objects).

use crate::journal::{DriftEntry, RunState};
use crate::model::{Sha256Hash, Timestamp};
use crate::plan::seconds_of;
use serde::Serialize;
use std::time::Duration;

/// What `apply` did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyReport {
    /// The run.
    pub run_id: String,
    /// The plan.
    pub plan_sha256: Sha256Hash,
    /// `completed`, or `interrupted` when told to stop.
    pub state: RunState,
    /// Documents written now.
    pub applied: u64,
    /// Documents that were as planned before.
    pub already_applied: u64,
    /// Documents left as they are, because they are not what the plan saw.
    pub drifted: u64,
    /// Batches recorded, in all.
    pub batches: u64,
    /// Wall time.
    pub seconds: f64,
    /// Documents written a second of it.
    pub documents_per_second: u64,
    /// The run's manifest.
    pub manifest: ManifestReport,
    /// The documents left as they are, as far as they are listed; for people, not part of the object.
    #[serde(skip)]
    pub drift: Vec<DriftEntry>,
}

/// Where the manifest is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestReport {
    /// The file.
    pub path: String,
    /// Its seal.
    pub sha256: Sha256Hash,
}

/// What `rollback` did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackReport {
    /// The run.
    pub run_id: String,
    /// `rolled_back`, or `rolling_back` when told to stop.
    pub state: RunState,
    /// Documents written now.
    pub restored: u64,
    /// Documents that were as before the run already.
    pub already_restored: u64,
    /// Documents left as they are, because they were changed since the run.
    pub drifted: u64,
    /// Wall time.
    pub seconds: f64,
    /// The documents left as they are, as far as they are listed; for people, not part of the object.
    #[serde(skip)]
    pub drift: Vec<DriftEntry>,
}

/// Wall time between two looks at the clock, and `documents` a second of it.
pub(super) fn pace_of(documents: u64, from: Timestamp, to: Timestamp) -> (f64, u64) {
    let ms = u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0).max(1);
    let rate = u128::from(documents) * 1_000 / u128::from(ms);
    (seconds_of(Duration::from_millis(ms)), u64::try_from(rate).unwrap_or(u64::MAX))
}

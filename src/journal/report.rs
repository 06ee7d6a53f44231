//! The result objects of a run (`design.md`, Result objects).

use super::manifest::DriftEntry;
use super::record::RunState;
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
#[must_use]
pub fn pace_of(documents: u64, from: Timestamp, to: Timestamp) -> (f64, u64) {
    let ms = u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0).max(1);
    let rate = u128::from(documents) * 1_000 / u128::from(ms);
    (seconds_of(Duration::from_millis(ms)), u64::try_from(rate).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_documents_a_second_of_the_wall_time() {
        let pace = |documents, from, to| pace_of(documents, Timestamp(from), Timestamp(to));
        assert_eq!(pace(500, 1_000, 3_000), (2.0, 250));
        assert_eq!(pace(7, 0, 10_000), (10.0, 0));
        assert_eq!(pace(3, 5, 5), (0.001, 3_000), "less than a millisecond");
        assert_eq!(pace(3, 5, 4), (0.001, 3_000), "a clock that was set back");
        assert_eq!(pace(u64::MAX, 0, 1).1, u64::MAX);
    }
}

//! `manifest.json` of a run: a sealed file (see [`crate::sealed`]) that lists every batch's outcome.

use super::record::{BatchOutcome, DriftKind, RunState};
use crate::model::{Sha256Hash, Timestamp};
use serde::{Deserialize, Serialize};

/// Version of the manifest.
pub const FORMAT_VERSION: u64 = 1;
/// Name of the file in the run's directory.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the seal in the file.
pub(super) const SEAL_KEY: &str = "sha256";
/// Most drifted documents that are listed; all are counted.
pub const DRIFT_LISTED_MAX: usize = 100_000;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunManifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// The run.
    pub run_id: String,
    /// The plan.
    pub plan_sha256: Sha256Hash,
    /// How far the run is.
    pub state: RunState,
    /// When it began.
    pub started_at: Timestamp,
    /// When this was written.
    pub updated_at: Timestamp,
    /// What became of each batch, in the plan's order.
    pub batches: Vec<BatchEntry>,
    /// How many documents were left as they are.
    pub drifted_count: u64,
    /// The first [`DRIFT_LISTED_MAX`] of them.
    pub drifted: Vec<DriftEntry>,
    /// Chain hash after the journal's last record.
    pub journal_sha256: Sha256Hash,
}

/// What became of a batch, or of the part of it that begins at change `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchEntry {
    /// Number in the plan, from 0.
    pub batch: u64,
    /// First change, from 0.
    pub from: u64,
    /// Outcome.
    pub outcome: BatchOutcome,
    /// Number of changes.
    pub changes: u64,
    /// Documents written.
    pub written: u64,
    /// SHA-256 of the changes.
    pub sha256: Sha256Hash,
}

/// A document that was left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftEntry {
    /// Number of its batch.
    pub batch: u64,
    /// Number of the token in the snapshot.
    pub ordinal: u64,
    /// The token's `_id` as text.
    pub id: String,
    /// How it differs.
    pub kind: DriftKind,
}

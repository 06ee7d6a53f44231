//! Verifying a snapshot against a plan: is every planned token as planned, and is there new damage?
//!
//! Reads only. Tokens are found by `_id` wherever they stand, so a new export of the repaired database
//! can be verified as well as a repaired copy. Memory: 8 bytes a change, and a bounded sorter.

use crate::analysis::is_problematic;
use crate::document::{Malformed, Value, find};
use crate::model::{Sha256Hash, hash_bytes};
use crate::plan::{LeftTokens, Plan, PlanError};
use crate::progress::{Interrupted, Progress, Unit};
use crate::scratch::{Row, ScratchError, SortedRows, Sorter};
use crate::snapshot::input::InputError;
use crate::snapshot::{Snapshot, SnapshotError};
use serde::Serialize;
use sha2::{Digest, Sha256};

const SORTER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The result object of `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// The plan.
    pub plan_sha256: Sha256Hash,
    /// Changes looked at: all of the plan's.
    pub checked: u64,
    /// Tokens that are byte for byte as planned.
    pub as_planned: u64,
    /// Tokens that are byte for byte as before.
    pub as_before: u64,
    /// Tokens that are neither.
    pub drifted: u64,
    /// Tokens that are not there.
    pub missing: u64,
    /// Melted and unspent tokens that the plan does not know.
    pub new_problematic_tokens: u64,
    /// Everything as planned and nothing new.
    pub ok: bool,
}

/// Why a verification could not be done.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The plan can't be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The snapshot can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The snapshot's documents are not those of its manifest.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A token is malformed.
    #[error(
        "{collection}: document number {ordinal} (from 0) is malformed BSON: {fault}; take the dump anew"
    )]
    Malformed {
        /// The collection.
        collection: String,
        /// Number of the document.
        ordinal: u64,
        /// What is wrong.
        fault: Malformed,
    },
    /// Two tokens have one `_id`.
    #[error(
        "two documents of the snapshot have the same _id, which no collection can hold: part of a file \
         was duplicated; take the dump anew"
    )]
    DuplicateId,
    /// Scratch space could not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// SHA-256 of an `_id` and its type.
pub(crate) fn id_hash(id: Value<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([id.kind.byte()]);
    hasher.update(id.bytes);
    hasher.finalize().into()
}

const PLANNED: u8 = 0;
const SEEN: u8 = 1;

/// Compares every token of `snapshot` that `plan` changes with the plan.
///
/// # Errors
/// [`VerifyError`]. That tokens are not as planned is a result, not an error.
pub fn verify(
    plan: &Plan,
    snapshot: &Snapshot,
    progress: &Progress,
) -> Result<VerifyReport, VerifyError> {
    let mut sorter = Sorter::new(&std::env::temp_dir(), SORTER_BYTES_MAX);
    let mut planned = Vec::new();
    for batch in plan.batches() {
        for change in batch?.changes() {
            let id = id_hash(change.id);
            planned.push(Sha256Hash(id).head());
            let mut images = [0; 65];
            images[0] = PLANNED;
            images[1..33].copy_from_slice(&change.sha256_before.0);
            images[33..].copy_from_slice(&change.sha256_after.0);
            sorter.push(&id, &images)?;
        }
    }
    planned.sort_unstable();
    let left = LeftTokens::read(plan);
    // Without their names the known ones can only be counted.
    let known = if left.is_some() { 0 } else { plan.content().left() };
    let unknown = scan(snapshot, &planned, left, &mut sorter, progress)?;
    compare(plan, sorter.finish()?, unknown, known)
}

/// Sends what the plan may know to the sorter and counts problematic tokens that it does not.
fn scan(
    snapshot: &Snapshot,
    planned: &[u64],
    mut left: Option<LeftTokens>,
    sorter: &mut Sorter,
    progress: &Progress,
) -> Result<u64, VerifyError> {
    let tokens = &snapshot.input.tokens;
    progress.begin("verifying tokens", tokens.stored_bytes(), Unit::Bytes);
    let (mut ordinal, mut unknown) = (0, 0);
    let table = tokens.each_chunk(progress, |chunk| {
        for (_, document) in chunk.framed() {
            let malformed = |fault| {
                let collection = tokens.name.clone();
                VerifyError::Malformed { collection, ordinal, fault }
            };
            let is_problematic = is_problematic(document).map_err(malformed)?;
            let id = find(document, b"_id").map_err(malformed)?.map(|e| e.value);
            let hash = id.map(id_hash);
            match hash.filter(|id| planned.binary_search(&Sha256Hash(*id).head()).is_ok()) {
                None => {
                    let mut is_left = || left.as_mut().is_some_and(|left| left.meet(id));
                    unknown += u64::from(is_problematic && !is_left());
                }
                Some(id) => {
                    let mut row = [0; 34];
                    row[0] = SEEN;
                    row[1..33].copy_from_slice(&hash_bytes(document).0);
                    row[33] = u8::from(is_problematic);
                    sorter.push(&id, &row)?;
                }
            }
            ordinal += 1;
        }
        Ok::<_, VerifyError>(())
    })?;
    snapshot.check_tokens(&table)?;
    Ok(unknown)
}

fn compare(
    plan: &Plan,
    mut sorted: SortedRows,
    unknown: u64,
    known: u64,
) -> Result<VerifyReport, VerifyError> {
    let mut report = VerifyReport {
        plan_sha256: plan.sha256(),
        checked: plan.content().totals.changes,
        as_planned: 0,
        as_before: 0,
        drifted: 0,
        missing: 0,
        new_problematic_tokens: 0,
        ok: false,
    };
    let mut unplanned = unknown;
    let (mut current, mut row) = (Row::default(), Row::default());
    let mut is_found = true;
    while sorted.next_into(&mut row)? {
        let (kind, payload) = row.payload.split_first().ok_or(ScratchError::Damaged)?;
        if *kind == PLANNED {
            report.missing += u64::from(!is_found);
            is_found = false;
            std::mem::swap(&mut current, &mut row);
        } else if current.key == row.key {
            if is_found {
                return Err(VerifyError::DuplicateId);
            }
            is_found = true;
            match &payload[..32] {
                hash if *hash == current.payload[33..] => report.as_planned += 1,
                hash if *hash == current.payload[1..33] => report.as_before += 1,
                _ => report.drifted += 1,
            }
        } else {
            unplanned += u64::from(payload.last() == Some(&1));
        }
    }
    report.missing += u64::from(!is_found);
    report.new_problematic_tokens = unplanned.saturating_sub(known);
    report.ok = report.as_planned == report.checked
        && report.as_before + report.drifted + report.missing == 0
        && report.new_problematic_tokens == 0;
    Ok(report)
}

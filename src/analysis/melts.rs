//! Melts that took more than they cost, joined with the change documents that name them.

use super::AnalyzeError;
use super::duplicates::propose_melt;
use super::token::Token;
use crate::document::Value;
use crate::model::TransactionType;
use crate::scratch::Sorter;
use crate::scratch::{PARTITIONS, Partitions, Record};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Fingerprint of the transaction id (16 bytes), then 0 for a change, or 1 and the melt's document
/// number (big-endian, 8 bytes): sorted, a change stands before the melts it belongs to.
pub(super) const RECORD_BYTES: usize = 16 + 1 + 8;
const CHANGE: u8 = 0;
const MELT: u8 = 1;

/// What a melt took beyond its cost, when that is above zero.
pub(super) fn excess(token: &Token<'_>) -> Option<i128> {
    if !token.is_melted() {
        return None;
    }
    let cost = token.metadata.total_amount.and_then(Value::as_amount)?;
    let excess = i128::from(token.amount()?) - i128::from(cost);
    (excess > 0).then_some(excess)
}

/// What a token contributes to the join.
pub(super) enum Side<'a> {
    /// The transaction id that a change document names.
    Change(&'a [u8]),
    /// A melt with an excess, and its transaction id.
    Melt(&'a [u8]),
    /// A melt with an excess whose transaction id no change could name.
    MeltWithoutId,
}

pub(super) fn side<'a>(token: &Token<'a>) -> Option<Side<'a>> {
    if token.transaction_type() == Some(TransactionType::Change) {
        let named = token.metadata.melt_transaction_id.and_then(Value::as_text_bytes);
        return named.map(Side::Change);
    }
    excess(token)?;
    Some(match token.transaction_id.and_then(Value::as_text_bytes) {
        Some(id) => Side::Melt(id),
        None => Side::MeltWithoutId,
    })
}

pub(super) fn record(fingerprint: u128, melt: Option<u64>) -> Record<RECORD_BYTES> {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&fingerprint.to_be_bytes());
    if let Some(ordinal) = melt {
        record[16] = MELT;
        record[17..].copy_from_slice(&ordinal.to_be_bytes());
    }
    record
}

/// Finds the melts without a change and marks them for the second look.
pub(super) fn propose(
    pool: &rayon::ThreadPool,
    store: &Partitions<RECORD_BYTES>,
    candidates: &Mutex<Sorter>,
) -> Result<(), AnalyzeError> {
    pool.install(|| {
        (0..PARTITIONS).into_par_iter().try_for_each(|partition| {
            let mut records = store.take(partition)?;
            records.sort_unstable();
            for group in records.chunk_by(|a, b| a[..16] == b[..16]) {
                if group[0][16] == CHANGE {
                    continue;
                }
                let mut sorter = candidates.lock().unwrap_or_else(PoisonError::into_inner);
                for melt in group {
                    if let Some(ordinal) = melt.last_chunk::<8>() {
                        propose_melt(&mut sorter, u64::from_be_bytes(*ordinal))?;
                    }
                }
            }
            Ok(())
        })
    })
}

//! Melts that took more than they cost, joined with the change documents that name them.

use super::AnalyzeError;
use super::duplicates::CandidateStore;
use super::groups::{Gather, Grouping};
use super::token::Token;
use crate::document::Value;
use crate::model::TransactionType;
use crate::scratch::{PartitionWriter, Partitions, ScratchError};

/// Fingerprint of the transaction id (16 bytes), then 0s for a change, or 1 and the melt's document
/// number (big-endian, 8 bytes): sorted, a change stands before the melts it belongs to.
pub(super) const RECORD_BYTES: usize = 16 + 1 + 8;
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

/// Notes one side of the join: a melt with its document's number, or a change.
pub(super) fn note(
    writer: &mut PartitionWriter<'_>,
    fingerprint: u128,
    melt: Option<u64>,
) -> Result<(), ScratchError> {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&fingerprint.to_be_bytes());
    if let Some(ordinal) = melt {
        record[16] = MELT;
        record[17..].copy_from_slice(&ordinal.to_be_bytes());
    }
    writer.push(usize::from(record[0]), &record)
}

/// Notes a melt that no change can name. No fingerprint is that of its number but by a chance of 2^-128.
pub(super) fn note_without_id(
    writer: &mut PartitionWriter<'_>,
    ordinal: u64,
) -> Result<(), ScratchError> {
    note(writer, u128::from(ordinal).rotate_right(8), Some(ordinal))
}

/// Whether a transaction id has melts and no change, which would stand before them.
#[derive(Debug, Default)]
pub(super) struct Joined {
    is_melt_first: Option<bool>,
}

impl Gather<RECORD_BYTES> for Joined {
    type Verdict = ();
    const PRINT_BYTES: usize = 16;
    const TWINS_ONLY: bool = false;

    fn add(&mut self, record: &[u8; RECORD_BYTES]) {
        self.is_melt_first.get_or_insert(record[16] == MELT);
    }

    fn verdict(&self) -> Option<()> {
        (self.is_melt_first == Some(true)).then_some(())
    }
}

/// Finds the melts without a change and marks them for the second look.
pub(super) fn propose(
    grouping: &Grouping<'_>,
    store: &Partitions,
    candidates: &CandidateStore,
) -> Result<(), AnalyzeError> {
    let each = |writer: &mut PartitionWriter<'_>, _, (): &(), melt: &[u8; RECORD_BYTES]| {
        let ordinal = melt.last_chunk::<8>().map_or(0, |ordinal| u64::from_be_bytes(*ordinal));
        Ok(candidates.push_melt(writer, ordinal)?)
    };
    let writers = grouping.each::<_, Joined, _>(store, || candidates.writer(), each)?;
    Ok(writers.into_iter().try_for_each(PartitionWriter::finish)?)
}

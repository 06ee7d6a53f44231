//! Changes on their way into the plan, as the workers hand them on.

use super::rule::ProposedChange;
use crate::publish::PublishError;

/// Turns a change into the bytes of the plan; runs on the workers.
pub type ChangeEncoder<'a> = &'a (dyn Fn(&ProposedChange<'_>, &mut Vec<u8>) + Sync);

/// Takes the encoded changes, in the snapshot's order.
pub type ChangeSink<'a> = &'a mut (dyn FnMut(&ChangeRows) -> Result<(), PublishError> + Send);

/// The changes of some consecutive documents.
#[derive(Debug, Default)]
pub struct ChangeRows {
    /// What the encoder made, one after another.
    pub encoded: Vec<u8>,
    /// For each change the length of its encoding and of its document before, in bytes.
    pub lengths: Vec<ChangeLengths>,
    /// Rows of `changes.csv`.
    pub(super) csv: Vec<u8>,
}

/// Lengths of one change, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ChangeLengths {
    /// Of its encoding.
    pub encoded: usize,
    /// Of the document before.
    pub before: usize,
}

impl ChangeRows {
    pub(super) fn push(&mut self, change: &ProposedChange<'_>, encode: ChangeEncoder<'_>) {
        let start = self.encoded.len();
        encode(change, &mut self.encoded);
        let encoded = self.encoded.len() - start;
        self.lengths.push(ChangeLengths { encoded, before: change.image.bytes_before });
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let lengths = self.lengths.capacity() * size_of::<ChangeLengths>();
        self.encoded.capacity() + lengths + self.csv.capacity()
    }
}

//! Reading chunks again by where they lie, on several threads at once.
//!
//! For a file that holds its documents as they are. Frames are checked anew, as somebody may write to the file
//! between two readings.

use super::chunk::Chunk;
use super::error::InputError;
use super::stored::{StoredFile, StoredReader};
use crate::snapshot::identity::ChunkRecord;

/// A chunk as an earlier pass met it.
#[derive(Debug, Clone, Copy)]
pub struct KnownChunk {
    /// Its number in the collection, from 0.
    pub index: u64,
    /// Number in the collection, from 0, of its first document.
    pub first_document: u64,
    /// Where it lies, and what it holds.
    pub record: ChunkRecord,
}

/// A file whose chunks are known.
#[derive(Debug)]
pub struct KnownFile(StoredReader);

impl KnownFile {
    pub(super) fn open(stored: &StoredFile) -> Result<KnownFile, InputError> {
        Ok(KnownFile(stored.open()?))
    }

    /// Reads `known` into `chunk`.
    ///
    /// # Errors
    /// [`InputError`] when it can't be read or its documents are not where they were.
    pub fn read(&self, known: &KnownChunk, chunk: &mut Chunk) -> Result<(), InputError> {
        let KnownFile(file) = self;
        let read = |bytes: &mut [u8]| file.read_at(known.record.offset, bytes);
        match chunk.read_known(file.path(), known, read)? {
            true => Ok(()),
            false => Err(file.changed(known.record.offset)),
        }
    }
}

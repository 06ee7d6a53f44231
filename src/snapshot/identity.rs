//! What makes a snapshot itself: the hashes of its documents, however they are stored.
//!
//! The documents of a collection are cut into chunks by their content alone ([`CHUNK_BYTES_MIN`]), each
//! chunk is hashed, and the root hash binds them all. The same documents in the same order have the same
//! root in a directory, gzipped, or in an archive.

use crate::model::{Sha256Hash, hash_bytes};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A chunk is the fewest whole documents that together have at least this many bytes; a collection's
/// last chunk may be smaller.
pub const CHUNK_BYTES_MIN: usize = 512 * 1024;

/// One chunk of a collection's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// Where it begins among the collection's document bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many documents it holds.
    pub documents: u64,
    /// Of its bytes.
    pub sha256: Sha256Hash,
}

/// All chunks of one collection, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkTable(Vec<ChunkRecord>);

impl ChunkTable {
    /// No chunk yet.
    #[must_use]
    pub fn new() -> ChunkTable {
        ChunkTable::default()
    }

    /// A table of `records` when each begins where the one before ends.
    #[must_use]
    pub fn from_records(records: Vec<ChunkRecord>) -> Option<ChunkTable> {
        let mut end = 0_u64;
        for record in &records {
            if record.offset != end || record.bytes == 0 || record.documents == 0 {
                return None;
            }
            end = end.checked_add(record.bytes)?;
        }
        Some(ChunkTable(records))
    }

    /// Appends the next chunk.
    pub fn push(&mut self, bytes: u64, documents: u64, sha256: Sha256Hash) {
        let offset = self.bytes();
        self.0.push(ChunkRecord { offset, bytes, documents, sha256 });
    }

    /// The chunks.
    #[must_use]
    pub fn records(&self) -> &[ChunkRecord] {
        &self.0
    }

    /// Bytes of all documents.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.last().map_or(0, |last| last.offset + last.bytes)
    }

    /// Number of documents.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, record| sum.saturating_add(record.documents))
    }

    fn describe(&self, role: &str, text: &mut String) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{role} {} {}", self.documents(), self.bytes());
        for record in &self.0 {
            let ChunkRecord { offset, bytes, documents, sha256 } = record;
            let _ = writeln!(text, "{offset} {bytes} {documents} {sha256}");
        }
    }
}

/// The root hash: SHA-256 over the line `remelt-snapshot 1`, then for tokens and wallets a line
/// `ROLE DOCUMENTS BYTES` and a line `OFFSET BYTES DOCUMENTS SHA256` a chunk. Without a wallets
/// collection its line is `wallets absent`.
#[must_use]
pub fn root_hash(tokens: &ChunkTable, wallets: Option<&ChunkTable>) -> Sha256Hash {
    let mut text = String::from("remelt-snapshot 1\n");
    tokens.describe("tokens", &mut text);
    match wallets {
        Some(wallets) => wallets.describe("wallets", &mut text),
        None => text.push_str("wallets absent\n"),
    }
    hash_bytes(text.as_bytes())
}

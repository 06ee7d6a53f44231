//! Values that occur more than once: secrets, transaction ids, document ids.
//!
//! First every value leaves a narrow fingerprint and its document's number in a partition. Equal
//! fingerprints make candidates, whose documents are looked at again; there the values themselves are
//! compared (by SHA-256), so that what is reported is exact whatever the fingerprints did.

use super::AnalyzeError;
use crate::scratch::{PARTITIONS, Partitions, Record};
use crate::scratch::{Row, SortedRows, Sorter};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Fingerprint (7 bytes) and document number (5 bytes), both big-endian: sorted, equal fingerprints
/// stand together in the order of the documents.
pub(super) const CANDIDATE_BYTES: usize = 12;
const FINGERPRINT_BYTES: usize = 7;
/// Documents are numbered in 40 bits: a trillion.
pub(super) const ORDINAL_MAX: u64 = (1 << 40) - 1;

/// Which value a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    Id = 0,
    TransactionId = 1,
    Secret = 2,
    /// A melt without its change; found by `melts`, looked at again with the others.
    Melt = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Id, Kind::TransactionId, Kind::Secret, Kind::Melt]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }
}

/// The record of a value with `fingerprint` in document `ordinal`.
pub(super) fn record(fingerprint: u64, ordinal: u64) -> Record<CANDIDATE_BYTES> {
    let [f0, f1, f2, f3, f4, f5, f6, _] = fingerprint.to_be_bytes();
    let [_, _, _, o0, o1, o2, o3, o4] = ordinal.to_be_bytes();
    [f0, f1, f2, f3, f4, f5, f6, o0, o1, o2, o3, o4]
}

/// The part of a fingerprint that a record keeps.
pub(super) fn kept(fingerprint: u64) -> u64 {
    fingerprint >> 8
}

fn fingerprint_of(record: &Record<CANDIDATE_BYTES>) -> &[u8] {
    &record[..FINGERPRINT_BYTES]
}

/// Finds the records that share their fingerprint and pushes them to `candidates` by document.
pub(super) fn propose(
    pool: &rayon::ThreadPool,
    store: &Partitions<CANDIDATE_BYTES>,
    kind: Kind,
    candidates: &Mutex<Sorter>,
) -> Result<(), AnalyzeError> {
    pool.install(|| {
        (0..PARTITIONS).into_par_iter().try_for_each(|partition| {
            let mut records = store.take(partition)?;
            records.sort_unstable();
            let groups = records
                .chunk_by(|a, b| fingerprint_of(a) == fingerprint_of(b))
                .filter(|group| group.len() > 1);
            let mut sorter = None;
            // A value that a document has twice is one candidate.
            for record in
                groups.flat_map(|group| group.chunk_by(|a, b| a == b)).map(|same| &same[0])
            {
                let sorter = sorter.get_or_insert_with(|| {
                    candidates.lock().unwrap_or_else(PoisonError::into_inner)
                });
                sorter.push(&candidate_key(kind, record), &[])?;
            }
            Ok(())
        })
    })
}

fn candidate_key(kind: Kind, record: &Record<CANDIDATE_BYTES>) -> [u8; 13] {
    let [f0, f1, f2, f3, f4, f5, f6, o0, o1, o2, o3, o4] = *record;
    [o0, o1, o2, o3, o4, kind as u8, f0, f1, f2, f3, f4, f5, f6]
}

/// Marks document `ordinal` for the second look as a melt without its change.
pub(super) fn propose_melt(candidates: &mut Sorter, ordinal: u64) -> Result<(), AnalyzeError> {
    Ok(candidates.push(&candidate_key(Kind::Melt, &record(0, ordinal)), &[])?)
}

/// One value to look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) ordinal: u64,
    pub(super) kind: Kind,
    /// As [`kept`].
    pub(super) fingerprint: u64,
}

/// The candidates in the order of their documents.
#[derive(Debug)]
pub(super) struct Candidates {
    rows: SortedRows,
    head: Option<Candidate>,
}

impl Candidates {
    pub(super) fn new(rows: SortedRows) -> Result<Candidates, AnalyzeError> {
        let mut candidates = Candidates { rows, head: None };
        candidates.advance()?;
        Ok(candidates)
    }

    fn advance(&mut self) -> Result<(), AnalyzeError> {
        let mut row = Row::default();
        self.head = match self.rows.next_into(&mut row)? {
            true => decode(&row.key),
            false => None,
        };
        Ok(())
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Takes those whose document is numbered below `end`.
    pub(super) fn below(&mut self, end: u64) -> Result<Vec<Candidate>, AnalyzeError> {
        let mut taken = Vec::new();
        while let Some(head) = self.head.filter(|head| head.ordinal < end) {
            taken.push(head);
            self.advance()?;
        }
        Ok(taken)
    }
}

fn decode(key: &[u8]) -> Option<Candidate> {
    let [o0, o1, o2, o3, o4, kind, f0, f1, f2, f3, f4, f5, f6] = *key.first_chunk::<13>()?;
    Some(Candidate {
        ordinal: u64::from_be_bytes([0, 0, 0, o0, o1, o2, o3, o4]),
        kind: Kind::from_byte(kind)?,
        fingerprint: u64::from_be_bytes([0, f0, f1, f2, f3, f4, f5, f6]),
    })
}

//! Values that may occur more than once: transaction ids and document ids here, secrets in `secrets`.
//!
//! First every value leaves a narrow fingerprint and its document's number in a part. Equal
//! fingerprints make candidates, whose documents are looked at again; there the values themselves are
//! compared (by SHA-256), so that what is reported is exact whatever the fingerprints did.

use super::AnalyzeError;
use super::groups::{Gather, Grouping};
use crate::scratch::{PartitionWriter, Partitions, ScratchError};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The lower bytes of a fingerprint (the top byte is the part) and the document's number (5 bytes), both
/// big-endian: sorted, equal fingerprints stand together in the order of the documents.
const RECORD_BYTES: usize = 12;
const FINGERPRINT_BYTES: usize = 7;
/// Documents are numbered in 40 bits: a trillion.
pub(super) const ORDINAL_MAX: u64 = (1 << 40) - 1;

type Record = [u8; RECORD_BYTES];

/// Which value a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    Id = 0,
    TransactionId = 1,
    Secret = 2,
    /// A spendable proof of a secret spendable twice that is no phantom; found by `secrets`.
    Kept = 3,
    /// A melt without its change; found by `melts`, looked at again with the others.
    Melt = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Id, Kind::TransactionId, Kind::Secret, Kind::Kept, Kind::Melt]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }
}

/// Notes that document `ordinal` has a value with `fingerprint`.
#[inline]
pub(super) fn note(
    writer: &mut PartitionWriter<'_>,
    fingerprint: u64,
    ordinal: u64,
) -> Result<(), ScratchError> {
    let [part, ..] = fingerprint.to_be_bytes();
    let record = record_of(fingerprint, ordinal);
    writer.push(usize::from(part), &record)
}

#[inline]
fn record_of(fingerprint: u64, ordinal: u64) -> Record {
    let number = u128::from(fingerprint) << 40 | u128::from(ordinal & ORDINAL_MAX);
    let [_, _, _, _, record @ ..] = number.to_be_bytes();
    record
}

/// A record as a number that sorts alike.
fn sort_key(record: &Record) -> u128 {
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(record);
    u128::from_be_bytes(wide)
}

/// How many documents have one fingerprint.
#[derive(Debug, Default)]
pub(super) struct Copies(u64);

impl Gather<RECORD_BYTES> for Copies {
    type Verdict = ();
    const PRINT_BYTES: usize = FINGERPRINT_BYTES;
    const TWINS_ONLY: bool = true;

    fn add(&mut self, _: &Record) {
        self.0 += 1;
    }

    fn verdict(&self) -> Option<()> {
        (self.0 > 1).then_some(())
    }

    fn sort(records: &mut [Record]) {
        records.sort_unstable_by_key(sort_key);
    }
}

/// Finds the records that share their fingerprint and makes candidates of them.
pub(super) fn propose(
    grouping: &Grouping<'_>,
    store: &Partitions,
    kind: Kind,
    candidates: &CandidateStore,
) -> Result<(), AnalyzeError> {
    let each = |writer: &mut PartitionWriter<'_>, part, (): &(), record: &Record| {
        let (ordinal, fingerprint) = (ordinal_of(record), fingerprint_of(part, record));
        Ok(candidates.push(writer, &Candidate { ordinal, kind, fingerprint, note: 0 })?)
    };
    let writers = grouping.each::<_, Copies, _>(store, || candidates.writer(), each)?;
    Ok(writers.into_iter().try_for_each(PartitionWriter::finish)?)
}

fn ordinal_of(record: &Record) -> u64 {
    let [.., o0, o1, o2, o3, o4] = *record;
    u64::from_be_bytes([0, 0, 0, o0, o1, o2, o3, o4])
}

fn fingerprint_of(part: usize, record: &Record) -> u64 {
    let [f0, f1, f2, f3, f4, f5, f6, ..] = *record;
    (part as u64) << 56 | u64::from_be_bytes([0, f0, f1, f2, f3, f4, f5, f6])
}

/// One value to look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) ordinal: u64,
    pub(super) kind: Kind,
    pub(super) fingerprint: u64,
    /// What its kind has to say besides, in 48 bits.
    pub(super) note: u64,
}

/// Document number (5 bytes), kind (1), fingerprint (8), note (6), big-endian: sorted, the candidates of a
/// document stand together by kind and fingerprint.
const CANDIDATE_BYTES: usize = 20;

impl Candidate {
    fn encode(&self) -> [u8; CANDIDATE_BYTES] {
        let mut bytes = [0; CANDIDATE_BYTES];
        bytes[..5].copy_from_slice(&self.ordinal.to_be_bytes()[3..]);
        bytes[5] = self.kind as u8;
        bytes[6..14].copy_from_slice(&self.fingerprint.to_be_bytes());
        bytes[14..].copy_from_slice(&self.note.to_be_bytes()[2..]);
        bytes
    }

    fn decode(bytes: &[u8; CANDIDATE_BYTES]) -> Option<Candidate> {
        Some(Candidate {
            ordinal: document_of(bytes),
            kind: Kind::from_byte(bytes[5])?,
            fingerprint: number(&bytes[6..14]),
            note: number(&bytes[14..]),
        })
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The number of the document that a candidate's record is about.
fn document_of(record: &[u8; CANDIDATE_BYTES]) -> u64 {
    number(&record[..5])
}

/// Documents in equal ranges of their numbers, one a part.
#[derive(Debug, Clone, Copy)]
struct Ranges {
    documents_each: u64,
    count: usize,
}

impl Ranges {
    /// At most `count_max` ranges of at least `documents_min` of `documents`.
    fn new(documents: u64, documents_min: u64, count_max: u64) -> Ranges {
        let documents_each = documents.div_ceil(count_max).max(documents_min);
        let count = documents.div_ceil(documents_each).max(1);
        Ranges { documents_each, count: usize::try_from(count).unwrap_or(usize::MAX) }
    }

    /// The range that document `ordinal` is in.
    fn of(&self, ordinal: u64) -> usize {
        usize::try_from(ordinal / self.documents_each).unwrap_or(usize::MAX).min(self.count - 1)
    }
}

/// Candidates on their way, in parts by the numbers of their documents.
#[derive(Debug)]
pub(super) struct CandidateStore {
    parts: Partitions,
    ranges: Ranges,
}

impl CandidateStore {
    pub(super) fn new(scratch: &Path, documents: u64, memory_bytes_max: usize) -> CandidateStore {
        let ranges = Ranges::new(documents, 1024, 256);
        let parts = Partitions::new(scratch, ranges.count, memory_bytes_max);
        CandidateStore { parts, ranges }
    }

    pub(super) fn writer(&self) -> PartitionWriter<'_> {
        self.parts.writer()
    }

    pub(super) fn push(
        &self,
        writer: &mut PartitionWriter<'_>,
        candidate: &Candidate,
    ) -> Result<(), ScratchError> {
        writer.push(self.ranges.of(candidate.ordinal), &candidate.encode())
    }

    /// Marks document `ordinal` for the second look as a melt without its change.
    pub(super) fn push_melt(
        &self,
        writer: &mut PartitionWriter<'_>,
        ordinal: u64,
    ) -> Result<(), ScratchError> {
        let kind = Kind::Melt;
        self.push(writer, &Candidate { ordinal, kind, fingerprint: 0, note: 0 })
    }

    /// All candidates, to be taken in the order of their documents.
    pub(super) fn complete(self) -> Candidates {
        let has_some = |part: &usize| self.parts.bytes_in(*part) > 0;
        let end = (0..self.parts.parts()).rev().find(has_some).map_or(0, |last| last + 1);
        Candidates { store: self, taken: 0, end, window: VecDeque::new() }
    }
}

/// The candidates by ranges of documents, in order.
#[derive(Debug)]
pub(super) struct Candidates {
    store: CandidateStore,
    /// Parts taken so far, and the number of the last that has candidates plus one.
    taken: usize,
    end: usize,
    /// The parts that documents to come may still be in, with their numbers.
    window: VecDeque<(usize, Arc<CandidatePart>)>,
}

impl Candidates {
    /// Whether document `ordinal` or one behind it may have candidates.
    pub(super) fn are_left(&self, ordinal: u64) -> bool {
        self.store.ranges.of(ordinal) < self.end
    }

    /// The parts with the candidates of `documents`, which begin where the ones before ended.
    pub(super) fn of(
        &mut self,
        documents: Range<u64>,
    ) -> Result<Vec<Arc<CandidatePart>>, ScratchError> {
        let Some(last) = documents.end.checked_sub(1) else { return Ok(Vec::new()) };
        let (first, last) = (self.store.ranges.of(documents.start), self.store.ranges.of(last));
        while self.taken <= last {
            let part = CandidatePart::new(self.store.parts.take(self.taken)?);
            self.window.push_back((self.taken, Arc::new(part)));
            self.taken += 1;
        }
        while self.window.front().is_some_and(|(part, _)| *part < first) {
            self.window.pop_front();
        }
        Ok(self.window.iter().map(|(_, part)| Arc::clone(part)).collect())
    }
}

/// The candidates of a range of documents: sorted by the worker that needs them first, not by the one
/// thread that reads.
#[derive(Debug)]
pub(super) struct CandidatePart(Mutex<Unsorted>);

#[derive(Debug)]
struct Unsorted {
    bytes: Vec<u8>,
    is_sorted: bool,
}

impl CandidatePart {
    fn new(bytes: Vec<u8>) -> CandidatePart {
        CandidatePart(Mutex::new(Unsorted { bytes, is_sorted: false }))
    }

    /// Appends the candidates of `documents`, in order.
    pub(super) fn append_to(
        &self,
        candidates: &mut Vec<Candidate>,
        documents: &Range<u64>,
    ) -> Result<(), ScratchError> {
        let mut part = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Unsorted { bytes, is_sorted } = &mut *part;
        let (records, rest) = bytes.as_chunks_mut::<CANDIDATE_BYTES>();
        if !rest.is_empty() {
            return Err(ScratchError::Damaged);
        }
        if !std::mem::replace(is_sorted, true) {
            records.sort_unstable();
        }
        let start = records.partition_point(|record| document_of(record) < documents.start);
        for record in &records[start..] {
            if document_of(record) >= documents.end {
                break;
            }
            candidates.push(Candidate::decode(record).ok_or(ScratchError::Damaged)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_document_is_in_its_range(
            documents in 1_u64..1_000_000,
            least in 1_u64..5_000,
            count_max in 1_u64..2_000,
            at in any::<u64>(),
        ) {
            let ranges = Ranges::new(documents, least, count_max);
            let ordinal = at % documents;
            let part = ranges.of(ordinal);
            prop_assert!(part < ranges.count);
            let first = part as u64 * ranges.documents_each;
            prop_assert!((first..first + ranges.documents_each).contains(&ordinal));
        }
    }
}

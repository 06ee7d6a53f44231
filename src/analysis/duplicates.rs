//! Values that occur more than once: secrets, transaction ids, document ids.
//!
//! First every value leaves a narrow fingerprint and its document's number in a part. Equal
//! fingerprints make candidates, whose documents are looked at again; there the values themselves are
//! compared (by SHA-256), so that what is reported is exact whatever the fingerprints did.

use super::AnalyzeError;
use crate::scratch::{PartitionWriter, Partitions, ScratchError};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Notes that document `ordinal` has a value with `fingerprint`.
#[inline]
pub(super) fn note(
    writer: &mut PartitionWriter<'_>,
    fingerprint: u64,
    ordinal: u64,
) -> Result<(), ScratchError> {
    let [part, f0, f1, f2, f3, f4, f5, f6] = fingerprint.to_be_bytes();
    let [_, _, _, o0, o1, o2, o3, o4] = ordinal.to_be_bytes();
    let record: Record = [f0, f1, f2, f3, f4, f5, f6, o0, o1, o2, o3, o4];
    writer.push(usize::from(part), &record)
}

/// A record as a number that sorts alike.
fn sort_key(record: &Record) -> u128 {
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(record);
    u128::from_be_bytes(wide)
}

/// Moves the records whose fingerprint may occur again to the front and gives them: the rest, usually
/// most, need not be sorted.
fn possible_twins(records: &mut [Record]) -> &mut [Record] {
    const TWICE: u8 = 2;
    let slots = records.len().saturating_mul(4).next_power_of_two();
    let mut seen = vec![0_u8; slots];
    let slot = |record: &Record| {
        let [.., f3, f4, f5, f6, _, _, _, _, _] = *record;
        u32::from_be_bytes([f3, f4, f5, f6]) as usize & (slots - 1)
    };
    for record in &*records {
        let count = &mut seen[slot(record)];
        *count = (*count + 1).min(TWICE);
    }
    let mut kept = 0;
    for at in 0..records.len() {
        let record = records[at];
        if seen[slot(&record)] == TWICE {
            records[kept] = record;
            kept += 1;
        }
    }
    &mut records[..kept]
}

/// Finds the records that share their fingerprint and makes candidates of them.
pub(super) fn propose(
    pool: &rayon::ThreadPool,
    store: &Partitions,
    kind: Kind,
    candidates: &CandidateStore,
) -> Result<(), AnalyzeError> {
    each_part(pool, store, candidates, |part, records, writer| {
        let records = possible_twins(records.as_chunks_mut::<RECORD_BYTES>().0);
        records.sort_unstable_by_key(sort_key);
        let groups = records
            .chunk_by(|a, b| a[..FINGERPRINT_BYTES] == b[..FINGERPRINT_BYTES])
            .filter(|group| group.len() > 1);
        for group in groups {
            let first = ordinal_of(&group[0]);
            // A value that a document has twice is one candidate.
            for same in group.chunk_by(|a, b| a == b) {
                let candidate = Candidate {
                    ordinal: ordinal_of(&same[0]),
                    kind,
                    fingerprint: fingerprint_of(part, &same[0]),
                    first,
                };
                candidates.push(writer, &candidate)?;
            }
        }
        Ok(())
    })
}

fn ordinal_of(record: &Record) -> u64 {
    let [.., o0, o1, o2, o3, o4] = *record;
    u64::from_be_bytes([0, 0, 0, o0, o1, o2, o3, o4])
}

fn fingerprint_of(part: usize, record: &Record) -> u64 {
    let [f0, f1, f2, f3, f4, f5, f6, ..] = *record;
    (part as u64) << 56 | u64::from_be_bytes([0, f0, f1, f2, f3, f4, f5, f6])
}

/// Runs `work` on every part of `store`, on all threads, with a writer for the candidates it finds.
pub(super) fn each_part(
    pool: &rayon::ThreadPool,
    store: &Partitions,
    candidates: &CandidateStore,
    work: impl Fn(usize, &mut [u8], &mut PartitionWriter<'_>) -> Result<(), AnalyzeError> + Sync,
) -> Result<(), AnalyzeError> {
    let next = AtomicUsize::new(0);
    let results = pool.broadcast(|_| {
        let mut writer = candidates.parts.writer();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= store.parts() {
                return Ok(writer.finish()?);
            }
            work(part, &mut store.take(part)?, &mut writer)?;
        }
    });
    results.into_iter().collect()
}

/// One value to look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) ordinal: u64,
    pub(super) kind: Kind,
    pub(super) fingerprint: u64,
    /// The first document that has a value with this fingerprint.
    pub(super) first: u64,
}

/// Document number (5 bytes), kind (1), fingerprint (8), first document (5), big-endian: sorted, the
/// candidates of a document stand together by kind and fingerprint.
const CANDIDATE_BYTES: usize = 19;

impl Candidate {
    fn encode(&self) -> [u8; CANDIDATE_BYTES] {
        let mut bytes = [0; CANDIDATE_BYTES];
        bytes[..5].copy_from_slice(&self.ordinal.to_be_bytes()[3..]);
        bytes[5] = self.kind as u8;
        bytes[6..14].copy_from_slice(&self.fingerprint.to_be_bytes());
        bytes[14..].copy_from_slice(&self.first.to_be_bytes()[3..]);
        bytes
    }

    fn decode(bytes: &[u8; CANDIDATE_BYTES]) -> Option<Candidate> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Candidate {
            ordinal: number(&bytes[..5]),
            kind: Kind::from_byte(bytes[5])?,
            fingerprint: number(&bytes[6..14]),
            first: number(&bytes[14..]),
        })
    }
}

/// Documents in equal ranges of their numbers, one a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranges {
    documents_each: u64,
    pub(super) count: usize,
}

impl Ranges {
    /// At most `count_max` ranges of at least `documents_min` of `documents`.
    pub(super) fn new(documents: u64, documents_min: u64, count_max: u64) -> Ranges {
        let documents_each = documents.div_ceil(count_max).max(documents_min);
        let count = documents.div_ceil(documents_each).max(1);
        Ranges { documents_each, count: usize::try_from(count).unwrap_or(usize::MAX) }
    }

    /// The range that document `ordinal` is in.
    pub(super) fn of(&self, ordinal: u64) -> usize {
        usize::try_from(ordinal / self.documents_each).unwrap_or(usize::MAX).min(self.count - 1)
    }

    /// The document behind the last of range `part`.
    pub(super) fn end_of(&self, part: usize) -> u64 {
        (part as u64 + 1).saturating_mul(self.documents_each)
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

    fn push(
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
        self.push(writer, &Candidate { ordinal, kind, fingerprint: 0, first: ordinal })
    }

    /// All candidates in order.
    pub(super) fn sorted(self) -> Candidates {
        Candidates { store: self, part: 0, bytes: Vec::new(), at: 0 }
    }
}

/// The candidates in the order of their documents.
#[derive(Debug)]
pub(super) struct Candidates {
    store: CandidateStore,
    /// The part to be taken next, and what is left of the one before.
    part: usize,
    bytes: Vec<u8>,
    at: usize,
}

impl Candidates {
    fn head(&mut self) -> Result<Option<Candidate>, AnalyzeError> {
        while self.at == self.bytes.len() {
            if self.part == self.store.parts.parts() {
                return Ok(None);
            }
            self.bytes = self.store.parts.take(self.part)?;
            self.bytes.as_chunks_mut::<CANDIDATE_BYTES>().0.sort_unstable();
            self.at = 0;
            self.part += 1;
        }
        let head = self.bytes[self.at..].first_chunk().and_then(Candidate::decode);
        Ok(Some(head.ok_or(ScratchError::Damaged)?))
    }

    /// Whether none is left.
    pub(super) fn is_empty(&mut self) -> Result<bool, AnalyzeError> {
        Ok(self.head()?.is_none())
    }

    /// Takes those whose document is numbered below `end`.
    pub(super) fn below(&mut self, end: u64) -> Result<Vec<Candidate>, AnalyzeError> {
        let mut taken = Vec::new();
        while let Some(head) = self.head()?.filter(|head| head.ordinal < end) {
            taken.push(head);
            self.at += CANDIDATE_BYTES;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_twin_is_left_out(prints in proptest::collection::vec(0_u8..200, 0..300)) {
            let record = |(ordinal, print): (usize, &u8)| -> Record {
                let [o0, o1] = u16::try_from(ordinal).unwrap().to_be_bytes();
                [0, 0, 0, *print, 0, 0, *print, 0, 0, 0, o0, o1]
            };
            let mut records: Vec<Record> = prints.iter().enumerate().map(record).collect();
            let twins = |print: u8| prints.iter().filter(|p| **p == print).count() > 1;
            let expected: Vec<Record> =
                records.iter().filter(|r| twins(r[6])).copied().collect();
            let kept = possible_twins(&mut records).to_vec();
            prop_assert!(expected.iter().all(|record| kept.contains(record)));
        }

        #[test]
        fn every_document_is_in_the_range_that_ends_behind_it(
            documents in 1_u64..1_000_000,
            least in 1_u64..5_000,
            count_max in 1_u64..2_000,
            at in any::<u64>(),
        ) {
            let ranges = Ranges::new(documents, least, count_max);
            let ordinal = at % documents;
            let part = ranges.of(ordinal);
            prop_assert!(part < ranges.count);
            prop_assert!(ordinal < ranges.end_of(part));
            prop_assert!(part == 0 || ordinal >= ranges.end_of(part - 1));
        }
    }
}

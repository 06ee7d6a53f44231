//! Sorting rows of any number in bounded memory: sorted runs on disk, merged while reading.
//!
//! A row is a key and a payload, both bytes; rows come out in the order of their keys, and rows of equal
//! keys in the order of their payloads, so the result never depends on which worker was first.

use super::{ScratchError, scratch_error, scratch_file};
use rayon::slice::ParallelSliceMut;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Most runs that are merged at once, and most runs of one level: so many are merged into one of the next, so that
/// open files and buffers are bounded and a row is written once a level.
const FAN_MAX: usize = 64;
/// As many runs are merged at once however long their rows are.
const FAN_MIN: usize = 4;
/// Read buffer of a run while merging.
const RUN_BUFFER_BYTES: usize = 64 * 1024;
/// Bookkeeping of a row in memory.
const ROW_OVERHEAD_BYTES: usize = size_of::<Slot>();

#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The key's first bytes, so that most comparisons look at no row.
    head: u128,
    start: usize,
    key_bytes: u32,
    row_bytes: u32,
}

/// Collects rows; see the module.
#[derive(Debug)]
pub(crate) struct Sorter {
    scratch: PathBuf,
    memory_bytes_max: usize,
    arena: Vec<u8>,
    slots: Vec<Slot>,
    /// By falling level.
    runs: Vec<Run>,
}

/// A sorted run on disk.
#[derive(Debug)]
struct Run {
    file: File,
    /// Of its longest row.
    row_bytes_max: usize,
    level: u32,
}

impl Sorter {
    /// An empty sorter that holds about `memory_bytes_max` in memory; runs go to files in `scratch`.
    pub(crate) fn new(scratch: &Path, memory_bytes_max: usize) -> Sorter {
        Sorter {
            scratch: scratch.to_path_buf(),
            memory_bytes_max,
            arena: Vec::new(),
            slots: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, key: &[u8], payload: &[u8]) -> Result<(), ScratchError> {
        let row_bytes = key.len() + payload.len();
        let used = self.arena.len() + self.slots.len() * ROW_OVERHEAD_BYTES;
        if used + row_bytes + ROW_OVERHEAD_BYTES > self.memory_bytes_max && !self.slots.is_empty() {
            self.spill()?;
        }
        let too_long = |_| ScratchError::RowTooLong;
        self.slots.push(Slot {
            head: head_of(key),
            start: self.arena.len(),
            key_bytes: u32::try_from(key.len()).map_err(too_long)?,
            row_bytes: u32::try_from(row_bytes).map_err(too_long)?,
        });
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(payload);
        Ok(())
    }

    /// Adds all rows of `batch`.
    pub(crate) fn append(&mut self, batch: &RowBatch) -> Result<(), ScratchError> {
        batch.rows().try_for_each(|(key, payload)| self.push(key, payload))
    }

    fn sort(&mut self) {
        self.slots.sort_unstable_by(by_row(&self.arena));
    }

    fn spill(&mut self) -> Result<(), ScratchError> {
        self.sort();
        let mut run = RunWriter::create(&self.scratch)?;
        for slot in &self.slots {
            let (key, payload) = split(&self.arena, slot);
            run.write(key, payload)?;
        }
        self.runs.push(run.finish(0)?);
        self.arena.clear();
        self.slots.clear();
        while self.runs_of_last_level() >= self.fan() {
            self.merge_last(self.fan())?;
        }
        Ok(())
    }

    fn runs_of_last_level(&self) -> usize {
        let last = self.runs.last().map(|run| run.level);
        self.runs.iter().rev().take_while(|run| Some(run.level) == last).count()
    }

    /// How many runs are merged at once: a row of each is in memory meanwhile.
    fn fan(&self) -> usize {
        let row_bytes_max = self.runs.iter().map(|run| run.row_bytes_max).max().unwrap_or(0);
        (self.memory_bytes_max / row_bytes_max.max(1)).clamp(FAN_MIN, FAN_MAX)
    }

    /// Merges the last `count` runs into one of the level above theirs.
    fn merge_last(&mut self, count: usize) -> Result<(), ScratchError> {
        let runs = self.runs.split_off(self.runs.len().saturating_sub(count));
        let level = runs.iter().map(|run| run.level + 1).max().unwrap_or(0);
        let mut merge = Merge::new(&self.scratch, runs)?;
        let mut run = RunWriter::create(&self.scratch)?;
        let mut row = Row::default();
        while merge.next_into(&mut row)? {
            run.write(&row.key, &row.payload)?;
        }
        self.runs.push(run.finish(level)?);
        Ok(())
    }

    /// The rows in order, sorted by all threads of the pool that this runs on. Not to be called with a lock
    /// held that others on the pool may want: a thread that waits here takes up their work.
    pub(crate) fn finish_on_all_threads(mut self) -> Result<SortedRows, ScratchError> {
        self.slots.par_sort_unstable_by(by_row(&self.arena));
        self.finish()
    }

    /// The rows in order.
    pub(crate) fn finish(mut self) -> Result<SortedRows, ScratchError> {
        if self.runs.is_empty() {
            self.sort();
            return Ok(SortedRows::Memory { arena: self.arena, slots: self.slots, taken: 0 });
        }
        self.spill()?;
        while self.runs.len() > self.fan() {
            self.merge_last(self.fan().min(self.runs.len() - self.fan() + 1))?;
        }
        Ok(SortedRows::Disk(Box::new(Merge::new(&self.scratch, self.runs)?)))
    }
}

/// A sorted run on its way to disk: for each row the lengths of its key and of all of it (4 bytes each,
/// little-endian), then the row.
struct RunWriter<'a> {
    scratch: &'a Path,
    file: BufWriter<File>,
    row_bytes_max: usize,
}

impl RunWriter<'_> {
    fn create(scratch: &Path) -> Result<RunWriter<'_>, ScratchError> {
        let file = BufWriter::with_capacity(RUN_BUFFER_BYTES, scratch_file(scratch)?);
        Ok(RunWriter { scratch, file, row_bytes_max: 0 })
    }

    fn write(&mut self, key: &[u8], payload: &[u8]) -> Result<(), ScratchError> {
        let too_long = |_| ScratchError::RowTooLong;
        let key_bytes = u32::try_from(key.len()).map_err(too_long)?;
        let row_bytes = u32::try_from(key.len() + payload.len()).map_err(too_long)?;
        self.row_bytes_max = self.row_bytes_max.max(key.len() + payload.len());
        self.file
            .write_all(&key_bytes.to_le_bytes())
            .and_then(|()| self.file.write_all(&row_bytes.to_le_bytes()))
            .and_then(|()| self.file.write_all(key))
            .and_then(|()| self.file.write_all(payload))
            .map_err(scratch_error(self.scratch))
    }

    fn finish(self, level: u32) -> Result<Run, ScratchError> {
        let error = scratch_error(self.scratch);
        let file = self.file.into_inner().map_err(|e| error(e.into_error()))?;
        Ok(Run { file, row_bytes_max: self.row_bytes_max, level })
    }
}

/// Sorts like the key, but for keys that differ only further on.
fn head_of(key: &[u8]) -> u128 {
    let mut head = [0; 16];
    let count = key.len().min(head.len());
    head[..count].copy_from_slice(&key[..count]);
    u128::from_be_bytes(head)
}

/// The order of rows that lie in `arena`.
fn by_row(arena: &[u8]) -> impl Fn(&Slot, &Slot) -> Ordering + Sync {
    |a, b| a.head.cmp(&b.head).then_with(|| split(arena, a).cmp(&split(arena, b)))
}

fn split<'a>(arena: &'a [u8], slot: &Slot) -> (&'a [u8], &'a [u8]) {
    arena[slot.start..slot.start + slot.row_bytes as usize].split_at(slot.key_bytes as usize)
}

/// A row taken out of the order.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// Rows in the order of their keys.
#[derive(Debug)]
pub(crate) enum SortedRows {
    /// Rows, and how many of them were taken.
    Memory {
        arena: Vec<u8>,
        slots: Vec<Slot>,
        taken: usize,
    },
    Disk(Box<Merge>),
}

impl SortedRows {
    /// Puts the next row into `row`; `false` at the end.
    pub(crate) fn next_into(&mut self, row: &mut Row) -> Result<bool, ScratchError> {
        match self {
            SortedRows::Memory { arena, slots, taken } => {
                let Some(slot) = slots.get(*taken) else { return Ok(false) };
                *taken += 1;
                let (key, payload) = split(arena, slot);
                row.key.clear();
                row.key.extend_from_slice(key);
                row.payload.clear();
                row.payload.extend_from_slice(payload);
                Ok(true)
            }
            SortedRows::Disk(merge) => merge.next_into(row),
        }
    }

    /// Begins anew with the first row.
    pub(crate) fn rewind(&mut self) -> Result<(), ScratchError> {
        match self {
            SortedRows::Memory { taken, .. } => *taken = 0,
            SortedRows::Disk(merge) => merge.rewind()?,
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Merge {
    scratch: PathBuf,
    /// With the length of their longest rows.
    runs: Vec<(BufReader<File>, usize)>,
    heap: BinaryHeap<Reverse<Head>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    row: Row,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.row.cmp(&other.row).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Merge {
    fn new(scratch: &Path, runs: Vec<Run>) -> Result<Merge, ScratchError> {
        let reader =
            |run: Run| (BufReader::with_capacity(RUN_BUFFER_BYTES, run.file), run.row_bytes_max);
        let runs = runs.into_iter().map(reader).collect();
        let mut merge = Merge { scratch: scratch.to_path_buf(), runs, heap: BinaryHeap::new() };
        merge.rewind()?;
        Ok(merge)
    }

    fn rewind(&mut self) -> Result<(), ScratchError> {
        self.heap.clear();
        for (run, reader) in self.runs.iter_mut().enumerate() {
            reader.0.rewind().map_err(scratch_error(&self.scratch))?;
            let mut row = Row::default();
            if read_row(reader, &mut row, &self.scratch)? {
                self.heap.push(Reverse(Head { row, run }));
            }
        }
        Ok(())
    }

    /// Puts the next row into `row`, whose memory is used again; `false` at the end.
    fn next_into(&mut self, row: &mut Row) -> Result<bool, ScratchError> {
        let Some(mut first) = self.heap.peek_mut() else { return Ok(false) };
        let Reverse(head) = &mut *first;
        std::mem::swap(row, &mut head.row);
        if !read_row(&mut self.runs[head.run], &mut head.row, &self.scratch)? {
            PeekMut::pop(first);
        }
        Ok(true)
    }
}

/// Reads the next row of a run whose longest has a known length; `false` at the end.
fn read_row(
    (reader, row_bytes_max): &mut (BufReader<File>, usize),
    row: &mut Row,
    scratch: &Path,
) -> Result<bool, ScratchError> {
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => ScratchError::Damaged,
        _ => scratch_error(scratch)(source),
    };
    let mut header = [0; 8];
    match reader.read(&mut header[..1]).map_err(error)? {
        0 => return Ok(false),
        _ => reader.read_exact(&mut header[1..]).map_err(error)?,
    }
    let [a, b, c, d, e, f, g, h] = header;
    let key_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
    let row_bytes = u32::from_le_bytes([e, f, g, h]) as usize;
    let payload_bytes = row_bytes.checked_sub(key_bytes).ok_or(ScratchError::Damaged)?;
    if row_bytes > *row_bytes_max {
        return Err(ScratchError::Damaged);
    }
    row.key.resize(key_bytes, 0);
    row.payload.resize(payload_bytes, 0);
    reader
        .read_exact(&mut row.key)
        .and_then(|()| reader.read_exact(&mut row.payload))
        .map_err(error)?;
    Ok(true)
}

/// Rows on their way to a [`Sorter`], collected by one worker without a lock.
#[derive(Debug, Default)]
pub(crate) struct RowBatch {
    bytes: Vec<u8>,
    lengths: Vec<(u32, u32)>,
}

impl RowBatch {
    /// Adds a row of `key` whose payload `fill` appends.
    pub(crate) fn push(&mut self, key: &[u8], fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        fill(&mut self.bytes);
        let row = self.bytes.len() - start;
        // A row holds parts of one document, which is below 17 MiB.
        self.lengths.push((
            u32::try_from(key.len()).unwrap_or(u32::MAX),
            u32::try_from(row).unwrap_or(u32::MAX),
        ));
    }

    fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.lengths.iter().map(move |&(key, row)| {
            let row = &self.bytes[start..start + row as usize];
            start += row.len();
            row.split_at(key as usize)
        })
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Removes all rows and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A run whose file holds `bytes`, and whose longest row should have 9.
    fn run_of(bytes: &[u8]) -> Result<Vec<Row>, ScratchError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let run = Run { file, row_bytes_max: 9, level: 0 };
        let mut merge = Merge::new(Path::new("."), vec![run])?;
        let mut rows = Vec::new();
        let mut row = Row::default();
        while merge.next_into(&mut row)? {
            rows.push(row.clone());
        }
        Ok(rows)
    }

    #[test]
    fn a_damaged_run_is_refused_and_asks_for_no_memory() {
        let header = |key: u32, row: u32| [key.to_le_bytes(), row.to_le_bytes()].concat();
        let whole = [&header(2, 9)[..], b"keypayload"].concat();
        let rows = run_of(&whole[..8 + 9]).unwrap();
        assert_eq!(rows, [Row { key: b"ke".to_vec(), payload: b"ypayloa".to_vec() }]);
        for end in 1..8 + 9 {
            assert!(matches!(run_of(&whole[..end]), Err(ScratchError::Damaged)), "{end}");
        }
        for (key, row) in [(3, 2), (u32::MAX, 9), (0, 10), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            let damaged = [&header(key, row)[..], &[0; 64]].concat();
            assert!(matches!(run_of(&damaged), Err(ScratchError::Damaged)), "{key} {row}");
        }
    }

    #[test]
    fn long_rows_are_merged_few_at_once() {
        let scratch = tempfile::tempdir().unwrap();
        for (row_bytes, fan) in [(10_000, FAN_MIN), (100, 10), (1, FAN_MAX)] {
            let mut sorter = Sorter::new(scratch.path(), 1000);
            for _ in 0..3000 {
                sorter.push(&vec![0; row_bytes], &[]).unwrap();
                assert!(sorter.runs.len() <= fan * 8);
            }
            let SortedRows::Disk(merge) = sorter.finish().unwrap() else { panic!("in memory") };
            assert!(merge.runs.len() <= fan, "{} runs of {row_bytes}", merge.runs.len());
        }
    }

    proptest! {
        #[test]
        fn rows_come_out_in_order_whatever_memory_they_had(
            rows in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..4), proptest::collection::vec(any::<u8>(), 0..9)),
                0..200,
            ),
            memory_bytes_max in 1_usize..4000,
            taken in any::<usize>(),
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(scratch.path(), memory_bytes_max);
            for (key, payload) in &rows {
                sorter.push(key, payload).unwrap();
            }
            let mut sorted = sorter.finish().unwrap();
            let mut expected = rows;
            expected.sort();
            let mut row = Row::default();
            for taken in [taken % (expected.len() + 1), expected.len()] {
                let mut seen = Vec::new();
                for _ in 0..taken {
                    prop_assert!(sorted.next_into(&mut row).unwrap());
                    seen.push((row.key.clone(), row.payload.clone()));
                }
                prop_assert_eq!(&seen[..], &expected[..taken]);
                if taken == expected.len() {
                    prop_assert!(!sorted.next_into(&mut row).unwrap());
                }
                sorted.rewind().unwrap();
            }
        }
    }
}

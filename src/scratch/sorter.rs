//! Sorting rows of any number in bounded memory: sorted runs on disk, merged while reading.
//!
//! A row is a key and a payload, both bytes; rows come out in the order of their keys, and rows of equal
//! keys in the order of their payloads, so the result never depends on which worker was first.

use super::{ScratchError, scratch_error, scratch_file};
use rayon::slice::ParallelSliceMut;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Most runs on disk: beyond it they are merged into one, so that open files and buffers are bounded.
const RUNS_MAX: usize = 64;
/// Read buffer of a run while merging.
const RUN_BUFFER_BYTES: usize = 64 * 1024;
/// Bookkeeping of a row in memory.
const ROW_OVERHEAD_BYTES: usize = size_of::<Slot>();

#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
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
    runs: Vec<File>,
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
        let arena = &self.arena;
        self.slots.sort_unstable_by(|a, b| split(arena, a).cmp(&split(arena, b)));
    }

    fn spill(&mut self) -> Result<(), ScratchError> {
        if self.runs.len() >= RUNS_MAX {
            let mut merge = Merge::new(&self.scratch, std::mem::take(&mut self.runs))?;
            let mut run = RunWriter::create(&self.scratch)?;
            while let Some(row) = merge.next()? {
                run.write(&row.key, &row.payload)?;
            }
            self.runs.push(run.finish()?);
        }
        self.sort();
        let mut run = RunWriter::create(&self.scratch)?;
        for slot in &self.slots {
            let (key, payload) = split(&self.arena, slot);
            run.write(key, payload)?;
        }
        self.runs.push(run.finish()?);
        self.arena.clear();
        self.slots.clear();
        Ok(())
    }

    /// The rows in order, sorted by all threads of the pool that this runs on. Not to be called with a lock
    /// held that others on the pool may want: a thread that waits here takes up their work.
    pub(crate) fn finish_on_all_threads(mut self) -> Result<SortedRows, ScratchError> {
        let arena = &self.arena;
        self.slots.par_sort_unstable_by(|a, b| split(arena, a).cmp(&split(arena, b)));
        self.finish()
    }

    /// The rows in order.
    pub(crate) fn finish(mut self) -> Result<SortedRows, ScratchError> {
        if self.runs.is_empty() {
            self.sort();
            return Ok(SortedRows::Memory { arena: self.arena, slots: self.slots, taken: 0 });
        }
        self.spill()?;
        Ok(SortedRows::Disk(Box::new(Merge::new(&self.scratch, self.runs)?)))
    }
}

/// A sorted run on its way to disk: for each row the lengths of its key and of all of it (4 bytes each,
/// little-endian), then the row.
struct RunWriter<'a> {
    scratch: &'a Path,
    file: BufWriter<File>,
}

impl RunWriter<'_> {
    fn create(scratch: &Path) -> Result<RunWriter<'_>, ScratchError> {
        let file = BufWriter::with_capacity(RUN_BUFFER_BYTES, scratch_file(scratch)?);
        Ok(RunWriter { scratch, file })
    }

    fn write(&mut self, key: &[u8], payload: &[u8]) -> Result<(), ScratchError> {
        let too_long = |_| ScratchError::RowTooLong;
        let key_bytes = u32::try_from(key.len()).map_err(too_long)?;
        let row_bytes = u32::try_from(key.len() + payload.len()).map_err(too_long)?;
        self.file
            .write_all(&key_bytes.to_le_bytes())
            .and_then(|()| self.file.write_all(&row_bytes.to_le_bytes()))
            .and_then(|()| self.file.write_all(key))
            .and_then(|()| self.file.write_all(payload))
            .map_err(scratch_error(self.scratch))
    }

    fn finish(self) -> Result<File, ScratchError> {
        let error = scratch_error(self.scratch);
        self.file.into_inner().map_err(|e| error(e.into_error()))
    }
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
            SortedRows::Disk(merge) => match merge.next()? {
                Some(next) => {
                    *row = next;
                    Ok(true)
                }
                None => Ok(false),
            },
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
    runs: Vec<BufReader<File>>,
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
    fn new(scratch: &Path, runs: Vec<File>) -> Result<Merge, ScratchError> {
        let runs = runs.into_iter().map(|file| BufReader::with_capacity(RUN_BUFFER_BYTES, file));
        let mut merge =
            Merge { scratch: scratch.to_path_buf(), runs: runs.collect(), heap: BinaryHeap::new() };
        merge.rewind()?;
        Ok(merge)
    }

    fn rewind(&mut self) -> Result<(), ScratchError> {
        self.heap.clear();
        for run in 0..self.runs.len() {
            self.runs[run].rewind().map_err(scratch_error(&self.scratch))?;
            self.refill(run)?;
        }
        Ok(())
    }

    fn refill(&mut self, run: usize) -> Result<(), ScratchError> {
        let error = scratch_error(&self.scratch);
        let reader = &mut self.runs[run];
        let mut header = [0; 8];
        match reader.read(&mut header[..1]).map_err(&error)? {
            0 => return Ok(()),
            _ => reader.read_exact(&mut header[1..]).map_err(&error)?,
        }
        let [a, b, c, d, e, f, g, h] = header;
        let key_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        let row_bytes = u32::from_le_bytes([e, f, g, h]) as usize;
        let mut row = Row { key: vec![0; key_bytes], payload: vec![0; row_bytes - key_bytes] };
        reader
            .read_exact(&mut row.key)
            .and_then(|()| reader.read_exact(&mut row.payload))
            .map_err(&error)?;
        self.heap.push(Reverse(Head { row, run }));
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Row>, ScratchError> {
        let Some(Reverse(head)) = self.heap.pop() else { return Ok(None) };
        self.refill(head.run)?;
        Ok(Some(head.row))
    }
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

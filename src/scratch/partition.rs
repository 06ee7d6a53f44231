//! Records of a fixed size, spread over partitions by fingerprint, in memory and then on disk.
//!
//! A partition holds all records of its fingerprints, so equal ones meet inside one partition, which
//! fits the cache. Memory is bounded: blocks beyond the store's share go to a scratch file that has no
//! name. The order inside a partition is not defined; readers sort.

use super::{ScratchError, scratch_error, scratch_file};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Number of partitions; the top byte of a fingerprint names its own.
pub(crate) const PARTITIONS: usize = 256;

/// Bytes of a block, about. A writer holds at most one block a partition.
const BLOCK_BYTES: usize = 3 * 1024;

/// A record of `N` bytes; its first byte is the partition.
pub(crate) type Record<const N: usize> = [u8; N];

/// The shared store.
#[derive(Debug)]
pub(crate) struct Partitions<const N: usize> {
    scratch: PathBuf,
    memory_bytes_max: usize,
    state: Mutex<State<N>>,
}

#[derive(Debug)]
struct State<const N: usize> {
    blocks: Vec<Vec<Vec<Record<N>>>>,
    memory_bytes: usize,
    spill: Option<Spill>,
}

#[derive(Debug)]
struct Spill {
    file: File,
    end: u64,
    /// Offset and record count of each block, by partition.
    extents: Vec<Vec<(u64, u32)>>,
}

impl<const N: usize> Partitions<N> {
    const BLOCK_RECORDS: usize = BLOCK_BYTES / N;

    /// An empty store that keeps up to `memory_bytes_max` in memory and the rest in a file in `scratch`.
    pub(crate) fn new(scratch: &Path, memory_bytes_max: usize) -> Partitions<N> {
        Partitions {
            scratch: scratch.to_path_buf(),
            memory_bytes_max,
            state: Mutex::new(State {
                blocks: vec![Vec::new(); PARTITIONS],
                memory_bytes: 0,
                spill: None,
            }),
        }
    }

    /// A writer for one worker.
    pub(crate) fn writer(&self) -> PartitionWriter<'_, N> {
        PartitionWriter { store: self, open: vec![Vec::new(); PARTITIONS] }
    }

    fn accept(&self, partition: usize, block: Vec<Record<N>>) -> Result<(), ScratchError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = block.capacity() * N;
        if state.memory_bytes + bytes <= self.memory_bytes_max {
            state.memory_bytes += bytes;
            state.blocks[partition].push(block);
            return Ok(());
        }
        if state.spill.is_none() {
            let file = scratch_file(&self.scratch)?;
            state.spill = Some(Spill { file, end: 0, extents: vec![Vec::new(); PARTITIONS] });
        }
        let Some(spill) = state.spill.as_mut() else { return Ok(()) };
        let flat = block.as_flattened();
        spill.file.write_all_at(flat, spill.end).map_err(scratch_error(&self.scratch))?;
        let records = u32::try_from(block.len()).unwrap_or(u32::MAX);
        spill.extents[partition].push((spill.end, records));
        spill.end += flat.len() as u64;
        Ok(())
    }

    /// Takes one partition's records out of memory and disk.
    pub(crate) fn take(&self, partition: usize) -> Result<Vec<Record<N>>, ScratchError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = std::mem::take(&mut state.blocks[partition]);
        let spilled = match &mut state.spill {
            Some(spill) => {
                let file = spill.file.try_clone().map_err(scratch_error(&self.scratch))?;
                Some((file, std::mem::take(&mut spill.extents[partition])))
            }
            None => None,
        };
        drop(state);
        let mut records = blocks.concat();
        drop(blocks);
        if let Some((file, extents)) = spilled {
            for (offset, count) in extents {
                let start = records.len();
                records.resize(start + count as usize, [0; N]);
                file.read_exact_at(records[start..].as_flattened_mut(), offset)
                    .map_err(scratch_error(&self.scratch))?;
            }
        }
        Ok(records)
    }
}

/// One worker's open blocks.
#[derive(Debug)]
pub(crate) struct PartitionWriter<'a, const N: usize> {
    store: &'a Partitions<N>,
    open: Vec<Vec<Record<N>>>,
}

impl<const N: usize> PartitionWriter<'_, N> {
    /// Adds a record to the partition that its first byte names.
    #[inline]
    pub(crate) fn push(&mut self, record: Record<N>) -> Result<(), ScratchError> {
        let partition = usize::from(record[0]);
        let block = &mut self.open[partition];
        if block.capacity() == 0 {
            block.reserve_exact(Partitions::<N>::BLOCK_RECORDS);
        }
        block.push(record);
        if block.len() == Partitions::<N>::BLOCK_RECORDS {
            let full = std::mem::take(block);
            self.store.accept(partition, full)?;
        }
        Ok(())
    }

    /// Hands over what is left.
    pub(crate) fn finish(self) -> Result<(), ScratchError> {
        for (partition, mut block) in self.open.into_iter().enumerate() {
            if !block.is_empty() {
                block.shrink_to_fit();
                self.store.accept(partition, block)?;
            }
        }
        Ok(())
    }
}

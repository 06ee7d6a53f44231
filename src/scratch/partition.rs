//! Records spread over parts, in memory and then on disk.
//!
//! What belongs together goes to one part, so that a part can be worked on by itself and in the cache.
//! Memory is bounded: blocks beyond the store's share go to a scratch file that has no name. The order
//! inside a part is not defined; readers sort.

use super::{ScratchError, scratch_error, scratch_file};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of records that are spread by a byte of a fingerprint.
pub(crate) const BYTE_PARTS: usize = 256;

/// Bytes of a block, about. A writer holds at most one block a part.
const BLOCK_BYTES: usize = 3 * 1024;

/// The shared store.
#[derive(Debug)]
pub(crate) struct Partitions {
    scratch: PathBuf,
    parts: usize,
    memory_bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    blocks: Vec<Vec<Vec<u8>>>,
    memory_bytes: usize,
    spill: Option<Spill>,
}

#[derive(Debug)]
struct Spill {
    file: File,
    end: u64,
    /// Offset and length of each block, by part.
    extents: Vec<Vec<(u64, usize)>>,
}

impl Partitions {
    /// An empty store of `parts` that keeps up to `memory_bytes_max` in memory and the rest in a file in
    /// `scratch`.
    pub(crate) fn new(scratch: &Path, parts: usize, memory_bytes_max: usize) -> Partitions {
        Partitions {
            scratch: scratch.to_path_buf(),
            parts,
            memory_bytes_max,
            state: Mutex::new(State {
                blocks: vec![Vec::new(); parts],
                memory_bytes: 0,
                spill: None,
            }),
        }
    }

    /// How many parts there are.
    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    /// A writer for one worker.
    pub(crate) fn writer(&self) -> PartitionWriter<'_> {
        PartitionWriter { store: self, open: vec![Vec::new(); self.parts] }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, part: usize, block: Vec<u8>) -> Result<(), ScratchError> {
        let mut state = self.state();
        if state.memory_bytes + block.capacity() <= self.memory_bytes_max {
            state.memory_bytes += block.capacity();
            state.blocks[part].push(block);
            return Ok(());
        }
        if state.spill.is_none() {
            let file = scratch_file(&self.scratch)?;
            state.spill = Some(Spill { file, end: 0, extents: vec![Vec::new(); self.parts] });
        }
        let Some(spill) = state.spill.as_mut() else { return Ok(()) };
        spill.file.write_all_at(&block, spill.end).map_err(scratch_error(&self.scratch))?;
        spill.extents[part].push((spill.end, block.len()));
        spill.end += block.len() as u64;
        Ok(())
    }

    /// Bytes in a part.
    pub(crate) fn bytes_in(&self, part: usize) -> usize {
        let state = self.state();
        let in_memory: usize = state.blocks[part].iter().map(Vec::len).sum();
        let extents = state.spill.as_ref().map(|spill| &spill.extents[part]);
        in_memory + extents.map_or(0, |extents| extents.iter().map(|(_, length)| length).sum())
    }

    /// Takes one part out; what of it is on disk is read from there when it is wanted.
    pub(crate) fn take_part(&self, part: usize) -> Result<TakenPart, ScratchError> {
        let mut state = self.state();
        let blocks = std::mem::take(&mut state.blocks[part]);
        state.memory_bytes -= blocks.iter().map(Vec::capacity).sum::<usize>();
        let (mut file, mut extents) = (None, Vec::new());
        if let Some(spill) = &mut state.spill {
            file = Some(spill.file.try_clone().map_err(scratch_error(&self.scratch))?);
            extents = std::mem::take(&mut spill.extents[part]);
        }
        Ok(TakenPart { scratch: self.scratch.clone(), blocks, file, extents })
    }

    /// Takes all of one part.
    pub(crate) fn take(&self, part: usize) -> Result<Vec<u8>, ScratchError> {
        Ok(self.take_part(part)?.load()?.concat())
    }
}

/// A part in the blocks in which it was written; none splits a record.
#[derive(Debug)]
pub(crate) struct TakenPart {
    scratch: PathBuf,
    blocks: Vec<Vec<u8>>,
    file: Option<File>,
    extents: Vec<(u64, usize)>,
}

impl TakenPart {
    /// Bytes in all blocks.
    pub(crate) fn bytes(&self) -> usize {
        let on_disk = self.extents.iter().map(|(_, length)| length);
        self.blocks.iter().map(Vec::len).chain(on_disk.copied()).sum()
    }

    /// Hands on one block after another, without more than one from disk in memory.
    pub(crate) fn each_block<E: From<ScratchError>>(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.blocks.iter().try_for_each(|block| each(block))?;
        let mut block = Vec::new();
        for extent in &self.extents {
            self.read(extent, &mut block)?;
            each(&block)?;
        }
        Ok(())
    }

    /// All blocks in memory.
    pub(crate) fn load(mut self) -> Result<Vec<Vec<u8>>, ScratchError> {
        let mut blocks = std::mem::take(&mut self.blocks);
        for extent in &self.extents {
            let mut block = Vec::new();
            self.read(extent, &mut block)?;
            blocks.push(block);
        }
        Ok(blocks)
    }

    fn read(&self, extent: &(u64, usize), block: &mut Vec<u8>) -> Result<(), ScratchError> {
        let (offset, length) = *extent;
        let file = self.file.as_ref().ok_or(ScratchError::Damaged)?;
        block.resize(length, 0);
        file.read_exact_at(block, offset).map_err(scratch_error(&self.scratch))
    }
}

/// One worker's open blocks.
#[derive(Debug)]
pub(crate) struct PartitionWriter<'a> {
    store: &'a Partitions,
    open: Vec<Vec<u8>>,
}

impl PartitionWriter<'_> {
    /// Adds a record to a part.
    #[inline]
    pub(crate) fn push(&mut self, part: usize, record: &[u8]) -> Result<(), ScratchError> {
        let block = &self.open[part];
        if block.capacity() - block.len() < record.len() {
            self.begin_block(part, record.len())?;
        }
        self.open[part].extend_from_slice(record);
        Ok(())
    }

    #[cold]
    fn begin_block(&mut self, part: usize, record_bytes: usize) -> Result<(), ScratchError> {
        let next = Vec::with_capacity(BLOCK_BYTES.max(record_bytes));
        let full = std::mem::replace(&mut self.open[part], next);
        if full.is_empty() { Ok(()) } else { self.store.accept(part, full) }
    }

    /// Hands over what is left.
    pub(crate) fn finish(self) -> Result<(), ScratchError> {
        for (part, mut block) in self.open.into_iter().enumerate() {
            if !block.is_empty() {
                block.shrink_to_fit();
                self.store.accept(part, block)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_same_block_by_block_and_loaded_wherever_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        for memory_bytes_max in [0, 2 * BLOCK_BYTES, usize::MAX] {
            let read = |by_block: bool| {
                let store = Partitions::new(scratch.path(), 2, memory_bytes_max);
                let mut writer = store.writer();
                for number in 0..5000_u32 {
                    let part = usize::from(number.is_multiple_of(3));
                    writer.push(part, &number.to_be_bytes()).unwrap();
                }
                writer.finish().unwrap();
                let part = store.take_part(1).unwrap();
                assert_eq!((part.bytes(), store.bytes_in(1)), (1667 * 4, 0));
                let mut bytes = Vec::new();
                match by_block {
                    true => {
                        let append = |block: &[u8]| {
                            bytes.extend(block);
                            Ok::<(), ScratchError>(())
                        };
                        part.each_block(append).unwrap();
                    }
                    false => bytes = part.load().unwrap().concat(),
                }
                bytes
            };
            let numbers = |bytes: &[u8]| -> Vec<u32> {
                bytes.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number)).collect()
            };
            let mut seen = numbers(&read(true));
            assert_eq!(seen, numbers(&read(false)));
            seen.sort_unstable();
            assert_eq!(seen, Vec::from_iter((0..5000).step_by(3)));
        }
    }
}

//! Bytes that wait for their turn: written once, read once, in memory and then on disk.

use super::{ScratchError, scratch_error, scratch_file};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Bytes read back at once.
const READ_BYTES: usize = 256 * 1024;

/// See the module. What went to disk stands before what is in memory.
#[derive(Debug)]
pub(crate) struct Spool {
    scratch: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    /// An empty spool; its file goes to `scratch`.
    pub(crate) fn new(scratch: &Path) -> Spool {
        Spool { scratch: scratch.to_path_buf(), memory: Vec::new(), file: None }
    }

    /// Adds bytes, in memory.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.len()
    }

    /// Moves what is in memory to disk.
    pub(crate) fn spill(&mut self) -> Result<(), ScratchError> {
        if self.memory.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(scratch_file(&self.scratch)?),
        };
        file.write_all(&self.memory).map_err(scratch_error(&self.scratch))?;
        self.memory.clear();
        Ok(())
    }

    /// Hands on all bytes, in pieces.
    pub(crate) fn drain<E: From<ScratchError>>(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(mut file) = self.file.take() {
            let error = scratch_error(&self.scratch);
            file.rewind().map_err(&error)?;
            let mut piece = vec![0; READ_BYTES];
            loop {
                let count = file.read(&mut piece).map_err(&error)?;
                if count == 0 {
                    break;
                }
                each(&piece[..count])?;
            }
        }
        each(&std::mem::take(&mut self.memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_in_order_wherever_they_waited() {
        let scratch = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(scratch.path());
        for (bytes, is_spilled) in [("on disk, ", true), ("this too, ", true), ("in memory", false)]
        {
            spool.push(bytes.as_bytes());
            if is_spilled {
                spool.spill().unwrap();
            }
        }
        let mut seen = Vec::new();
        let drained: Result<(), ScratchError> = spool.drain(|piece| {
            seen.extend_from_slice(piece);
            Ok(())
        });
        drained.unwrap();
        assert_eq!(seen, b"on disk, this too, in memory");
    }
}

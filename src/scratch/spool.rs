//! Bytes that wait for their turn: written once, read once, compressed in memory and then on disk.

use super::{ScratchError, scratch_error, scratch_file};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use zstd::stream::{read::Decoder, write::Encoder};

/// Bytes read back at once.
const READ_BYTES: usize = 256 * 1024;
/// The fastest of Zstandard's usual levels: what waits here is text that repeats itself.
const LEVEL: i32 = 1;
/// How far back repetitions are looked for, as a power of two: 128 KiB keep an encoder below 1 MiB.
const WINDOW_LOG: u32 = 17;

/// See the module. What went to disk stands before what is in memory.
pub(crate) struct Spool {
    scratch: PathBuf,
    memory: Option<Encoder<'static, Vec<u8>>>,
    file: Option<File>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("memory_bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
}

impl Spool {
    /// An empty spool; its file goes to `scratch`.
    pub(crate) fn new(scratch: &Path) -> Spool {
        Spool { scratch: scratch.to_path_buf(), memory: None, file: None }
    }

    fn error(&self) -> impl Fn(io::Error) -> ScratchError + use<> {
        scratch_error(&self.scratch)
    }

    /// Adds bytes, in memory.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), ScratchError> {
        let error = self.error();
        let encoder = match &mut self.memory {
            Some(encoder) => encoder,
            None => self.memory.insert(encoder().map_err(&error)?),
        };
        encoder.write_all(bytes).map_err(error)
    }

    /// Bytes in memory, compressed.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, |encoder| encoder.get_ref().capacity())
    }

    /// Ends what is in memory and takes it out.
    fn take_memory(&mut self) -> Result<Vec<u8>, ScratchError> {
        match self.memory.take() {
            Some(encoder) => encoder.finish().map_err(self.error()),
            None => Ok(Vec::new()),
        }
    }

    /// Moves what is in memory to disk.
    pub(crate) fn spill(&mut self) -> Result<(), ScratchError> {
        let memory = self.take_memory()?;
        if memory.is_empty() {
            return Ok(());
        }
        let error = self.error();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(scratch_file(&self.scratch)?),
        };
        file.write_all(&memory).map_err(error)
    }

    /// Hands on all bytes, in pieces.
    pub(crate) fn drain<E: From<ScratchError>>(
        &mut self,
        each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let error = self.error();
        let memory = Cursor::new(self.take_memory()?);
        match self.file.take() {
            Some(mut file) => {
                file.rewind().map_err(&error)?;
                read_all(file.chain(memory), &error, each)
            }
            None if memory.get_ref().is_empty() => Ok(()),
            None => read_all(memory, &error, each),
        }
    }
}

fn encoder() -> io::Result<Encoder<'static, Vec<u8>>> {
    let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    Ok(encoder)
}

/// Hands on what `source` unpacks to, in pieces.
fn read_all<E: From<ScratchError>>(
    source: impl Read,
    error: impl Fn(io::Error) -> ScratchError,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut decoder = Decoder::new(source).map_err(&error)?;
    let mut piece = vec![0; READ_BYTES];
    loop {
        match decoder.read(&mut piece).map_err(&error)? {
            0 => return Ok(()),
            count => each(&piece[..count])?,
        }
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
            spool.push(bytes.as_bytes()).unwrap();
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

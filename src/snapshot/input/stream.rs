//! The bytes of a file after decompression, whichever way they are stored.
//!
//! Owns the recognition of gzip by its first bytes, the bounds on decompression, and the end of the
//! stream. It never knows what the bytes are.

use super::error::{GzipFault, InputError, Place};
use super::stored::{StoredFile, StoredReader, wide};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The ratio is judged from here on: less could be one repetitive document.
const RATIO_JUDGED_FROM_BYTES: u64 = 8 * 1024 * 1024;

/// How far compressed data may grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct InflateLimits {
    pub(super) bytes_max: u64,
    pub(super) ratio_max: u32,
}

/// A file and how its bytes are stored.
#[derive(Debug, Clone)]
pub(super) struct StreamFile {
    pub(super) stored: StoredFile,
    pub(super) gzip: bool,
    limits: InflateLimits,
}

impl StreamFile {
    /// Looks at the first bytes of `stored`.
    pub(super) fn recognise(
        stored: StoredFile,
        limits: InflateLimits,
    ) -> Result<StreamFile, InputError> {
        let mut plain = StreamFile { stored, gzip: false, limits };
        let mut magic = [0; 2];
        let count = plain.open()?.fill(&mut magic)?;
        plain.gzip = count == magic.len() && magic == GZIP_MAGIC;
        Ok(plain)
    }

    /// The first bytes after decompression, at most as many as `into` holds.
    pub(super) fn peek(&self, into: &mut [u8]) -> Result<usize, InputError> {
        self.open()?.fill(into)
    }

    /// A fresh pass.
    pub(super) fn open(&self) -> Result<Stream, InputError> {
        let reader = self.stored.open()?;
        Ok(Stream {
            path: Arc::clone(&self.stored.path),
            source: if self.gzip {
                Source::Gzip(Box::new(MultiGzDecoder::new(reader)))
            } else {
                Source::Plain(reader)
            },
            limits: self.limits,
            position: 0,
        })
    }
}

/// One pass over a file's decompressed bytes.
#[derive(Debug)]
pub(super) struct Stream {
    path: Arc<Path>,
    source: Source,
    limits: InflateLimits,
    position: u64,
}

#[derive(Debug)]
enum Source {
    Plain(StoredReader),
    Gzip(Box<MultiGzDecoder<StoredReader>>),
}

impl Stream {
    /// The file.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether offsets count in a decompressed stream.
    pub(super) fn is_inflated(&self) -> bool {
        matches!(self.source, Source::Gzip(_))
    }

    /// Bytes handed on.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the file used for that.
    pub(super) fn stored_position(&self) -> u64 {
        match &self.source {
            Source::Plain(reader) => reader.position(),
            Source::Gzip(decoder) => decoder.get_ref().position(),
        }
    }

    /// A byte of this stream, for an error.
    pub(super) fn place(&self, offset: u64) -> Place {
        Place { file: self.path.to_path_buf(), offset, inflated: self.is_inflated() }
    }

    /// Fills `into`, or as much of it as is left; less than all means the end, which for gzip has
    /// then been checked.
    pub(super) fn fill(&mut self, into: &mut [u8]) -> Result<usize, InputError> {
        let mut filled = 0;
        while filled < into.len() {
            let count = match &mut self.source {
                Source::Plain(reader) => reader.read(&mut into[filled..]),
                Source::Gzip(decoder) => decoder.read(&mut into[filled..]),
            };
            match count {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    self.position += wide(count);
                    self.judge()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.explain(&error)),
            }
        }
        Ok(filled)
    }

    fn judge(&self) -> Result<(), InputError> {
        if !self.is_inflated() {
            return Ok(());
        }
        if self.position > self.limits.bytes_max {
            return Err(InputError::InflatedBytes {
                file: self.path.to_path_buf(),
                bytes_max: self.limits.bytes_max,
            });
        }
        let stored = self.stored_position();
        let plausible = stored.saturating_mul(u64::from(self.limits.ratio_max));
        if self.position > RATIO_JUDGED_FROM_BYTES && self.position > plausible {
            return Err(InputError::InflateRatio {
                file: self.path.to_path_buf(),
                stored,
                inflated: self.position,
                ratio_max: self.limits.ratio_max,
            });
        }
        Ok(())
    }

    fn explain(&mut self, error: &io::Error) -> InputError {
        let fault = match &mut self.source {
            Source::Plain(reader) => reader.take_fault(),
            Source::Gzip(decoder) => decoder.get_mut().take_fault(),
        };
        fault.unwrap_or_else(|| InputError::Gzip {
            file: self.path.to_path_buf(),
            stored_offset: self.stored_position(),
            fault: match error.kind() {
                io::ErrorKind::UnexpectedEof => GzipFault::Cut,
                _ => GzipFault::Damaged,
            },
        })
    }
}

//! The bytes of a file after decompression, whichever way they are stored.
//!
//! Owns the recognition of gzip and Zstandard by their first bytes, the bounds on decompression, and the end of the
//! stream. It never knows what the bytes are.

use super::error::{CompressedFault, InputError, Place};
use super::stored::{StoredFile, StoredReader, wide};
use flate2::bufread::MultiGzDecoder;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// RFC 8878, 3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A frame that wants a larger window is refused: 8 MiB, which RFC 8878 recommends decoders to accept.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The ratio is judged from here on: less could be one repetitive document.
const RATIO_JUDGED_FROM_BYTES: u64 = 8 * 1024 * 1024;

/// How far compressed data may grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct InflateLimits {
    pub(super) bytes_max: u64,
    pub(super) ratio_max: u32,
}

/// How a file's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As they are.
    Plain,
    /// As gzip members.
    Gzip,
    /// As Zstandard frames.
    Zstd,
}

impl Packing {
    fn of(head: &[u8]) -> Packing {
        if head.starts_with(&ZSTD_MAGIC) {
            Packing::Zstd
        } else if head.starts_with(&GZIP_MAGIC) {
            Packing::Gzip
        } else {
            Packing::Plain
        }
    }
}

/// A file and how its bytes are stored.
#[derive(Debug, Clone)]
pub(super) struct StreamFile {
    pub(super) stored: StoredFile,
    pub(super) packing: Packing,
    limits: InflateLimits,
}

impl StreamFile {
    /// Looks at the first bytes of `stored`.
    pub(super) fn recognise(
        stored: StoredFile,
        limits: InflateLimits,
    ) -> Result<StreamFile, InputError> {
        let plain = StreamFile { stored, packing: Packing::Plain, limits };
        let mut head = [0; ZSTD_MAGIC.len()];
        let count = plain.peek(&mut head)?;
        Ok(StreamFile { packing: Packing::of(&head[..count]), ..plain })
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
            source: match self.packing {
                Packing::Plain => Source::Plain(reader),
                Packing::Gzip => Source::Gzip(Box::new(MultiGzDecoder::new(reader))),
                Packing::Zstd => Source::Zstd(zstd_decoder(reader).map_err(|kind| {
                    InputError::Unreadable { file: self.stored.path.to_path_buf(), kind }
                })?),
            },
            limits: self.limits,
            position: 0,
        })
    }
}

type ZstdDecoder = zstd::Decoder<'static, StoredReader>;

/// A decoder with a bounded window; it fails only for want of memory.
fn zstd_decoder(reader: StoredReader) -> Result<Box<ZstdDecoder>, io::ErrorKind> {
    let mut decoder = ZstdDecoder::with_buffer(reader).map_err(|error| error.kind())?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| error.kind())?;
    Ok(Box::new(decoder))
}

/// One pass over a file's decompressed bytes.
#[derive(Debug)]
pub(super) struct Stream {
    path: Arc<Path>,
    source: Source,
    limits: InflateLimits,
    position: u64,
}

enum Source {
    Plain(StoredReader),
    Gzip(Box<MultiGzDecoder<StoredReader>>),
    Zstd(Box<ZstdDecoder>),
}

impl Source {
    fn reader(&self) -> &StoredReader {
        match self {
            Source::Plain(reader) => reader,
            Source::Gzip(decoder) => decoder.get_ref(),
            Source::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn reader_mut(&mut self) -> &mut StoredReader {
        match self {
            Source::Plain(reader) => reader,
            Source::Gzip(decoder) => decoder.get_mut(),
            Source::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// The form in words; empty when not compressed.
    fn form(&self) -> &'static str {
        match self {
            Source::Plain(_) => "",
            Source::Gzip(_) => "gzip",
            Source::Zstd(_) => "Zstandard",
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.form()).field(self.reader()).finish()
    }
}

impl Stream {
    /// The file.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether offsets count in a decompressed stream.
    pub(super) fn is_inflated(&self) -> bool {
        !matches!(self.source, Source::Plain(_))
    }

    /// Bytes handed on.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the file used for that.
    pub(super) fn stored_position(&self) -> u64 {
        self.source.reader().position()
    }

    /// A byte of this stream, for an error.
    pub(super) fn place(&self, offset: u64) -> Place {
        Place { file: self.path.to_path_buf(), offset, inflated: self.is_inflated() }
    }

    /// Fills `into`, or as much of it as is left; less than all means the end, which in
    /// compressed data has then been checked.
    pub(super) fn fill(&mut self, into: &mut [u8]) -> Result<usize, InputError> {
        let mut filled = 0;
        while filled < into.len() {
            let count = match &mut self.source {
                Source::Plain(reader) => reader.read(&mut into[filled..]),
                Source::Gzip(decoder) => decoder.read(&mut into[filled..]),
                Source::Zstd(decoder) => decoder.read(&mut into[filled..]),
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
        let form = self.source.form();
        let fault = self.source.reader_mut().take_fault();
        fault.unwrap_or_else(|| InputError::Compressed {
            file: self.path.to_path_buf(),
            stored_offset: self.stored_position(),
            fault: match error.kind() {
                io::ErrorKind::UnexpectedEof => CompressedFault::Cut(form),
                _ => CompressedFault::Damaged(form),
            },
        })
    }
}

//! Chunks: whole documents in pieces of a size fit for one worker.
//!
//! Owns the rule by which a collection is cut, which depends on the documents alone, so that every
//! form of a dump gives the same chunks: from the collection's first document on, a chunk is the
//! fewest whole documents that total at least [`CHUNK_BYTES_MIN`]; the last may be smaller. Only the
//! outer frames are checked. It never walks inside a document.

use super::again::KnownChunk;
use super::archive::ArchiveReader;
use super::error::{FrameFault, InputError, Place};
use super::stored::wide;
use super::stream::Stream;
use crate::document::{DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MIN, Fault, document_length};
use std::path::Path;
use std::sync::Arc;

/// Fewest bytes of a chunk that is not a collection's last.
pub use crate::snapshot::identity::CHUNK_BYTES_MIN;

/// This part of the least size is read beyond it (16 KiB of 512), so that the document that ends a
/// chunk is mostly there at once. What is left over is copied to the next chunk.
const READ_AHEAD_PART: usize = 32;

/// Whole documents, one after another. Reused: reading the next chunk into it allocates nothing new
/// unless that one is larger than any before.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Its number in the collection, from 0.
    pub index: u64,
    /// Number in the collection, from 0, of its first document.
    pub first_document: u64,
    /// Documents in it.
    pub documents: usize,
    /// Where its first byte stands when all documents of the collection are laid one after another.
    pub offset: u64,
    file: Arc<Path>,
    inflated: bool,
    /// Stretches that lie together in the file, by where they begin in the chunk.
    runs: Vec<Run>,
    buffer: Vec<u8>,
    length: usize,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    at: usize,
    offset: u64,
}

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk {
            index: 0,
            first_document: 0,
            documents: 0,
            offset: 0,
            file: Arc::from(Path::new("")),
            inflated: false,
            runs: Vec::new(),
            buffer: Vec::new(),
            length: 0,
        }
    }
}

impl Chunk {
    /// The documents.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Where each document begins in [`Chunk::bytes`], and its bytes. Their frames were checked when the
    /// chunk was read.
    pub fn framed(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.framed_from(0)
    }

    /// The documents from the one on that begins at byte `at`.
    pub(crate) fn framed_from(&self, mut at: usize) -> impl Iterator<Item = (usize, &[u8])> {
        std::iter::from_fn(move || {
            let rest = self.bytes().get(at..)?;
            let document = rest.get(..document_length(rest).ok()??)?;
            at += document.len();
            Some((at - document.len(), document))
        })
    }

    /// Where the document byte at `at` of [`Chunk::bytes`] stands in the file, or in its decompressed
    /// stream when it is gzip.
    #[must_use]
    pub fn location(&self, at: usize) -> u64 {
        let next = self.runs.partition_point(|run| run.at <= at);
        match self.runs.get(next.wrapping_sub(1)) {
            Some(run) => run.offset + wide(at - run.at),
            None => self.offset + wide(at),
        }
    }

    /// As [`Chunk::location`], with the file: for errors.
    #[must_use]
    pub fn place(&self, at: usize) -> Place {
        Place { file: self.file.to_path_buf(), offset: self.location(at), inflated: self.inflated }
    }

    /// The file that the documents come from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Empties the chunk for a pass that stands at `progress`.
    fn begin(&mut self, progress: &Progress, stream: &Stream) {
        self.index = progress.chunks;
        self.first_document = progress.documents;
        self.offset = progress.bytes;
        self.documents = 0;
        self.length = 0;
        self.runs.clear();
        self.inflated = stream.is_inflated();
        if !Arc::ptr_eq(&self.file, stream.path()) {
            self.file = Arc::clone(stream.path());
        }
    }

    /// Becomes the chunk `known` of a plain file, whose bytes `read` gives. Tells whether it holds whole documents, as
    /// many as it did.
    pub(super) fn read_known(
        &mut self,
        file: &Arc<Path>,
        known: &KnownChunk,
        read: impl FnOnce(&mut [u8]) -> Result<(), InputError>,
    ) -> Result<bool, InputError> {
        let KnownChunk { index, first_document, record } = *known;
        (self.index, self.first_document, self.offset) = (index, first_document, record.offset);
        (self.documents, self.length, self.inflated) = (0, 0, false);
        self.runs.clear();
        self.file = Arc::clone(file);
        let Ok(bytes) = usize::try_from(record.bytes) else { return Ok(false) };
        self.reserve(bytes);
        read(&mut self.buffer[..bytes])?;
        let are_whole = hop(self, bytes, CHUNK_BYTES_MIN).is_ok() && self.length == bytes;
        Ok(are_whole && wide(self.documents) == record.documents)
    }

    /// Makes room for `length` bytes without giving up what is there.
    fn reserve(&mut self, length: usize) {
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
    }

    /// Notes that what follows lies at `offset` of the stream.
    pub(super) fn begin_run(&mut self, offset: u64) {
        self.runs.push(Run { at: self.length, offset });
    }

    /// Adds one document.
    pub(super) fn push(&mut self, document: &[u8]) {
        let end = self.length + document.len();
        self.reserve(end);
        self.buffer[self.length..end].copy_from_slice(document);
        self.length = end;
        self.documents += 1;
    }

    /// Bytes of documents in it.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Whether documents at `offset` need a new run.
    pub(super) fn needs_run(&self, offset: u64) -> bool {
        self.runs.is_empty() || self.location(self.length) != offset
    }
}

/// What a pass has handed on.
#[derive(Debug, Default)]
struct Progress {
    chunks: u64,
    documents: u64,
    bytes: u64,
}

impl Progress {
    fn count(&mut self, chunk: &Chunk) {
        self.chunks += 1;
        self.documents += wide(chunk.documents);
        self.bytes += wide(chunk.length);
    }
}

/// One pass over a collection's documents.
#[derive(Debug)]
pub struct ChunkReader {
    documents: Documents,
    chunk_bytes_min: usize,
    progress: Progress,
    failed: Option<InputError>,
}

/// Where documents come from.
#[derive(Debug)]
pub(super) enum Documents {
    /// One after another in a stream of their own.
    Frames(Box<FrameReader>),
    /// Among others in an archive.
    Archive(Box<ArchiveReader>),
}

impl ChunkReader {
    pub(super) fn new(documents: Documents, chunk_bytes_min: usize) -> ChunkReader {
        ChunkReader { documents, chunk_bytes_min, progress: Progress::default(), failed: None }
    }

    /// Reads the next chunk; `false`, with an empty chunk, after the last.
    ///
    /// Check sums stand at the end of what they cover, so documents of earlier chunks are proven only
    /// when this has returned `false`: whoever acts on them waits for that.
    ///
    /// # Errors
    /// [`InputError`] when the file is not what it should be; the same again on every later call.
    pub fn next_chunk(&mut self, chunk: &mut Chunk) -> Result<bool, InputError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        chunk.begin(&self.progress, self.stream());
        let read = match &mut self.documents {
            Documents::Frames(frames) => frames.read(self.chunk_bytes_min, chunk),
            Documents::Archive(archive) => archive.read(self.chunk_bytes_min, chunk),
        };
        if let Err(error) = read {
            chunk.documents = 0;
            chunk.length = 0;
            self.failed = Some(error.clone());
            return Err(error);
        }
        if chunk.documents == 0 {
            return Ok(false);
        }
        self.progress.count(chunk);
        Ok(true)
    }

    /// Bytes of the file read so far, as stored: for progress against
    /// [`Collection::stored_bytes`](super::Collection::stored_bytes).
    #[must_use]
    pub fn stored_position(&self) -> u64 {
        self.stream().stored_position()
    }

    fn stream(&self) -> &Stream {
        match &self.documents {
            Documents::Frames(frames) => &frames.stream,
            Documents::Archive(archive) => archive.stream(),
        }
    }
}

/// Cuts a stream that holds nothing but documents.
#[derive(Debug)]
pub(super) struct FrameReader {
    stream: Stream,
    /// Read, but after the end of the last chunk.
    carry: Vec<u8>,
    ended: bool,
}

impl FrameReader {
    pub(super) fn new(stream: Stream) -> FrameReader {
        FrameReader { stream, carry: Vec::new(), ended: false }
    }

    fn read(&mut self, chunk_bytes_min: usize, chunk: &mut Chunk) -> Result<(), InputError> {
        let base = self.stream.position() - wide(self.carry.len());
        let mut filled = self.carry.len();
        chunk.begin_run(base);
        chunk.reserve(filled);
        chunk.buffer[..filled].copy_from_slice(&self.carry);
        loop {
            let needed = hop(chunk, filled, chunk_bytes_min)
                .map_err(|(at, fault)| self.fault(base, at, fault))?;
            if chunk.length >= chunk_bytes_min || (self.ended && chunk.length == filled) {
                break;
            }
            if self.ended {
                return Err(self.fault(base, chunk.length, cut(chunk, filled)));
            }
            let target = needed.max(chunk_bytes_min + chunk_bytes_min / READ_AHEAD_PART);
            chunk.reserve(target);
            let count = self.stream.fill(&mut chunk.buffer[filled..target])?;
            filled += count;
            self.ended = filled < target;
        }
        self.carry.clear();
        self.carry.extend_from_slice(&chunk.buffer[chunk.length..filled]);
        Ok(())
    }

    fn fault(&self, base: u64, at: usize, fault: FrameFault) -> InputError {
        InputError::Frame { place: self.stream.place(base + wide(at)), fault }
    }
}

/// Hops over whole documents in the first `filled` bytes until the chunk is large enough; gives how
/// many bytes must be there to go on.
fn hop(
    chunk: &mut Chunk,
    filled: usize,
    chunk_bytes_min: usize,
) -> Result<usize, (usize, FrameFault)> {
    let bytes = &chunk.buffer[..filled];
    let mut at = chunk.length;
    let mut documents = 0;
    let mut needed = 0;
    while at < chunk_bytes_min {
        let Some(length) = frame_length(&bytes[at..]).map_err(|fault| (at, fault))? else {
            needed = at + 4;
            break;
        };
        let end = at + length;
        if end > filled {
            needed = end;
            break;
        }
        if bytes[end - 1] != 0 {
            return Err((at, FrameFault::Terminator));
        }
        at = end;
        documents += 1;
    }
    chunk.length = at;
    chunk.documents += documents;
    Ok(needed)
}

/// The length of the document that begins `bytes`, once its field is there.
pub(super) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, FrameFault> {
    document_length(bytes).map_err(|fault| match fault {
        Fault::Length(seen) => FrameFault::Length(seen),
        // `document_length` knows no other fault.
        _ => FrameFault::Terminator,
    })
}

/// Which cut it is when the stream ends at `filled`, after the chunk's last whole document.
fn cut(chunk: &Chunk, filled: usize) -> FrameFault {
    let rest = &chunk.buffer[chunk.length..filled];
    match frame_length(rest) {
        Ok(Some(claimed)) => FrameFault::BodyCut { claimed, present: rest.len() },
        Ok(None) => FrameFault::HeaderCut(rest.len()),
        Err(fault) => fault,
    }
}

const _: () = assert!(DOCUMENT_BYTES_MIN > 4 && DOCUMENT_BYTES_MAX < usize::MAX / 2);

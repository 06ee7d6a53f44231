//! A moving window over an archive's stream.
//!
//! Owns reading ahead and framing. It never reads beyond what the next document needs plus one block,
//! and knows nothing of namespaces.

use super::super::chunk::frame_length;
use super::super::error::{ArchiveFault, FrameFault, InputError};
use super::super::stored::wide;
use super::super::stream::Stream;

const WINDOW_BYTES: usize = 256 * 1024;

/// Ends the prelude and every block, where a document's length could stand.
pub(super) const TERMINATOR: [u8; 4] = [0xff; 4];

#[derive(Debug)]
pub(in super::super) struct Window {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    pub(in super::super) fn new(stream: Stream) -> Window {
        Window { stream, buffer: vec![0; WINDOW_BYTES], start: 0, end: 0 }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Where the next byte stands in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.stream.position() - wide(self.end - self.start)
    }

    /// Makes `count` bytes ready, or all that are left; gives how many are ready.
    fn ready(&mut self, count: usize) -> Result<usize, InputError> {
        if self.end - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() < count {
                self.buffer.resize(count, 0);
            }
            self.end += self.stream.fill(&mut self.buffer[self.end..])?;
        }
        Ok(self.end - self.start)
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&mut self) -> Result<bool, InputError> {
        Ok(self.ready(1)? == 0)
    }

    /// The next four bytes.
    pub(super) fn peek_four(&mut self) -> Result<[u8; 4], InputError> {
        let present = self.ready(4)?;
        match self.buffer[self.start..self.end].first_chunk() {
            Some(four) => Ok(*four),
            None => Err(self.frame(FrameFault::HeaderCut(present))),
        }
    }

    /// Passes over `count` bytes that are ready.
    pub(super) fn skip(&mut self, count: usize) {
        self.start += count;
    }

    /// The next document, framed, or `None` for a terminator. Both are passed over.
    pub(super) fn document(&mut self) -> Result<Option<&[u8]>, InputError> {
        let four = self.peek_four()?;
        if four == TERMINATOR {
            self.skip(four.len());
            return Ok(None);
        }
        let length = frame_length(&four)
            .and_then(|length| length.ok_or(FrameFault::HeaderCut(0)))
            .map_err(|fault| self.frame(fault))?;
        let present = self.ready(length)?;
        if present < length {
            return Err(self.frame(FrameFault::BodyCut { claimed: length, present }));
        }
        if self.buffer[self.start + length - 1] != 0 {
            return Err(self.frame(FrameFault::Terminator));
        }
        self.start += length;
        Ok(Some(&self.buffer[self.start - length..self.start]))
    }

    fn frame(&self, fault: FrameFault) -> InputError {
        InputError::Frame { place: self.stream.place(self.offset()), fault }
    }

    /// A fault of the archive that stands at `offset`.
    pub(super) fn archive(&self, offset: u64, fault: ArchiveFault) -> InputError {
        InputError::Archive { place: self.stream.place(offset), fault }
    }
}

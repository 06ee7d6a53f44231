//! Files as they lie on disk: opened with care, and known again when opened once more.
//!
//! Owns the refusal of links, FIFOs and devices, and the notice of a file that changes between or
//! during reads. It never looks at what the bytes mean.

use super::error::InputError;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// A regular file that was there when the input was opened.
#[derive(Debug, Clone)]
pub(super) struct StoredFile {
    pub(super) path: Arc<Path>,
    pub(super) bytes: u64,
    identity: Identity,
}

/// Which file it is, and when it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds of the last change to content or properties, which no program can set.
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Identity { device: metadata.dev(), inode: metadata.ino(), changed }
    }
}

/// Whether a link at the path itself is followed: only for the path that a person gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

/// The error for a failed system call on `path`.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> InputError {
    InputError::Unreadable { file: path.to_path_buf(), kind: error.kind() }
}

/// What stands at `path`.
pub(super) fn look(path: &Path, links: Links) -> Result<Metadata, InputError> {
    match links {
        Links::Follow => fs::metadata(path),
        Links::Refuse => fs::symlink_metadata(path),
    }
    .map_err(|error| unreadable(path, &error))
}

impl StoredFile {
    /// Notes the regular file at `path`; anything else is refused.
    pub(super) fn find(path: &Path, links: Links) -> Result<StoredFile, InputError> {
        let metadata = look(path, links)?;
        let kind = metadata.file_type();
        if !kind.is_file() {
            return Err(InputError::NotAFile {
                file: path.to_path_buf(),
                seen: if kind.is_symlink() {
                    "a symbolic link"
                } else if kind.is_dir() {
                    "a directory"
                } else {
                    "a pipe, socket or device"
                },
            });
        }
        Ok(StoredFile {
            path: Arc::from(path),
            bytes: metadata.len(),
            identity: Identity::of(&metadata),
        })
    }

    /// Opens the file for one pass, and makes sure that it is still the same.
    pub(super) fn open(&self) -> Result<StoredReader, InputError> {
        let file = File::open(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        self.compare(&file)?;
        Ok(StoredReader {
            stored: self.clone(),
            file,
            position: 0,
            ahead: Vec::new(),
            ahead_start: 0,
            ahead_end: 0,
            fault: None,
        })
    }

    /// Makes sure that `file` is this one, as it was.
    fn compare(&self, file: &File) -> Result<(), InputError> {
        let metadata = file.metadata().map_err(|error| unreadable(&self.path, &error))?;
        let same = metadata.is_file() && Identity::of(&metadata) == self.identity;
        match same && metadata.len() == self.bytes {
            true => Ok(()),
            false => Err(self.changed(metadata.len())),
        }
    }

    /// The error for a file that is not what it was: of another length, or at another position.
    fn changed(&self, seen: u64) -> InputError {
        InputError::Changed { file: self.path.to_path_buf(), expected: self.bytes, seen }
    }
}

/// One pass over a file. As [`BufRead`] it reads ahead, as [`Read`] it does not; a pass uses one way.
#[derive(Debug)]
pub(super) struct StoredReader {
    stored: StoredFile,
    file: File,
    position: u64,
    ahead: Vec<u8>,
    ahead_start: usize,
    ahead_end: usize,
    fault: Option<InputError>,
}

/// Widens a length; no platform has more than 64 bits.
pub(super) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl StoredReader {
    /// Bytes read from the file and handed on.
    pub(super) fn position(&self) -> u64 {
        self.position - wide(self.ahead_end - self.ahead_start)
    }

    /// The fault of the file itself behind the last failed read, if that was the reason.
    pub(super) fn take_fault(&mut self) -> Option<InputError> {
        self.fault.take()
    }

    fn fail(&mut self, kind: io::ErrorKind, fault: InputError) -> io::Error {
        self.fault = Some(fault);
        kind.into()
    }

    /// The file.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.stored.path
    }

    /// Fills `into` with what stands at `offset`, wherever the pass is.
    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), InputError> {
        self.file.read_exact_at(into, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(offset),
            _ => unreadable(&self.stored.path, &error),
        })
    }

    /// Makes sure that nobody has written to the file since it was opened first.
    pub(super) fn compare(&self) -> Result<(), InputError> {
        self.stored.compare(&self.file)
    }

    /// The error for a file that is not what it was, as is seen at `position`.
    pub(super) fn changed(&self, position: u64) -> InputError {
        let length = self.file.metadata().map(|metadata| metadata.len());
        self.stored.changed(length.unwrap_or(position))
    }

    fn read_file(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match self.file.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let fault = unreadable(&self.stored.path, &error);
                    return Err(self.fail(error.kind(), fault));
                }
                Ok(count) => break count,
            }
        };
        self.position += wide(count);
        let ended_early = count == 0 && !into.is_empty() && self.position < self.stored.bytes;
        if ended_early || self.position > self.stored.bytes {
            let fault = self.stored.changed(self.position);
            return Err(self.fail(io::ErrorKind::Other, fault));
        }
        if count == 0 && !into.is_empty() {
            self.compare().map_err(|fault| self.fail(io::ErrorKind::Other, fault))?;
        }
        Ok(count)
    }
}

impl Read for StoredReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ahead_start == self.ahead_end {
            return self.read_file(into);
        }
        let ready = &self.ahead[self.ahead_start..self.ahead_end];
        let count = ready.len().min(into.len());
        into[..count].copy_from_slice(&ready[..count]);
        self.ahead_start += count;
        Ok(count)
    }
}

impl BufRead for StoredReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        const AHEAD_BYTES: usize = 128 * 1024;
        if self.ahead_start == self.ahead_end {
            let mut ahead = std::mem::take(&mut self.ahead);
            ahead.resize(AHEAD_BYTES, 0);
            let read = self.read_file(&mut ahead);
            self.ahead = ahead;
            self.ahead_start = 0;
            self.ahead_end = 0;
            self.ahead_end = read?;
        }
        Ok(&self.ahead[self.ahead_start..self.ahead_end])
    }

    fn consume(&mut self, count: usize) {
        self.ahead_start = (self.ahead_start + count).min(self.ahead_end);
    }
}

//! What can be wrong with an input, in sentences for people.
//!
//! Every message names the file, the byte where that applies, what was expected and what to do next.
//! None ever holds a document's content or a third party's error text.

use crate::document::{DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MIN};
use crate::publish::io_reason;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A byte of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file on disk.
    pub file: PathBuf,
    /// Bytes from the start of the file, or of its decompressed stream.
    pub offset: u64,
    /// Whether `offset` counts in the decompressed stream of a compressed file.
    pub inflated: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: byte {}", self.file.display(), self.offset)?;
        if self.inflated {
            write!(f, " of the decompressed stream")?;
        }
        Ok(())
    }
}

/// What is wrong with the frame of a document, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// The length field is out of bounds.
    Length(i32),
    /// The stream ends inside the length field: so many of its 4 bytes are there.
    HeaderCut(usize),
    /// The stream ends inside the document.
    BodyCut {
        /// Bytes that the document claims.
        claimed: usize,
        /// Bytes that are there.
        present: usize,
    },
    /// The document's last byte is not 0.
    Terminator,
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameFault::Length(seen) => write!(
                f,
                "expected a BSON document of {DOCUMENT_BYTES_MIN} to {DOCUMENT_BYTES_MAX} bytes, \
                 found the length {seen}"
            ),
            FrameFault::HeaderCut(present) => write!(
                f,
                "expected the 4 bytes of a document's length, found the end after {present}"
            ),
            FrameFault::BodyCut { claimed, present } => {
                write!(f, "expected a document of {claimed} bytes, found the end after {present}")
            }
            FrameFault::Terminator => {
                write!(f, "expected the 0 byte that ends a document, found another")
            }
        }
    }
}

/// What is wrong with the structure of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveFault {
    /// A header or metadata document is broken or lacks a field, or has it twice or of a wrong type.
    Header(&'static str),
    /// One namespace stands twice in the prelude.
    Twice(String),
    /// More namespaces than this reader keeps.
    ManyNamespaces(usize),
    /// A block names a namespace that the prelude does not list.
    Unknown(String),
    /// A block for a namespace whose end was already stated.
    AfterEnd(String),
    /// Documents inside the block that states a namespace's end.
    DocumentsInEnd(String),
    /// The documents do not have the check sum that the archive states.
    CheckSum {
        /// The namespace.
        namespace: String,
        /// CRC-64 in the archive.
        stated: u64,
        /// CRC-64 of what was read.
        found: u64,
    },
    /// The file ends between blocks, but these namespaces' ends were not stated.
    Unfinished(String),
}

impl fmt::Display for ArchiveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveFault::Header(expected) => write!(f, "expected {expected}"),
            ArchiveFault::Twice(namespace) => {
                write!(f, "expected each collection once, found {namespace} twice")
            }
            ArchiveFault::ManyNamespaces(most) => {
                write!(f, "expected at most {most} collections, found more")
            }
            ArchiveFault::Unknown(namespace) => {
                write!(f, "found data of {namespace}, which the archive's own list does not name")
            }
            ArchiveFault::AfterEnd(namespace) => {
                write!(f, "found more of {namespace} after its end was stated")
            }
            ArchiveFault::DocumentsInEnd(namespace) => {
                write!(f, "expected the end of {namespace} without documents, found some")
            }
            ArchiveFault::CheckSum { namespace, stated, found } => write!(
                f,
                "expected the documents of {namespace} to have the check sum {stated:016x}, \
                 found {found:016x}"
            ),
            ArchiveFault::Unfinished(namespaces) => {
                write!(f, "found the end of the file before the stated end of {namespaces}")
            }
        }
    }
}

/// What is wrong with compressed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressedFault {
    /// The file ends inside a gzip member or Zstandard frame.
    Cut(&'static str),
    /// The compressed data or its check sum is wrong, or something else follows the last member.
    Damaged(&'static str),
}

impl fmt::Display for CompressedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressedFault::Cut(form) => {
                write!(f, "expected the rest of the {form} data, found the end of the file")
            }
            CompressedFault::Damaged(form) => write!(
                f,
                "expected valid {form} data, found a wrong structure, a wrong check sum, or bytes \
                 after the end"
            ),
        }
    }
}

fn reason(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "no such file or directory; check the path".to_owned(),
        kind => io_reason(&kind.into()),
    }
}

/// Why an input can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The system refused.
    #[error("{}: can't be read: {}", file.display(), reason(*kind))]
    Unreadable {
        /// What was read.
        file: PathBuf,
        /// The system's reason.
        kind: io::ErrorKind,
    },
    /// Something other than a regular file stands where documents should.
    #[error("{}: expected a regular file or directory, found {seen}; put the file itself there", file.display())]
    NotAFile {
        /// Where.
        file: PathBuf,
        /// What kind of thing.
        seen: &'static str,
    },
    /// Nothing in it.
    #[error("{}: an empty file, expected BSON documents; take the dump again, or give the dump's directory if the collection is empty", file.display())]
    Empty {
        /// Which.
        file: PathBuf,
    },
    /// A document's outer frame is wrong.
    #[error("{place}: {fault}; the file is damaged or not a dump, take the dump again")]
    Frame {
        /// Where the document begins.
        place: Place,
        /// What.
        fault: FrameFault,
    },
    /// The structure of an archive is wrong.
    #[error("{place}: {fault}; the archive is damaged or cut, take the dump again")]
    Archive {
        /// Where.
        place: Place,
        /// What.
        fault: ArchiveFault,
    },
    /// Compressed data is wrong.
    #[error("{}: near byte {stored_offset} of the file: {fault}; the file is damaged or cut, take the dump again", file.display())]
    Compressed {
        /// Which file.
        file: PathBuf,
        /// Compressed bytes used when it was noticed.
        stored_offset: u64,
        /// What.
        fault: CompressedFault,
    },
    /// The decompressed stream passes the bound.
    #[error("{}: decompresses to more than {bytes_max} bytes; if the dump is really that large, raise --inflated-bytes-max", file.display())]
    InflatedBytes {
        /// Which file.
        file: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// The compressed data expands implausibly.
    #[error("{}: {stored} bytes decompress to more than {inflated}, beyond the bound of {ratio_max} to 1; if the dump is really that regular, raise --inflate-ratio-max", file.display())]
    InflateRatio {
        /// Which file.
        file: PathBuf,
        /// Compressed bytes so far.
        stored: u64,
        /// Decompressed bytes so far.
        inflated: u64,
        /// The bound.
        ratio_max: u32,
    },
    /// The file is not the one that was opened first.
    #[error("{}: it was changed or replaced while being read: expected the {expected} bytes that were there when it was opened, seen {}; copy it aside and try again", file.display(), if expected == seen { "other ones".to_owned() } else { seen.to_string() })]
    Changed {
        /// Which file.
        file: PathBuf,
        /// Length when opened.
        expected: u64,
        /// Length or position found.
        seen: u64,
    },
    /// One collection in two files.
    #[error("{} and {}: the same collection twice; remove the one that is not meant", first.display(), second.display())]
    Duplicate {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// More than a metadata file or directory may hold.
    #[error("{}: {what}, more than the {most} expected; this is no mongodump output", file.display())]
    TooMuch {
        /// Which.
        file: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        most: u64,
    },
    /// The tokens' collection is in several databases.
    #[error("{}: {tokens} is in several databases ({databases}); say which with --db", path.display())]
    SeveralDatabases {
        /// The input.
        path: PathBuf,
        /// The collection.
        tokens: String,
        /// The databases.
        databases: String,
    },
    /// No tokens.
    #[error("{}: expected the collection {wanted}, found {found}; say the database with --db or the collection with --tokens", path.display())]
    NoTokens {
        /// The input.
        path: PathBuf,
        /// What was looked for, with its database when one was given.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// Tokens and wallets in one collection.
    #[error("--tokens and --wallets name the same collection; name two")]
    SameCollection,
    /// No wallets.
    #[error("{}: expected the collection {wanted} beside the tokens, found none; say its name with --wallets, or pass --without-wallets to analyse tokens alone", path.display())]
    NoWallets {
        /// The input.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
    },
    /// An option holds what can't be a collection's or database's name.
    #[error(
        "--{option}: expected a name without slashes and of at most {} bytes; give the name alone, \
         without a path",
        super::NAME_BYTES_MAX
    )]
    Name {
        /// The option.
        option: &'static str,
    },
}

/// A name from an input, safe to show: control characters escaped, and cut when long.
pub(super) fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 128;
    let mut text: String = name.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

/// Several names in one line, safe to show and bounded.
pub(super) fn listed<I: IntoIterator<Item = String>>(names: I) -> String {
    const NAMES_MAX: usize = 20;
    let mut names = names.into_iter();
    let first: Vec<String> = names.by_ref().take(NAMES_MAX).map(|name| shown(&name)).collect();
    match (first.is_empty(), names.count()) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{} and {more} more", first.join(", ")),
    }
}

//! Inputs: the documents of a ledger, from whatever mongodump or an export left.
//!
//! Owns the recognition of forms, by content and never by file name: a dump directory (plain, gzip,
//! Zstandard, its root or one database), an archive, one `.bson` file. All of them give the same chunks
//! of the same documents. Everything read is hostile: links and devices inside a dump are refused, a
//! length is checked before it is believed, memory is a chunk plus read buffers whatever the size of
//! the input, names from inside a file never become paths. This layer never looks inside a document.

mod again;
mod archive;
mod chunk;
mod dir;
mod error;
mod file;
mod stored;
mod stream;
#[cfg(test)]
mod tests;

pub use again::{KnownChunk, KnownFile};
pub use chunk::{CHUNK_BYTES_MIN, Chunk, ChunkReader};
pub use error::{ArchiveFault, CompressedFault, FrameFault, InputError, Place};

use crate::model::hash_bytes;
use crate::progress::{Interrupted, Progress};
use crate::snapshot::identity::ChunkTable;
use archive::{ArchiveReader, Until};
use chunk::{Documents, FrameReader};
use std::path::{Path, PathBuf};
use stored::{Links, StoredFile, look};
use stream::{InflateLimits, Packing, StreamFile};

/// The file that makes a directory one of our own snapshots.
pub const MANIFEST_NAME: &str = "snapshot.json";

/// The server's bound on a namespace.
const NAME_BYTES_MAX: usize = 255;

/// Most namespaces in an archive and most entries in a directory.
const NAMESPACES_MAX: usize = 65_536;

/// What to look for, and how far to go.
#[derive(Debug, Clone)]
pub struct InputOptions {
    /// The database; needed only when several hold the tokens' collection.
    pub db: Option<String>,
    /// The tokens' collection.
    pub tokens: String,
    /// The wallets' collection.
    pub wallets: String,
    /// Whether a dump without wallets is an error. One `.bson` file never has to have them.
    pub require_wallets: bool,
    /// Most bytes that one compressed file may decompress to.
    pub inflated_bytes_max: u64,
    /// Most decompressed bytes for each compressed one.
    pub inflate_ratio_max: u32,
}

impl Default for InputOptions {
    /// Deflate can't pass 1032 to 1; dumps of tokens reach 3 to 10.
    fn default() -> InputOptions {
        InputOptions {
            db: None,
            tokens: "cashu_tokens".to_owned(),
            wallets: "cashu_wallets".to_owned(),
            require_wallets: true,
            inflated_bytes_max: 1 << 40,
            inflate_ratio_max: 200,
        }
    }
}

impl InputOptions {
    fn limits(&self) -> InflateLimits {
        InflateLimits { bytes_max: self.inflated_bytes_max, ratio_max: self.inflate_ratio_max }
    }

    /// Names become parts of paths, so they must be names.
    fn check(&self) -> Result<(), InputError> {
        let is_name = |name: &str| {
            let odd = name.is_empty() || name == "." || name == "..";
            !odd && name.len() <= NAME_BYTES_MAX && !name.contains(['/', '\\', '\0'])
        };
        let db = self.db.as_deref().unwrap_or("db");
        for (option, name) in [("db", db), ("tokens", &*self.tokens), ("wallets", &*self.wallets)] {
            if !is_name(name) {
                return Err(InputError::Name { option });
            }
        }
        if self.tokens == self.wallets {
            return Err(InputError::SameCollection);
        }
        Ok(())
    }
}

/// An opened input: which collections, and where they lie.
#[derive(Debug)]
pub struct Input {
    /// The database's name, when the form tells it.
    pub db: Option<String>,
    /// The tokens.
    pub tokens: Collection,
    /// The wallets, when they are there.
    pub wallets: Option<Collection>,
    /// What was skipped or assumed, in sentences for people.
    pub notes: Vec<String>,
    /// The manifest, when the input is one of our own snapshots. It was not read: whoever opened the
    /// input checks the documents against it.
    pub manifest: Option<PathBuf>,
}

impl Input {
    /// Finds the collections in `path`. Reads names and first bytes, and of an archive its head.
    ///
    /// # Errors
    /// [`InputError`] when the form is not recognised, collections are missing or ambiguous, or
    /// something other than regular files and directories lies where documents should.
    pub fn open(path: &Path, options: &InputOptions) -> Result<Input, InputError> {
        options.check()?;
        if look(path, Links::Follow)?.is_dir() {
            dir::open(path, options)
        } else {
            file::open(path, options)
        }
    }
}

/// The documents of one collection, readable as often as needed.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// mongodump's metadata (options, indexes), uncompressed and verbatim.
    pub metadata_json: Option<Vec<u8>>,
    lies: Lies,
}

#[derive(Debug, Clone)]
enum Lies {
    Frames(StreamFile),
    Archive { file: StreamFile, db: String, until: Until },
}

impl Collection {
    /// Begins a fresh pass.
    ///
    /// Of an archive, a pass over the tokens goes to the end of the file and proves all of it; one over
    /// the wallets ends with them.
    ///
    /// # Errors
    /// [`InputError`] when the file can't be opened or is not the one seen before.
    pub fn read(&self) -> Result<ChunkReader, InputError> {
        self.read_by(CHUNK_BYTES_MIN)
    }

    /// Gives every chunk to `each`, and tells `progress` how far in the file it is; gives the table of what was read.
    ///
    /// # Errors
    /// Those of [`Collection::read`] and of the reading, [`Interrupted`], and whatever `each` gives.
    pub fn each_chunk<E: From<InputError> + From<Interrupted>>(
        &self,
        progress: &Progress,
        mut each: impl FnMut(&Chunk) -> Result<(), E>,
    ) -> Result<ChunkTable, E> {
        let mut reader = self.read()?;
        let (mut chunk, mut table, mut seen) = (Chunk::default(), ChunkTable::new(), 0);
        while reader.next_chunk(&mut chunk)? {
            progress.check()?;
            each(&chunk)?;
            let bytes = chunk.bytes();
            table.push(bytes.len() as u64, chunk.documents as u64, hash_bytes(bytes));
            progress.advance(reader.stored_position().saturating_sub(seen));
            seen = reader.stored_position();
        }
        Ok(table)
    }

    fn read_by(&self, chunk_bytes_min: usize) -> Result<ChunkReader, InputError> {
        let documents =
            match &self.lies {
                Lies::Frames(file) => Documents::Frames(Box::new(FrameReader::new(file.open()?))),
                Lies::Archive { file, db, until } => Documents::Archive(Box::new(
                    ArchiveReader::open(file.open()?, db, &self.name, *until)?,
                )),
            };
        Ok(ChunkReader::new(documents, chunk_bytes_min))
    }

    /// For reading chunks that are known once more, when the documents lie in a file uncompressed and alone.
    ///
    /// # Errors
    /// [`InputError`] when the file can't be opened or is not the one seen before.
    pub fn known_file(&self) -> Result<Option<KnownFile>, InputError> {
        self.plain().map(KnownFile::open).transpose()
    }

    /// Makes sure that the file is as it was when the input was opened, after work that did not read it to its end.
    ///
    /// # Errors
    /// [`InputError`] when somebody has changed or replaced it.
    pub fn compare(&self) -> Result<(), InputError> {
        let (Lies::Frames(file) | Lies::Archive { file, .. }) = &self.lies;
        file.stored.open().map(drop)
    }

    /// The file, when the documents lie in it uncompressed and alone, one after another.
    #[must_use]
    pub fn plain_file(&self) -> Option<&Path> {
        self.plain().map(|stored| &*stored.path)
    }

    fn plain(&self) -> Option<&StoredFile> {
        match &self.lies {
            Lies::Frames(file) if file.packing == Packing::Plain => Some(&file.stored),
            _ => None,
        }
    }

    /// Bytes of the file on disk: of an archive, all of it.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        match &self.lies {
            Lies::Frames(file) | Lies::Archive { file, .. } => file.stored.bytes,
        }
    }
}

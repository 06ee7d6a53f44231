//! Writing a collection's documents and, last, the snapshot's manifest.
//!
//! The caller builds in a [`crate::publish::StagedDirectory`], so a snapshot appears whole or not at all.

use super::format::{CollectionManifest, Compression, FILE_NAME, Role, SEAL_KEY, SnapshotManifest};
use super::identity::{CHUNK_BYTES_MIN, ChunkTable};
use crate::model::hash_bytes;
use crate::publish::{self, PublishError, at, create_private_file};
use flate2::write::GzEncoder;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// zlib's default, which mongodump uses as well.
const GZIP_LEVEL: u32 = 6;
/// Secrets are random digits, so a higher level costs time and gains little.
const ZSTD_LEVEL: i32 = 1;

type Output = BufWriter<File>;

/// Where document bytes go.
enum Sink {
    Plain(Output),
    Gzip(GzEncoder<Output>),
    Zstd(zstd::Encoder<'static, Output>),
}

impl Sink {
    fn new(output: Output, compression: Compression) -> io::Result<Sink> {
        Ok(match compression {
            Compression::None => Sink::Plain(output),
            Compression::Gzip => {
                Sink::Gzip(GzEncoder::new(output, flate2::Compression::new(GZIP_LEVEL)))
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Sink::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Plain(output) => output.write_all(bytes),
            Sink::Gzip(encoder) => encoder.write_all(bytes),
            Sink::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Ends the stream; the file is then written, but not synced.
    fn finish(self) -> io::Result<File> {
        let output = match self {
            Sink::Plain(output) => output,
            Sink::Gzip(encoder) => encoder.finish()?,
            Sink::Zstd(encoder) => encoder.finish()?,
        };
        output.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sink::Plain(_) => "Plain",
            Sink::Gzip(_) => "Gzip",
            Sink::Zstd(_) => "Zstd",
        })
    }
}

/// Writes one collection's `.bson` file and its chunk table.
#[derive(Debug)]
pub struct CollectionWriter {
    path: PathBuf,
    sink: Sink,
    /// Documents of the chunk under way: hashed and written at once, which is faster than each alone.
    chunk: Vec<u8>,
    chunk_documents: u64,
    table: ChunkTable,
}

impl CollectionWriter {
    /// Creates the file `path`, which must not exist, for documents as they are.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn create(path: &Path) -> Result<CollectionWriter, PublishError> {
        CollectionWriter::create_compressed(path, Compression::None)
    }

    /// Creates the file `path`, which must not exist, compressed as said. The chunk table is that of
    /// the documents, whichever way they are stored.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn create_compressed(
        path: &Path,
        compression: Compression,
    ) -> Result<CollectionWriter, PublishError> {
        let output = BufWriter::with_capacity(WRITE_BUFFER_BYTES, create_private_file(path)?);
        Ok(CollectionWriter {
            path: path.to_path_buf(),
            sink: Sink::new(output, compression).map_err(at("write", path))?,
            chunk: Vec::with_capacity(2 * CHUNK_BYTES_MIN),
            chunk_documents: 0,
            table: ChunkTable::new(),
        })
    }

    /// Appends one whole document; it reaches the file with its chunk.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_document(&mut self, document: &[u8]) -> Result<(), PublishError> {
        self.chunk.extend_from_slice(document);
        self.chunk_documents += 1;
        if self.chunk.len() >= CHUNK_BYTES_MIN {
            self.end_chunk()?;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), PublishError> {
        self.table.push(self.chunk.len() as u64, self.chunk_documents, hash_bytes(&self.chunk));
        self.sink.write(&self.chunk).map_err(at("write", &self.path))?;
        self.chunk.clear();
        self.chunk_documents = 0;
        Ok(())
    }

    /// Flushes and syncs the file.
    ///
    /// # Errors
    /// When that fails; the file must then not be published.
    pub fn finish(mut self) -> Result<ChunkTable, PublishError> {
        if self.chunk_documents > 0 {
            self.end_chunk()?;
        }
        let file = self.sink.finish().map_err(at("write", &self.path))?;
        file.sync_all().map_err(at("sync", &self.path))?;
        Ok(self.table)
    }
}

/// What [`CollectionManifest`] says of a collection whose documents lie uncompressed in `file`.
#[must_use]
pub fn describe_collection(
    role: Role,
    name: &str,
    file: String,
    table: &ChunkTable,
    metadata_json: Option<&[u8]>,
) -> CollectionManifest {
    CollectionManifest {
        role,
        name: name.to_owned(),
        file,
        compression: Compression::None,
        documents: table.documents(),
        bytes: table.bytes(),
        metadata_sha256: metadata_json.map(hash_bytes),
        chunks: table.records().to_vec(),
    }
}

/// Writes `snapshot.json` into `directory`.
///
/// # Errors
/// When the file can't be written or synced.
pub fn write_manifest(directory: &Path, manifest: &SnapshotManifest) -> Result<(), PublishError> {
    let path = directory.join(FILE_NAME);
    let (text, _) = crate::sealed::seal(manifest, SEAL_KEY)
        .map_err(|e| at("write", &path)(std::io::Error::other(e)))?;
    publish::write_file(&path, text.as_bytes())
}

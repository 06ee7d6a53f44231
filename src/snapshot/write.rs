//! Writing a collection's documents and, last, the snapshot's manifest.
//!
//! The caller builds in a [`crate::publish::StagedDirectory`], so a snapshot appears whole or not at all.

use super::format::{CollectionManifest, Compression, FILE_NAME, Role, SEAL_KEY, SnapshotManifest};
use super::identity::{CHUNK_BYTES_MIN, ChunkTable};
use crate::model::Sha256Hash;
use crate::publish::{self, PublishError, at, create_private_file};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Writes one collection's `.bson` file and its chunk table.
#[derive(Debug)]
pub struct CollectionWriter {
    path: PathBuf,
    file: BufWriter<File>,
    hasher: Sha256,
    chunk_bytes: usize,
    chunk_documents: u64,
    table: ChunkTable,
}

impl CollectionWriter {
    /// Creates the file `path`, which must not exist.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn create(path: &Path) -> Result<CollectionWriter, PublishError> {
        let file = create_private_file(path)?;
        Ok(CollectionWriter {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(WRITE_BUFFER_BYTES, file),
            hasher: Sha256::new(),
            chunk_bytes: 0,
            chunk_documents: 0,
            table: ChunkTable::new(),
        })
    }

    /// Appends one whole document.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_document(&mut self, document: &[u8]) -> Result<(), PublishError> {
        self.file.write_all(document).map_err(at("write", &self.path))?;
        self.hasher.update(document);
        self.chunk_bytes += document.len();
        self.chunk_documents += 1;
        if self.chunk_bytes >= CHUNK_BYTES_MIN {
            self.end_chunk();
        }
        Ok(())
    }

    fn end_chunk(&mut self) {
        let sha256 = Sha256Hash(self.hasher.finalize_reset().into());
        self.table.push(self.chunk_bytes as u64, self.chunk_documents, sha256);
        self.chunk_bytes = 0;
        self.chunk_documents = 0;
    }

    /// Flushes and syncs the file.
    ///
    /// # Errors
    /// When that fails; the file must then not be published.
    pub fn finish(mut self) -> Result<ChunkTable, PublishError> {
        if self.chunk_documents > 0 {
            self.end_chunk();
        }
        let file = self.file.into_inner().map_err(|e| at("write", &self.path)(e.into_error()))?;
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
) -> CollectionManifest {
    CollectionManifest {
        role,
        name: name.to_owned(),
        file,
        compression: Compression::None,
        documents: table.documents(),
        bytes: table.bytes(),
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

//! The snapshot's files: where they lie, what their names are, what stands beside the documents.

use super::catalog::SourceCollection;
use super::error::ExportError;
use crate::publish::{self, PublishError, at, create_private_directories, create_private_file};
use crate::snapshot::format::{CollectionManifest, Compression};
use crate::snapshot::identity::ChunkTable;
use crate::snapshot::write::{CollectionWriter, describe_collection};
use flate2::write::GzEncoder;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The database's directory in a snapshot under construction.
pub(super) struct Store {
    directory: PathBuf,
    db: String,
    compression: Compression,
}

/// Removes what an attempt left at `directory`.
pub(super) fn clear(directory: &Path) -> Result<(), PublishError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(at("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

impl Store {
    pub(super) fn create(
        root: &Path,
        db: &str,
        compression: Compression,
    ) -> Result<Store, PublishError> {
        let directory = root.join(db);
        create_private_directories(&directory)?;
        Ok(Store { directory, db: db.to_owned(), compression })
    }

    fn file_name(&self, collection: &str) -> String {
        let ending = match self.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        format!("{collection}.bson{ending}")
    }

    pub(super) fn writer(&self, collection: &str) -> Result<CollectionWriter, PublishError> {
        let path = self.directory.join(self.file_name(collection));
        CollectionWriter::create_compressed(&path, self.compression)
    }

    pub(super) fn describe(
        &self,
        collection: &SourceCollection,
        table: &ChunkTable,
    ) -> CollectionManifest {
        let file = format!("{}/{}", self.db, self.file_name(&collection.name));
        CollectionManifest {
            compression: self.compression,
            ..describe_collection(
                collection.role,
                &collection.name,
                file,
                table,
                Some(collection.metadata_json.as_bytes()),
            )
        }
    }

    /// Writes `text` under `name`; with gzip compressed, as `mongorestore --gzip` expects it.
    fn write_text(&self, name: &str, text: &str) -> Result<(), PublishError> {
        if self.compression != Compression::Gzip {
            let path = self.directory.join(name);
            return write_new(&path, text.as_bytes());
        }
        let path = self.directory.join(format!("{name}.gz"));
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        let packed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
        write_new(&path, &packed.map_err(at("write", &path))?)
    }

    pub(super) fn write_metadata(&self, collection: &SourceCollection) -> Result<(), PublishError> {
        self.write_text(&format!("{}.metadata.json", collection.name), &collection.metadata_json)
    }

    /// Writes the prelude and syncs the directory.
    pub(super) fn finish(&self, server_version: &str) -> Result<(), ExportError> {
        let prelude = serde_json::json!({
            "ServerVersion": server_version,
            "ToolVersion": concat!("remelt ", env!("CARGO_PKG_VERSION")),
        });
        self.write_text("prelude.json", &prelude.to_string())?;
        Ok(publish::sync_directory(&self.directory)?)
    }
}

/// Writes and syncs a new file.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let mut file = create_private_file(path)?;
    file.write_all(bytes).map_err(at("write", path))?;
    file.sync_all().map_err(at("sync", path))
}

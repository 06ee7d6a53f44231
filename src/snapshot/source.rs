//! A snapshot as the commands see it: its documents, and what is known of where they came from.

use super::format::{
    Consistency, FILE_NAME, FORMAT_VERSION, Presence, Role, SEAL_KEY, SnapshotManifest, Source,
};
use super::identity::{ChunkRecord, ChunkTable, root_hash};
use super::input::{Collection, Input, InputError, InputOptions};
use crate::model::{Sha256Hash, hash_bytes};
use crate::publish::{io_reason, open_regular};
use crate::sealed::{SEALED_BYTES_MAX, SealError, unseal};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// An opened snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// Its documents.
    pub input: Input,
    /// What it says of itself; `None` for a dump of another program.
    pub manifest: Option<SnapshotManifest>,
}

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The input can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// `snapshot.json` can't be read.
    #[error("could not read {}: {}", path.display(), io_reason(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `snapshot.json` can't be trusted.
    #[error("{} can't be trusted: {reason}; export anew", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: SealError,
    },
    /// The path leads into a snapshot directory, past what it says of itself.
    #[error(
        "{} is a part of the snapshot {}, whose {FILE_NAME} says what it holds; name the snapshot itself",
        part.display(), whole.display()
    )]
    Part {
        /// What was named.
        part: PathBuf,
        /// The snapshot.
        whole: PathBuf,
    },
    /// A collection's options and indexes are not those of the snapshot.
    #[error(
        "the metadata.json of {collection} is not the one of this snapshot: it was altered, added or lost; \
         copy the snapshot anew"
    )]
    Metadata {
        /// Which collection.
        collection: String,
    },
    /// A collection that `snapshot.json` does not record.
    #[error(
        "{collection} is no part of this snapshot, whose {FILE_NAME} does not record it: it was added later; \
         copy the snapshot anew"
    )]
    Unrecorded {
        /// Which collection.
        collection: String,
    },
    /// The collections by themselves are right, and together they are not.
    #[error(
        "the documents have the root hash {seen}, and those that were exported have {expected}: a \
         collection was added or lost; copy the snapshot anew"
    )]
    Root {
        /// What the manifest says.
        expected: Sha256Hash,
        /// What is there.
        seen: Sha256Hash,
    },
    /// `snapshot.json` contradicts itself.
    #[error("{} contradicts itself: its tables and hashes do not fit; export anew", .0.display())]
    Incoherent(PathBuf),
    /// The documents are not those that were exported.
    #[error(
        "{collection}: the documents from byte {offset} on are not those that were exported: expected \
         {expected}, seen {seen}; the file was altered or cut: copy the snapshot anew"
    )]
    Altered {
        /// Which collection.
        collection: String,
        /// Where the first difference begins, among the collection's document bytes.
        offset: u64,
        /// What the manifest says.
        expected: String,
        /// What is there.
        seen: String,
    },
}

impl Snapshot {
    /// Opens whatever lies at `path`. Where its manifest names collections, these are read unless `options` name others.
    ///
    /// # Errors
    /// [`SnapshotError`] when it can't be read or trusted.
    pub fn open(path: &Path, options: &InputOptions) -> Result<Snapshot, SnapshotError> {
        if let Some(whole) = part_of_snapshot(path) {
            return Err(SnapshotError::Part { part: path.to_path_buf(), whole });
        }
        let manifest = match std::fs::symlink_metadata(path.join(FILE_NAME)) {
            Ok(_) => Some(read_manifest(&path.join(FILE_NAME))?),
            Err(_) => None,
        };
        let mut options = options.clone();
        if let Some(manifest) = &manifest {
            options.db.get_or_insert_with(|| manifest.db.clone());
            options.require_wallets &= manifest.collection(Role::Wallets).is_some();
            let usual = InputOptions::default();
            for (name, usual, role) in [
                (&mut options.tokens, usual.tokens, Role::Tokens),
                (&mut options.wallets, usual.wallets, Role::Wallets),
            ] {
                if let Some(collection) = manifest.collection(role).filter(|_| *name == usual) {
                    name.clone_from(&collection.name);
                }
            }
        }
        let mut input = Input::open(path, &options)?;
        if let Some(manifest) = &manifest {
            compare_collection(manifest, Role::Tokens, Some(&input.tokens))?;
            compare_collection(manifest, Role::Wallets, input.wallets.as_ref())?;
        }
        if input.wallets.is_none() && input.notes.iter().all(|note| !note.contains("wallets")) {
            input
                .notes
                .push("there are no wallets, so checks that need them are not made".to_owned());
        }
        Ok(Snapshot { input, manifest })
    }

    /// How far the documents are of one point in time.
    #[must_use]
    pub fn consistency(&self) -> Consistency {
        self.manifest.as_ref().map_or(Consistency::Foreign, |manifest| manifest.consistency)
    }

    /// The cluster time of all documents.
    #[must_use]
    pub fn cluster_time(&self) -> Option<&str> {
        self.manifest.as_ref()?.cluster_time.as_deref()
    }

    /// The deployment that the documents came from.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.manifest.as_ref()?.source.as_ref()
    }

    /// Whether proofs hold their secrets.
    #[must_use]
    pub fn secrets(&self) -> Presence {
        self.manifest.as_ref().map_or(Presence::Full, |manifest| manifest.secrets)
    }

    /// Compares the documents that were read with the manifest's tables.
    ///
    /// # Errors
    /// [`SnapshotError::Altered`] with the first difference.
    pub fn check(
        &self,
        tokens: &ChunkTable,
        wallets: Option<&ChunkTable>,
    ) -> Result<Sha256Hash, SnapshotError> {
        let root = root_hash(tokens, wallets);
        let Some(manifest) = self.manifest.as_ref().filter(|m| m.sha256 != root) else {
            return Ok(root);
        };
        compare_chunks(manifest, Role::Tokens, Some(tokens))?;
        compare_chunks(manifest, Role::Wallets, wallets)?;
        Err(SnapshotError::Root { expected: manifest.sha256, seen: root })
    }

    /// Compares the tokens alone with the manifest's table, for work that reads nothing else.
    ///
    /// # Errors
    /// [`SnapshotError::Altered`] with the first difference.
    pub fn check_tokens(&self, tokens: &ChunkTable) -> Result<(), SnapshotError> {
        match &self.manifest {
            Some(manifest) => compare_chunks(manifest, Role::Tokens, Some(tokens)),
            None => Ok(()),
        }
    }
}

/// Compares which collections there are, and what lies beside their documents, which a restored copy would take over.
fn compare_collection(
    manifest: &SnapshotManifest,
    role: Role,
    collection: Option<&Collection>,
) -> Result<(), SnapshotError> {
    let Some(recorded) = manifest.collection(role) else {
        return match collection {
            Some(found) => Err(SnapshotError::Unrecorded { collection: found.name.clone() }),
            None => Ok(()),
        };
    };
    let seen = collection.and_then(|found| found.metadata_json.as_deref()).map(hash_bytes);
    match seen == recorded.metadata_sha256 {
        true => Ok(()),
        false => Err(SnapshotError::Metadata { collection: recorded.name.clone() }),
    }
}

fn compare_chunks(
    manifest: &SnapshotManifest,
    role: Role,
    table: Option<&ChunkTable>,
) -> Result<(), SnapshotError> {
    let recorded = manifest.collection(role);
    let expected = recorded.map_or(&[][..], |collection| &collection.chunks);
    let seen = table.map_or(&[][..], ChunkTable::records);
    let differs = (0..expected.len().max(seen.len())).find(|i| expected.get(*i) != seen.get(*i));
    let Some(at) = differs else { return Ok(()) };
    let describe = |record: Option<&ChunkRecord>| match record {
        Some(r) => {
            format!("{} documents of {} bytes with SHA-256 {}", r.documents, r.bytes, r.sha256)
        }
        None => "the end".to_owned(),
    };
    let offset = expected.get(at).or(seen.get(at)).map_or(0, |record| record.offset);
    Err(SnapshotError::Altered {
        collection: recorded.map_or_else(String::new, |c| c.name.clone()),
        offset,
        expected: describe(expected.get(at)),
        seen: describe(seen.get(at)),
    })
}

/// The snapshot directory that `path` is one database or one file of.
fn part_of_snapshot(path: &Path) -> Option<PathBuf> {
    let path = std::fs::canonicalize(path).ok()?;
    let is_snapshot = |directory: &&Path| directory.join(FILE_NAME).symlink_metadata().is_ok();
    path.ancestors().skip(1).take(2).find(is_snapshot).map(Path::to_path_buf)
}

fn read_manifest(path: &Path) -> Result<SnapshotManifest, SnapshotError> {
    let io = |source| SnapshotError::Io { path: path.to_path_buf(), source };
    let mut text = Vec::new();
    let file = open_regular(path).map_err(io)?;
    file.take(SEALED_BYTES_MAX).read_to_end(&mut text).map_err(io)?;
    let (manifest, _) = unseal::<SnapshotManifest>(&text, SEAL_KEY, FORMAT_VERSION)
        .map_err(|reason| SnapshotError::Manifest { path: path.to_path_buf(), reason })?;
    if !manifest.is_coherent() {
        return Err(SnapshotError::Incoherent(path.to_path_buf()));
    }
    Ok(manifest)
}

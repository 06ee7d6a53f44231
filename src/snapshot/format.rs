//! `snapshot.json`: what a snapshot directory says of itself.
//!
//! A sealed file (see [`crate::sealed`]) with the seal under [`SEAL_KEY`], written last: without it a
//! snapshot never happened. Version [`FORMAT_VERSION`].

use super::identity::{ChunkRecord, ChunkTable, root_hash};
use crate::model::Sha256Hash;
use serde::{Deserialize, Serialize};

/// Version of `snapshot.json`.
pub const FORMAT_VERSION: u64 = 1;
/// Name of the file in the snapshot directory.
pub const FILE_NAME: &str = "snapshot.json";
/// Name of the seal in the file.
pub const SEAL_KEY: &str = "seal";

/// The content of `snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotManifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// Program and version that wrote it.
    pub tool: String,
    /// The root hash over the documents (`identity`).
    pub sha256: Sha256Hash,
    /// Where the documents came from; `None` when not from a server of ours.
    pub source: Option<Source>,
    /// Name of the database.
    pub db: String,
    /// Whether all documents are of one point in time.
    pub consistency: Consistency,
    /// That point in time, as `SECONDS:INCREMENT` of the cluster's clock.
    pub cluster_time: Option<String>,
    /// Whether proofs hold their secrets.
    pub secrets: Presence,
    /// Whether wallets hold their private keys.
    pub wallet_keys: Presence,
    /// The two collections.
    pub collections: Vec<CollectionManifest>,
}

/// Where a snapshot's documents came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Hosts, without credentials.
    pub host: String,
    /// Name of the replica set.
    pub replica_set: Option<String>,
    /// The replica set's id, which no other deployment has.
    pub replica_set_id: Option<String>,
    /// The server's version.
    pub server_version: String,
}

/// Whether all documents of a snapshot are of one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// One cluster time for all.
    Snapshot,
    /// Read while others wrote: documents may be of different times.
    None,
    /// Another program's dump; nothing is known.
    Foreign,
}

impl Consistency {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Consistency::Snapshot => "snapshot",
            Consistency::None => "none",
            Consistency::Foreign => "foreign",
        }
    }
}

/// Whether bearer secrets are in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// As in the database.
    Full,
    /// Replaced by keyed hashes whose key was thrown away.
    Hashed,
    /// Left out.
    Omitted,
}

/// One collection of a snapshot directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectionManifest {
    /// `tokens` or `wallets`.
    pub role: Role,
    /// Name in the database.
    pub name: String,
    /// File below the snapshot directory: the database's name, `/`, and a file name.
    pub file: String,
    /// How the file is compressed.
    pub compression: Compression,
    /// Number of documents.
    pub documents: u64,
    /// Bytes of the documents, not compressed.
    pub bytes: u64,
    /// SHA-256 of mongodump's metadata (options, indexes), not compressed; `None` when there is none.
    #[serde(default)]
    pub metadata_sha256: Option<Sha256Hash>,
    /// Chunks of the documents' bytes.
    pub chunks: Vec<ChunkRecord>,
}

/// What a collection is to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `cashu_tokens`.
    Tokens,
    /// `cashu_wallets`.
    Wallets,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not.
    None,
    /// gzip, as `mongodump --gzip`.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl SnapshotManifest {
    /// The collection with `role`.
    #[must_use]
    pub fn collection(&self, role: Role) -> Option<&CollectionManifest> {
        self.collections.iter().find(|collection| collection.role == role)
    }

    /// Whether tables and hashes agree with each other: chunks in line, sums right, root right, at
    /// most one collection a role, tokens there.
    #[must_use]
    pub fn is_coherent(&self) -> bool {
        let table =
            |role| self.collection(role).map(|c| ChunkTable::from_records(c.chunks.clone()));
        let (Some(Some(tokens)), wallets) = (table(Role::Tokens), table(Role::Wallets)) else {
            return false;
        };
        let wallets = match wallets {
            None => None,
            Some(None) => return false,
            Some(Some(table)) => Some(table),
        };
        let sums = self.collections.iter().all(|c| {
            let sum = |part: fn(&ChunkRecord) -> u64| {
                c.chunks.iter().try_fold(0_u64, |sum, chunk| sum.checked_add(part(chunk)))
            };
            let sums = (sum(|chunk| chunk.documents), sum(|chunk| chunk.bytes));
            sums == (Some(c.documents), Some(c.bytes))
        });
        sums && self.collections.len() == 1 + usize::from(wallets.is_some())
            && root_hash(&tokens, wallets.as_ref()) == self.sha256
    }
}

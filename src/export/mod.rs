//! Export: from MongoDB to a snapshot directory, without a single write to the database.
//!
//! Both collections are read at one cluster time through one snapshot session, as raw batches in natural
//! order; a thread of its own hashes, compresses and writes what the session reads. The directory is
//! mongodump's layout plus `snapshot.json`, and appears whole or not at all. When the connection is lost,
//! everything read so far is thrown away and the export starts anew at a new cluster time, at most
//! [`ATTEMPTS_MAX`] times in all: times are never mixed. Document bytes are never decoded or re-encoded.

mod catalog;
mod error;
mod read;
mod redact;
mod store;

pub use error::ExportError;
pub use redact::Unredactable;

use crate::plan::seconds_of;
use crate::progress::{Progress, Unit};
use crate::publish::StagedDirectory;
use crate::server::{DeploymentKind, Server};
use crate::snapshot::format::{
    CollectionManifest, Compression, Consistency, FORMAT_VERSION, Presence, Role, SnapshotManifest,
    Source,
};
use crate::snapshot::identity::{ChunkTable, root_hash};
use crate::snapshot::write::write_manifest;
use error::Failure;
use redact::{HashKey, Redaction};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often an export is begun before a lost connection ends it.
pub const ATTEMPTS_MAX: usize = 3;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(500);

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The tokens' collection.
    pub tokens: String,
    /// The wallets' collection.
    pub wallets: String,
    /// Whether a database without the wallets' collection is an error.
    pub require_wallets: bool,
    /// How the documents are stored.
    pub compression: Compression,
    /// Whether proofs keep their secrets.
    pub secrets: Secrets,
    /// Whether wallets keep their private keys; else they are left out, or hashed with the secrets.
    pub wallet_keys: bool,
    /// Whether all documents must be of one cluster time.
    pub consistency: ReadConsistency,
    /// Program and version, for the manifest.
    pub tool: String,
    /// Whether hashing and writing leave the processor to others that want it.
    pub stands_back: bool,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        ExportOptions {
            tokens: "cashu_tokens".to_owned(),
            wallets: "cashu_wallets".to_owned(),
            require_wallets: true,
            compression: Compression::None,
            secrets: Secrets::Full,
            wallet_keys: false,
            consistency: ReadConsistency::Snapshot,
            tool: concat!("remelt ", env!("CARGO_PKG_VERSION")).to_owned(),
            stands_back: false,
        }
    }
}

/// What becomes of bearer secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// As in the database.
    Full,
    /// Replaced by hashes under a key that is thrown away; the wallets' private keys as well.
    Hashed,
}

/// How far the documents are to be of one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadConsistency {
    /// One cluster time for all, or no export.
    Snapshot,
    /// Plain cursors: documents may be of different times, which the manifest says.
    None,
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportReport {
    /// The snapshot.
    pub snapshot: ExportedSnapshot,
    /// Number of documents by collection, the tokens' first.
    pub documents: serde_json::Map<String, serde_json::Value>,
    /// Bytes of all documents, not compressed.
    pub bytes: u64,
    /// What was measured.
    pub performance: ExportPerformance,
    /// What a person should know, in sentences.
    pub notes: Vec<String>,
}

/// The snapshot that an export made.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedSnapshot {
    /// Where it lies.
    pub path: String,
    /// Its root hash.
    pub sha256: String,
    /// Whether all documents are of one cluster time.
    pub consistency: Consistency,
    /// That time, as `SECONDS:INCREMENT`.
    pub cluster_time: Option<String>,
    /// The deployment.
    pub source: Source,
    /// Name of the database.
    pub db: String,
    /// Whether proofs hold their secrets.
    pub secrets: Presence,
    /// Whether wallets hold their private keys.
    pub wallet_keys: Presence,
    /// How the documents are stored.
    pub compression: Compression,
}

/// What an export measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportPerformance {
    /// Wall time.
    pub seconds: f64,
    /// Documents per second of it.
    pub documents_per_second: u64,
    /// Bytes of documents per second of it.
    pub bytes_per_second: u64,
}

/// Writes the database's tokens and wallets to the new directory `directory`. `elapsed` tells the time
/// since the command began.
///
/// # Errors
/// [`ExportError`]; nothing is then left behind.
pub async fn export(
    server: &Server,
    directory: &Path,
    options: &ExportOptions,
    progress: &Progress,
    elapsed: &(dyn Fn() -> Duration + Sync),
) -> Result<ExportReport, ExportError> {
    check(server, options)?;
    let staged = StagedDirectory::create(directory)?;
    let redaction = Arc::new(redaction(options)?);
    let mut notes = notes(server, options);
    let mut attempt = 1;
    let read = loop {
        progress.check()?;
        let one = Attempt { server, options, redaction: &redaction, progress };
        match one.run(staged.path()).await {
            Ok(read) => break read,
            Err(Failure::Passing(error)) if attempt < ATTEMPTS_MAX => {
                attempt += 1;
                tracing::warn!(attempt, %error, "export begins anew, at a new cluster time");
                store::clear(&staged.path().join(server.db()))?;
                tokio::time::sleep(ATTEMPT_PAUSE).await;
            }
            Err(Failure::Passing(error) | Failure::Final(error)) => return Err(error),
        }
    };
    if attempt > 1 {
        notes.push(format!(
            "the connection was lost; the documents are of attempt {attempt}, which began anew"
        ));
    }
    let source = source(server);
    let manifest = manifest(server, options, source.clone(), read);
    write_manifest(staged.path(), &manifest)?;
    progress.check()?;
    staged.publish()?;
    Ok(report(directory, options, manifest, source, notes, elapsed()))
}

fn check(server: &Server, options: &ExportOptions) -> Result<(), ExportError> {
    for (option, name) in [("tokens", &options.tokens), ("wallets", &options.wallets)] {
        let odd = name.is_empty() || name == "." || name == "..";
        if odd || name.contains(['/', '\\', '\0', '$']) {
            return Err(ExportError::Name { option });
        }
    }
    if options.tokens == options.wallets {
        return Err(ExportError::SameCollection);
    }
    let standalone = server.deployment().kind == DeploymentKind::Standalone;
    if standalone && options.consistency == ReadConsistency::Snapshot {
        return Err(ExportError::Standalone);
    }
    Ok(())
}

fn redaction(options: &ExportOptions) -> Result<Redaction, ExportError> {
    match (options.secrets, options.wallet_keys) {
        (Secrets::Full, true) => Ok(Redaction::None),
        (Secrets::Full, false) => Ok(Redaction::OmitKeys),
        (Secrets::Hashed, _) => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|_| ExportError::NoRandomness)?;
            HashKey::new(&key).map(Redaction::Hash).ok_or(ExportError::NoRandomness)
        }
    }
}

fn notes(server: &Server, options: &ExportOptions) -> Vec<String> {
    let mut notes = Vec::new();
    if options.consistency == ReadConsistency::None {
        notes.push(
            "NOT CONSISTENT: read without a snapshot, so documents may be of different times and sums \
             over them may be wrong; the snapshot says so wherever it is used"
                .to_owned(),
        );
    }
    if server.deployment().replica_set_id.is_none() {
        notes.push(
            "the deployment's id could not be read (standalone server, or the user may not ask for it): \
             a plan made from this snapshot can't prove where it belongs"
                .to_owned(),
        );
    }
    if options.secrets == Secrets::Hashed {
        notes.push(
            "secrets are hashed under a key that was thrown away: this snapshot can be analysed, but a \
             plan made from it can't be applied"
                .to_owned(),
        );
    }
    notes
}

/// What one attempt read.
struct Read {
    cluster_time: Option<String>,
    collections: Vec<CollectionManifest>,
}

struct Attempt<'a> {
    server: &'a Server,
    options: &'a ExportOptions,
    redaction: &'a Arc<Redaction>,
    progress: &'a Progress,
}

impl Attempt<'_> {
    async fn run(&self, root: &Path) -> Result<Read, Failure> {
        let Attempt { server, options, .. } = *self;
        let collections = catalog::read(server, options).await?;
        let bytes = catalog::stored_bytes(server, &collections).await;
        self.progress.begin("exporting", bytes, Unit::Bytes);
        let store = store::Store::create(root, server.db(), options.compression)?;
        let mut session = read::Reading::begin(server, options.consistency).await?;
        let mut manifests = Vec::new();
        for collection in &collections {
            store.write_metadata(collection)?;
            let writer = store.writer(&collection.name)?;
            let (name, redaction) = (collection.name.clone(), Arc::clone(self.redaction));
            let stands_back = options.stands_back;
            let sink = read::Sink { collection: name, writer, redaction, stands_back };
            let table = session.copy(server, collection, sink, self.progress).await?;
            manifests.push(store.describe(collection, &table));
        }
        store.finish(&server.deployment().server_version)?;
        Ok(Read { cluster_time: session.cluster_time(), collections: manifests })
    }
}

fn source(server: &Server) -> Source {
    let deployment = server.deployment();
    Source {
        host: server.hosts().to_owned(),
        replica_set: deployment.replica_set.clone(),
        replica_set_id: deployment.replica_set_id.clone(),
        server_version: deployment.server_version.clone(),
    }
}

fn manifest(
    server: &Server,
    options: &ExportOptions,
    source: Source,
    read: Read,
) -> SnapshotManifest {
    let table = |role| {
        let collection = read.collections.iter().find(|it: &&CollectionManifest| it.role == role);
        collection.and_then(|it| ChunkTable::from_records(it.chunks.clone()))
    };
    let tokens = table(Role::Tokens).unwrap_or_default();
    let sha256 = root_hash(&tokens, table(Role::Wallets).as_ref());
    SnapshotManifest {
        format_version: FORMAT_VERSION,
        tool: options.tool.clone(),
        sha256,
        source: Some(source),
        db: server.db().to_owned(),
        consistency: match options.consistency {
            ReadConsistency::Snapshot => Consistency::Snapshot,
            ReadConsistency::None => Consistency::None,
        },
        cluster_time: read.cluster_time,
        secrets: match options.secrets {
            Secrets::Full => Presence::Full,
            Secrets::Hashed => Presence::Hashed,
        },
        wallet_keys: match (options.secrets, options.wallet_keys) {
            (Secrets::Hashed, _) => Presence::Hashed,
            (Secrets::Full, true) => Presence::Full,
            (Secrets::Full, false) => Presence::Omitted,
        },
        collections: read.collections,
    }
}

fn report(
    directory: &Path,
    options: &ExportOptions,
    manifest: SnapshotManifest,
    source: Source,
    notes: Vec<String>,
    elapsed: Duration,
) -> ExportReport {
    let count = |it: &CollectionManifest| (it.name.clone(), it.documents.into());
    let documents: u64 = manifest.collections.iter().map(|it| it.documents).sum();
    let bytes = manifest.collections.iter().map(|it| it.bytes).sum();
    let rate = |units: u64| {
        let rate = u128::from(units) * 1_000_000 / elapsed.as_micros().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    ExportReport {
        documents: manifest.collections.iter().map(count).collect(),
        bytes,
        performance: ExportPerformance {
            seconds: seconds_of(elapsed),
            documents_per_second: rate(documents),
            bytes_per_second: rate(bytes),
        },
        notes,
        snapshot: ExportedSnapshot {
            path: directory.display().to_string(),
            sha256: manifest.sha256.to_string(),
            consistency: manifest.consistency,
            cluster_time: manifest.cluster_time,
            source,
            db: manifest.db,
            secrets: manifest.secrets,
            wallet_keys: manifest.wallet_keys,
            compression: options.compression,
        },
    }
}

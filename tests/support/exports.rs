//! Exports of a server's database into a directory of the test's own.

use super::raw_collection::RawCollection;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use remelt::export::{ExportError, ExportOptions, ExportReport, export};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::progress::Progress;
use remelt::server::{Server, ServerOptions};
use remelt::snapshot::Snapshot;
use remelt::snapshot::format::SnapshotManifest;
use remelt::snapshot::identity::ChunkTable;
use remelt::snapshot::input::{Chunk, Collection, InputOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const INSERT_DOCUMENTS_MAX: usize = 2_000;
const INSERT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An export that worked, and what it reported.
#[derive(Debug)]
pub(crate) struct Exported {
    /// Holds the snapshot and nothing else.
    pub(crate) directory: TempDir,
    /// Of the export.
    pub(crate) report: ExportReport,
}

impl Exported {
    /// Where the snapshot lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("snapshot")
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::open(&self.path(), &InputOptions::default()).unwrap()
    }

    /// `snapshot.json`.
    pub(crate) fn manifest(&self) -> SnapshotManifest {
        self.snapshot().manifest.unwrap()
    }

    /// All bytes of the tokens and of the wallets, as they are read back.
    pub(crate) fn documents(&self) -> (Vec<u8>, Vec<u8>) {
        let input = self.snapshot().input;
        (read(&input.tokens).0, input.wallets.as_ref().map_or(Vec::new(), |it| read(it).0))
    }

    /// Reads everything and compares it with the manifest.
    pub(crate) fn check(&self) {
        let snapshot = self.snapshot();
        let tokens = read(&snapshot.input.tokens).1;
        let wallets = snapshot.input.wallets.as_ref().map(|it| read(it).1);
        snapshot.check(&tokens, wallets.as_ref()).unwrap();
    }
}

fn read(collection: &Collection) -> (Vec<u8>, ChunkTable) {
    let mut reader = collection.read().unwrap();
    let (mut chunk, mut bytes, mut table) = (Chunk::default(), Vec::new(), ChunkTable::new());
    while reader.next_chunk(&mut chunk).unwrap() {
        bytes.extend_from_slice(chunk.bytes());
        let length = u64::try_from(chunk.bytes().len()).unwrap();
        let documents = u64::try_from(chunk.documents).unwrap();
        table.push(length, documents, remelt::model::hash_bytes(chunk.bytes()));
    }
    (bytes, table)
}

/// The usual options.
pub(crate) fn options() -> ExportOptions {
    ExportOptions::default()
}

/// Connects as the command line does.
pub(crate) async fn connect(uri: &str) -> Server {
    Server::connect(&ServerOptions { uri: uri.to_owned(), db: None }).await.unwrap()
}

/// Exports to `path`.
pub(crate) async fn export_to(
    server: &Server,
    path: &Path,
    options: &ExportOptions,
) -> Result<ExportReport, ExportError> {
    export(server, path, options, &Progress::new(), &|| Duration::from_millis(1)).await
}

/// Exports; when that fails, nothing may be left behind.
pub(crate) async fn try_export(
    uri: &str,
    options: &ExportOptions,
) -> Result<Exported, ExportError> {
    let directory = tempfile::tempdir().unwrap();
    let server = connect(uri).await;
    let result = export_to(&server, &directory.path().join("snapshot"), options).await;
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, usize::from(result.is_ok()), "files were left behind");
    Ok(Exported { report: result?, directory })
}

/// Exports, which must work.
pub(crate) async fn export_with(uri: &str, options: &ExportOptions) -> Exported {
    match try_export(uri, options).await {
        Ok(exported) => exported,
        Err(error) => panic!("the export failed: {error}"),
    }
}

/// The connection string under another application name, for fail points.
pub(crate) fn app_uri(uri: &str, app: &str) -> String {
    format!("{uri}&appName={app}")
}

/// Runs a `configureFailPoint`.
pub(crate) async fn fail_point(database: &Database, command: Document) {
    database.client().database("admin").run_command(command).await.unwrap();
}

/// The fail point that holds every later batch of the application back.
pub(crate) fn block_get_more(app: &str, ms: i32) -> Document {
    let data = doc! {
        "failCommands": ["getMore"], "appName": app, "blockConnection": true, "blockTimeMS": ms,
    };
    doc! {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data}
}

/// Inserts documents as they are; those that the server refuses are left out.
pub(crate) async fn fill(database: &Database, name: &str, documents: &[Vec<u8>]) {
    let collection = RawCollection::new(database, name);
    let mut rest = documents;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |document: &&Vec<u8>| {
            bytes += document.len();
            bytes < INSERT_BYTES_MAX
        };
        let count = rest.iter().take(INSERT_DOCUMENTS_MAX).take_while(fits).count().max(1);
        collection.insert(&rest[..count]).await;
        rest = &rest[count..];
    }
}

/// What the server stores, in natural order.
pub(crate) async fn stored(database: &Database, name: &str) -> Vec<Vec<u8>> {
    RawCollection::new(database, name).read().await
}

/// A generated ledger with every kind of damage: tokens and wallets.
pub(crate) fn small_ledger(tokens: u64) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let options = GenerateOptions { tokens, seed: 3, damage: true };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    (split(&tokens), split(&wallets))
}

/// Cuts bytes into documents.
pub(crate) fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut documents = Vec::new();
    while let Some(head) = bytes.first_chunk() {
        let (document, rest) = bytes.split_at(usize::try_from(i32::from_le_bytes(*head)).unwrap());
        documents.push(document.to_vec());
        bytes = rest;
    }
    documents
}

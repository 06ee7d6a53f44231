//! Replaying a plan on a copy of its snapshot: the repaired dump, and back again.
//!
//! The copy is built beside its place and published whole, in mongodump's layout, ready for
//! `mongorestore`. A token is written changed only if it is byte for byte what the plan saw, and the
//! whole input must be the snapshot that the plan was made from; restoring must give that snapshot's
//! root hash again. Anything else refuses, and nothing is published. The input is never touched.

use crate::document::{Malformed, identifier_text};
use crate::model::{Sha256Hash, hash_bytes};
use crate::plan::{Batch, Change, Plan, PlanError};
use crate::progress::{Interrupted, Progress, Unit};
use crate::publish::{
    PublishError, StagedDirectory, create_private_directories, sync_directory, write_file,
};
use crate::snapshot::format::{FORMAT_VERSION, Presence, Role, SnapshotManifest};
use crate::snapshot::identity::{ChunkTable, root_hash};
use crate::snapshot::input::{Chunk, Collection, InputError};
use crate::snapshot::write::{CollectionWriter, describe_collection, write_manifest};
use crate::snapshot::{Snapshot, SnapshotError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Which way a plan is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Before to after.
    Repair,
    /// After to before.
    Restore,
}

/// What a replay wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Tokens written changed.
    pub changed: u64,
    /// Tokens in all.
    pub tokens: u64,
    /// Root hash of what was read.
    pub sha256_read: Sha256Hash,
    /// Root hash of what was written.
    pub sha256_written: Sha256Hash,
}

/// Most drifted tokens that an error names.
const DRIFT_NAMED_MAX: usize = 10;

/// Tokens that are not what the plan says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// How many.
    pub count: u64,
    /// The `_id`s of the first, as text.
    pub first: Vec<String>,
}

impl Drift {
    fn add(&mut self, change: &Change<'_>) {
        self.count += 1;
        if self.first.len() < DRIFT_NAMED_MAX {
            self.first.push(identifier_text(change.id));
        }
    }
}

/// Why a copy was not made. Nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The snapshot can't be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The plan can't be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The copy can't be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Tokens are not what the plan saw.
    #[error(
        "{} of the plan's tokens are not what the plan {}, the first: {}; nothing was written: use the \
         snapshot that belongs to this plan",
        drift.count,
        match direction { Direction::Repair => "saw", Direction::Restore => "left behind" },
        drift.first.join(", ")
    )]
    Drifted {
        /// Which way.
        direction: Direction,
        /// Which tokens.
        drift: Drift,
    },
    /// The snapshot is another one.
    #[error(
        "the snapshot is not the one that the plan was made from: expected root SHA-256 {expected}, \
         seen {seen}; nothing was written: use that snapshot, or analyze this one"
    )]
    OtherSnapshot {
        /// As planned.
        expected: Sha256Hash,
        /// Read, or written when restoring.
        seen: Sha256Hash,
    },
    /// The snapshot's secrets are not there.
    #[error(
        "the plan was made from a snapshot without secrets, so its hashes are not those of the real \
         documents and it can't be applied; export with secrets and analyze that"
    )]
    WithoutSecrets,
    /// A token can't be edited.
    #[error("a token of the plan is malformed: {0}; take the dump anew")]
    Malformed(#[from] Malformed),
    /// The database's name can't name a directory.
    #[error(
        "the plan's database name can't name a directory; analyze again with --db and another name"
    )]
    DatabaseName,
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<InputError> for CopyError {
    fn from(error: InputError) -> CopyError {
        CopyError::Snapshot(error.into())
    }
}

/// Writes a copy of `snapshot` with `plan` replayed on it as the snapshot directory `out`.
///
/// # Errors
/// [`CopyError`]; then there is no `out`.
pub fn replay(
    plan: &Plan,
    snapshot: &Snapshot,
    out: &Path,
    direction: Direction,
    tool: &str,
    progress: &Progress,
) -> Result<Copied, CopyError> {
    if plan.content().snapshot.secrets != Presence::Full {
        return Err(CopyError::WithoutSecrets);
    }
    let planned = &plan.content().snapshot;
    let db = planned.db.as_deref().or(snapshot.input.db.as_deref()).unwrap_or("nctool");
    if !is_plain_name(db) {
        return Err(CopyError::DatabaseName);
    }
    let staged = StagedDirectory::create(out)?;
    let directory = staged.path().join(db);
    create_private_directories(&directory)?;

    let tokens = &snapshot.input.tokens;
    let mut editor = Editor::new(plan, direction);
    progress.begin("copying tokens", tokens.stored_bytes(), Unit::Bytes);
    let tokens_table = copy(tokens, &directory, progress, |document, ordinal, out| {
        editor.write(document, ordinal, out)
    })?;
    let changed = editor.finish()?;
    let wallets_table = match &snapshot.input.wallets {
        None => None,
        Some(wallets) => {
            progress.begin("copying wallets", wallets.stored_bytes(), Unit::Bytes);
            Some(copy(wallets, &directory, progress, |document, _, out| {
                Ok(out.write_document(document)?)
            })?)
        }
    };

    let read = root_hash(&tokens_table.read, wallets_table.as_ref().map(|t| &t.read));
    let written = root_hash(&tokens_table.written, wallets_table.as_ref().map(|t| &t.written));
    snapshot.check(&tokens_table.read, wallets_table.as_ref().map(|t| &t.read))?;
    let (expected, seen) = match direction {
        Direction::Repair => (planned.sha256, read),
        Direction::Restore => (planned.sha256, written),
    };
    if expected != seen {
        return Err(CopyError::OtherSnapshot { expected, seen });
    }
    let mut collections = vec![describe(db, tokens, Role::Tokens, &tokens_table.written)];
    if let (Some(wallets), Some(table)) = (&snapshot.input.wallets, &wallets_table) {
        collections.push(describe(db, wallets, Role::Wallets, &table.written));
    }
    let manifest = SnapshotManifest {
        format_version: FORMAT_VERSION,
        tool: tool.to_owned(),
        sha256: written,
        source: planned.source.clone(),
        db: db.to_owned(),
        consistency: planned.consistency,
        cluster_time: planned.cluster_time.clone(),
        secrets: snapshot.secrets(),
        wallet_keys: snapshot.manifest.as_ref().map_or(Presence::Full, |m| m.wallet_keys),
        collections,
    };
    sync_directory(&directory)?;
    write_manifest(staged.path(), &manifest)?;
    progress.check()?;
    staged.publish()?;
    let tokens = tokens_table.written.documents();
    Ok(Copied { changed, tokens, sha256_read: read, sha256_written: written })
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn describe(
    db: &str,
    collection: &Collection,
    role: Role,
    table: &ChunkTable,
) -> crate::snapshot::format::CollectionManifest {
    let file = format!("{db}/{}.bson", collection.name);
    let metadata = collection.metadata_json.as_deref();
    describe_collection(role, &collection.name, file, table, metadata)
}

/// Puts the plan's tokens into their other state, in the order of the snapshot.
struct Editor<'a> {
    plan: &'a Plan,
    direction: Direction,
    batch: Option<Batch>,
    next_batch: usize,
    at: usize,
    changed: u64,
    drift: Drift,
}

impl<'a> Editor<'a> {
    fn new(plan: &'a Plan, direction: Direction) -> Editor<'a> {
        let drift = Drift::default();
        Editor { plan, direction, batch: None, next_batch: 0, at: 0, changed: 0, drift }
    }

    /// Reads the next batch when the one before is used up; `false` at the end of the plan.
    fn load(&mut self) -> Result<bool, PlanError> {
        while self.batch.as_ref().is_none_or(|batch| self.at >= batch.len()) {
            if self.next_batch >= self.plan.content().batches.len() {
                return Ok(false);
            }
            self.batch = Some(self.plan.read_batch(self.next_batch)?);
            self.next_batch += 1;
            self.at = 0;
        }
        Ok(true)
    }

    fn write(
        &mut self,
        document: &[u8],
        ordinal: u64,
        out: &mut CollectionWriter,
    ) -> Result<(), CopyError> {
        if !self.load()? {
            return Ok(out.write_document(document)?);
        }
        let change = self.batch.as_ref().and_then(|batch| batch.change(self.at));
        let Some(change) = change.filter(|change| change.ordinal <= ordinal) else {
            return Ok(out.write_document(document)?);
        };
        let edited = match self.direction {
            _ if change.ordinal != ordinal => None,
            Direction::Repair if change.is_before(document) => {
                Some(change.after.put_into(document)?).filter(|edited| change.is_after(edited))
            }
            Direction::Restore if change.is_after(document) => {
                Some(change.before.put_into(document)?).filter(|edited| change.is_before(edited))
            }
            _ => None,
        };
        match &edited {
            Some(_) => self.changed += 1,
            None => self.drift.add(&change),
        }
        self.at += 1;
        Ok(out.write_document(edited.as_deref().unwrap_or(document))?)
    }

    /// How many tokens were changed, when every change of the plan was met.
    fn finish(mut self) -> Result<u64, CopyError> {
        while self.load()? {
            if let Some(change) = self.batch.as_ref().and_then(|batch| batch.change(self.at)) {
                self.drift.add(&change);
            }
            self.at += 1;
        }
        if self.drift.count > 0 {
            return Err(CopyError::Drifted { direction: self.direction, drift: self.drift });
        }
        Ok(self.changed)
    }
}

struct Tables {
    read: ChunkTable,
    written: ChunkTable,
}

/// Chunks read ahead of the writer.
const CHUNKS_AHEAD: usize = 4;

/// Copies a collection's documents through `write`, its metadata as it is, and hashes both sides.
fn copy(
    collection: &Collection,
    directory: &Path,
    progress: &Progress,
    mut write: impl FnMut(&[u8], u64, &mut CollectionWriter) -> Result<(), CopyError>,
) -> Result<Tables, CopyError> {
    if let Some(metadata) = &collection.metadata_json {
        write_file(&directory.join(format!("{}.metadata.json", collection.name)), metadata)?;
    }
    let path: PathBuf = directory.join(format!("{}.bson", collection.name));
    let mut out = CollectionWriter::create(&path)?;
    let (filled, chunks) = sync_channel(CHUNKS_AHEAD);
    let (empty, spare) = sync_channel(CHUNKS_AHEAD + 2);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read_ahead(collection, &filled, &spare, progress));
        let written = (|| {
            let mut ordinal = 0;
            for chunk in &chunks {
                for (_, document) in chunk.framed() {
                    write(document, ordinal, &mut out)?;
                    ordinal += 1;
                }
                let _ = empty.try_send(chunk); // reused when there is room, else freed
            }
            Ok(())
        })();
        drop(chunks); // ends the reader when the writer failed
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and_then(|()| Ok(Tables { read: read?, written: out.finish()? }))
    })
}

fn read_ahead(
    collection: &Collection,
    filled: &SyncSender<Chunk>,
    spare: &Receiver<Chunk>,
    progress: &Progress,
) -> Result<ChunkTable, CopyError> {
    let mut table = ChunkTable::new();
    let mut reader = collection.read()?;
    let mut seen = 0;
    loop {
        progress.check()?;
        let mut chunk = spare.try_recv().unwrap_or_default();
        if !reader.next_chunk(&mut chunk)? {
            return Ok(table);
        }
        progress.advance(reader.stored_position().saturating_sub(seen));
        seen = reader.stored_position();
        let bytes = chunk.bytes();
        table.push(bytes.len() as u64, chunk.documents as u64, hash_bytes(bytes));
        if filled.send(chunk).is_err() {
            return Ok(table); // the writer failed and says why
        }
    }
}

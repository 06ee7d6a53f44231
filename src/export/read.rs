//! Reading documents as raw batches and handing them to a thread that writes.
//!
//! One snapshot session reads all collections: its first read fixes the cluster time, and every later one
//! is made to be of the same time by the server. Between reader and writer lies a channel of
//! [`BATCHES_MAX`] batches, so memory is bounded by that and the server's bound on a reply (16 MiB).

use super::ExportError;
use super::ReadConsistency;
use super::catalog::{SourceCollection, handle};
use super::error::{Failure, judge};
use super::redact::Redaction;
use crate::background::standing_back;
use crate::progress::Progress;
use crate::server::Server;
use crate::snapshot::identity::ChunkTable;
use crate::snapshot::write::CollectionWriter;
use futures_util::{Stream, StreamExt};
use mongodb::ClientSession;
use mongodb::bson::{Timestamp, doc};
use mongodb::options::ReadConcern;
use mongodb::raw_batch_cursor::RawBatch;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Documents a batch: the fastest measured.
const BATCH_DOCUMENTS: u32 = 1000;
/// Batches read and not yet written.
const BATCHES_MAX: usize = 4;

/// How often a wait for the server looks whether it was told to stop.
const STOP_LOOK: Duration = Duration::from_millis(200);

const DOING: &str = "read the documents";
const PRIVILEGE: &str = "find on the collection (the role read has it)";

/// How documents are read during one attempt.
pub(super) enum Reading {
    Snapshot(Box<ClientSession>),
    Plain,
}

/// Where a collection's documents go.
pub(super) struct Sink {
    pub(super) collection: String,
    pub(super) writer: CollectionWriter,
    pub(super) redaction: Arc<Redaction>,
    pub(super) stands_back: bool,
}

impl Reading {
    pub(super) async fn begin(
        server: &Server,
        consistency: ReadConsistency,
    ) -> Result<Reading, Failure> {
        match consistency {
            ReadConsistency::None => Ok(Reading::Plain),
            ReadConsistency::Snapshot => {
                let session = server.client().start_session().snapshot(true);
                let session = session.await.map_err(judge("start a session", PRIVILEGE))?;
                Ok(Reading::Snapshot(Box::new(session)))
            }
        }
    }

    fn time(&self) -> Option<Timestamp> {
        match self {
            Reading::Snapshot(session) => session.snapshot_time(),
            Reading::Plain => None,
        }
    }

    /// The cluster time of everything read, once something was.
    pub(super) fn cluster_time(&self) -> Option<String> {
        self.time().map(|time| format!("{}:{}", time.time, time.increment))
    }

    /// Copies all documents of a collection to `sink`.
    pub(super) async fn copy(
        &mut self,
        server: &Server,
        collection: &SourceCollection,
        sink: Sink,
        progress: &Progress,
    ) -> Result<ChunkTable, Failure> {
        let before = self.time();
        let handle = handle(server, &collection.name);
        let find = handle.find(doc! {}).batch_size(BATCH_DOCUMENTS);
        let table = match self {
            Reading::Plain => {
                let mut cursor = find.batch().await.map_err(judge(DOING, PRIVILEGE))?;
                pass_on(&mut cursor, sink, progress).await?
            }
            Reading::Snapshot(session) => {
                // The driver leaves a read concern of the client as it is, even in a snapshot session.
                let find = find.read_concern(ReadConcern::snapshot()).session(&mut **session);
                let mut cursor = find.batch().await.map_err(judge(DOING, PRIVILEGE))?;
                if session.snapshot_time().is_none() {
                    return Err(ExportError::NoClusterTime.into());
                }
                pass_on(&mut cursor.stream(session), sink, progress).await?
            }
        };
        if before.is_some() && before != self.time() {
            return Err(ExportError::NoClusterTime.into());
        }
        Ok(table)
    }
}

/// Moves batches to a thread that writes them, and waits for it.
async fn pass_on(
    batches: &mut (impl Stream<Item = mongodb::error::Result<RawBatch>> + Unpin),
    sink: Sink,
    progress: &Progress,
) -> Result<ChunkTable, Failure> {
    let (sender, receiver) = mpsc::channel(BATCHES_MAX);
    let writing = tokio::task::spawn_blocking(move || match sink.stands_back {
        true => standing_back(|| write(receiver, sink)),
        false => write(receiver, sink),
    });
    let sent = send(batches, &sender, progress).await;
    drop(sender);
    // What the writer ran into comes first: the reader then saw only a closed channel.
    let written = writing.await.map_err(|_| ExportError::Writer)??;
    sent?;
    Ok(written.ok_or(ExportError::Writer)?)
}

/// A batch, or nothing for the end.
type Message = Option<RawBatch>;

async fn send(
    batches: &mut (impl Stream<Item = mongodb::error::Result<RawBatch>> + Unpin),
    sender: &mpsc::Sender<Message>,
    progress: &Progress,
) -> Result<(), Failure> {
    loop {
        let next = tokio::time::timeout(STOP_LOOK, batches.next()).await;
        progress.check()?;
        let batch = match next {
            Err(_) => continue, // a server that takes its time does not keep anyone from stopping
            Ok(None) => break,
            Ok(Some(batch)) => batch,
        };
        let batch = batch.map_err(judge(DOING, PRIVILEGE))?;
        let bytes = batch.as_raw_document().as_bytes().len();
        if sender.send(Some(batch)).await.is_err() {
            return Ok(()); // the writer says why
        }
        progress.advance(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
    // When the writer is gone, it says why.
    let _ = sender.send(None).await;
    Ok(())
}

/// Writes what comes, until its end; `None` when the channel closed before.
fn write(
    mut batches: mpsc::Receiver<Message>,
    sink: Sink,
) -> Result<Option<ChunkTable>, ExportError> {
    let Sink { collection, mut writer, redaction, .. } = sink;
    let mut redacted = Vec::new();
    let mut number = 0;
    while let Some(message) = batches.blocking_recv() {
        let Some(batch) = message else {
            return Ok(Some(writer.finish()?));
        };
        let answer = crate::server::failed(DOING, PRIVILEGE);
        for document in batch.doc_slices().map_err(&answer)? {
            let document = document.map_err(|error| answer(error.into()))?;
            let document = document.as_document().ok_or(ExportError::Writer)?.as_bytes();
            if redaction.leaves(document) {
                writer.write_document(document)?;
            } else {
                redacted.clear();
                redaction.append(document, &mut redacted).map_err(|reason| {
                    ExportError::Unredactable { collection: collection.clone(), number, reason }
                })?;
                writer.write_document(&redacted)?;
            }
            number += 1;
        }
    }
    Ok(None)
}

//! One reading of the database: every pipeline at the same cluster time, and a way to stop it.

use super::error::{ClusterError, judge};
use super::figures::Figures;
use crate::document::{Value, ValueKind};
use crate::progress::{Interrupted, Progress, Unit};
use crate::server::Server;
use futures_util::StreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::options::{Collation, ReadConcern};
use std::pin::pin;
use std::time::Duration;

/// How often a wait for the server looks whether it was told to stop.
const STOP_LOOK: Duration = Duration::from_millis(200);

const PRIVILEGE: &str = "find on the collection (the role read has it)";

/// How far the documents are to be of one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterConsistency {
    /// One cluster time for all pipelines; a standalone server, which has none, is read without.
    Snapshot,
    /// Documents may be of different times, which the report says.
    None,
}

/// A step of the analysis: a pipeline on a collection.
pub(super) struct Step<'a> {
    /// What it is to do: for the progress, for errors and, in the operation's comment, for `currentOp`.
    pub(super) name: &'static str,
    pub(super) collection: &'a str,
    pub(super) pipeline: Vec<Document>,
}

/// A session in which all pipelines run, one after another.
pub(super) struct Reading<'a> {
    server: &'a Server,
    session: ClientSession,
    is_snapshot: bool,
    progress: &'a Progress,
}

impl<'a> Reading<'a> {
    pub(super) async fn begin(
        server: &'a Server,
        is_snapshot: bool,
        progress: &'a Progress,
    ) -> Result<Reading<'a>, ClusterError> {
        let session = server.client().start_session().snapshot(is_snapshot);
        let session = session.await.map_err(judge("start a session", PRIVILEGE))?;
        Ok(Reading { server, session, is_snapshot, progress })
    }

    /// The cluster time of everything read, once something was.
    pub(super) fn cluster_time(&self) -> Option<String> {
        self.session.snapshot_time().map(|time| format!("{}:{}", time.time, time.increment))
    }

    /// Runs a step whose pipeline ends with one document of numbers, or none when there was nothing to
    /// count.
    pub(super) async fn figures(&mut self, step: Step<'_>) -> Result<Figures, ClusterError> {
        let mut figures = Figures::default();
        self.each(step, |document| {
            figures = Figures::read(document)?;
            Ok(())
        })
        .await?;
        Ok(figures)
    }

    /// Runs a step and hands its documents, which may hold text that is not UTF-8, to `take`. Told to stop,
    /// it ends the operation on the server too.
    pub(super) async fn each(
        &mut self,
        step: Step<'_>,
        take: impl FnMut(&[u8]) -> Result<(), ClusterError>,
    ) -> Result<(), ClusterError> {
        self.progress.begin(step.name, 0, Unit::Documents);
        let (server, progress) = (self.server, self.progress);
        let session = self.session.id().clone();
        let before = self.session.snapshot_time();
        if let Some(interrupted) = unless_stopped(self.run(step, take), progress).await? {
            end(server, session).await;
            return Err(interrupted.into());
        }
        self.check_time(before)
    }

    fn check_time(&self, before: Option<Timestamp>) -> Result<(), ClusterError> {
        let now = self.session.snapshot_time();
        let is_one_time = now.is_some() && (before.is_none() || before == now);
        if self.is_snapshot && !is_one_time {
            return Err(ClusterError::NoClusterTime);
        }
        Ok(())
    }

    async fn run(
        &mut self,
        step: Step<'_>,
        mut take: impl FnMut(&[u8]) -> Result<(), ClusterError>,
    ) -> Result<(), ClusterError> {
        let doing = step.name;
        let judged = || judge(doing, PRIVILEGE);
        let collection = self.server.database().collection::<RawDocumentBuf>(step.collection);
        let mut aggregate = collection
            .aggregate(step.pipeline)
            .allow_disk_use(true)
            // Text is compared by its bytes, whatever the collection's own collation.
            .collation(Collation::builder().locale("simple").build())
            .comment(format!("remelt analyze: {}", step.name));
        if self.is_snapshot {
            // The driver leaves a read concern of the client as it is, even in a snapshot session.
            aggregate = aggregate.read_concern(ReadConcern::snapshot());
        }
        let cursor = aggregate.session(&mut self.session).batch().await;
        let mut cursor = cursor.map_err(judged())?;
        let mut batches = cursor.stream(&mut self.session);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(judged())?;
            for document in batch.doc_slices().map_err(judged())? {
                let document = document.map_err(|error| judged()(error.into()))?;
                let document = document.as_document().ok_or(ClusterError::Figures)?;
                take(document.as_bytes())?;
                self.progress.advance(1);
            }
        }
        Ok(())
    }
}

/// Waits for `work`, or until it is told to stop.
async fn unless_stopped(
    work: impl Future<Output = Result<(), ClusterError>>,
    progress: &Progress,
) -> Result<Option<Interrupted>, ClusterError> {
    let mut work = pin!(work);
    loop {
        let done = tokio::time::timeout(STOP_LOOK, &mut work).await;
        match (progress.check(), done) {
            (Err(interrupted), _) => return Ok(Some(interrupted)),
            (Ok(()), Ok(done)) => return done.map(|()| None),
            (Ok(()), Err(_)) => {} // a server that takes its time does not keep anyone from stopping
        }
    }
}

/// Ends what runs in the session on the server. A user may end the own sessions without a privilege; when
/// it fails all the same, the server ends the operation as it finds the connection closed.
async fn end(server: &Server, session: Document) {
    let admin = server.client().database("admin");
    let _ = admin.run_command(doc! {"killSessions": [session]}).await;
}

/// The value of a text, its bytes as they are.
pub(super) fn text_bytes(value: Option<Value<'_>>) -> Option<&[u8]> {
    value.filter(|value| value.kind == ValueKind::String).and_then(Value::as_text_bytes)
}

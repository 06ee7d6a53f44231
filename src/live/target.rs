//! What a run asks of a database: the seam between the protocol of a batch and what carries it out.
//!
//! The protocol (`work`, `batch`, `commit`) is written against these two traits alone. MongoDB implements
//! them in `mongo`; the simulator of the tests (`simulation`) implements them with a database that loses
//! commits, answers late, drifts and dies.

use super::batch::Unit;
use super::error::RunError;
use super::observe::Observation;
use super::store::{Recorded, RecordedBatch};
use crate::plan::Change;

/// Why one attempt did not commit.
#[derive(Debug)]
pub(super) enum Fault {
    /// Trying again can help.
    Again {
        /// What was told last.
        last: String,
        /// Whether the transaction was gone.
        has_vanished: bool,
    },
    /// The journal has the batch already.
    Recorded,
    /// The commit's outcome is not known.
    Unknown {
        /// What was told last.
        last: String,
    },
    /// No attempt will help.
    Stop(RunError),
}

/// What a commit was answered with, when not that it happened.
#[derive(Debug)]
pub(super) enum CommitFault {
    /// It certainly or probably did not happen: the whole transaction anew, whose journal document
    /// collides if it did happen.
    NotCommitted(Fault),
    /// Not known.
    Unknown {
        /// What was told.
        last: String,
        /// Whether committing again can bring an answer.
        may_pass: bool,
    },
}

/// How many documents an update matched and how many it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Updated {
    pub(super) matched: u64,
    pub(super) modified: u64,
}

/// A database with the lease held.
pub(super) trait Database {
    /// A session for transactions.
    type Session: Session;

    /// Waits until so many documents more may be written, or the run is told to stop.
    async fn make_way(&self, documents: u64) -> Result<(), RunError>;

    /// Opens the session of worker number `slot`.
    async fn open_session(&self, slot: usize) -> Result<Self::Session, RunError>;

    /// Writes a session's id to the lease, so that whoever takes over can end it.
    async fn note_session(&self, id: &[u8]) -> Result<(), RunError>;

    /// The journal document of a batch with its undo images, read at majority.
    async fn read_undo(&self, batch: u64, from: u64) -> Result<RecordedBatch, RunError>;
}

/// A session, which has one transaction at a time. A new transaction ends one that is open.
pub(super) trait Session {
    /// Its id, when it tells it.
    fn id(&self) -> Option<Vec<u8>>;

    /// Starts a transaction.
    async fn start(&mut self) -> Result<(), Fault>;

    /// Inserts the unit's journal document, or marks it as rolled back: whatever else claims this batch
    /// collides here.
    async fn record(&mut self, unit: &Unit) -> Result<(), Fault>;

    /// Writes to this worker's fence, which counts what an apply records; stops when somebody else holds the lease.
    async fn hold_lease(&mut self, unit: &Unit) -> Result<(), Fault>;

    /// Reads the documents of `changes` and compares them.
    async fn observe(&mut self, changes: &[Change<'_>]) -> Result<Observation, Fault>;

    /// Writes the documents of `changes` as the goal wants them.
    async fn update(&mut self, changes: &[Change<'_>]) -> Result<Updated, Fault>;

    /// Notes in the unit's journal document the positions of the documents that were not written, and how many of
    /// them were found as wanted.
    async fn note_left(&mut self, unit: &Unit, left: &[u64], found: u64) -> Result<(), Fault>;

    /// Gives the transaction up; what can't be told any more ends by itself.
    async fn abort(&mut self);

    /// Commits, or commits again.
    async fn commit(&mut self) -> Result<(), CommitFault>;

    /// What a majority's journal has of the unit, outside of the transaction.
    async fn read_recorded(&mut self, unit: &Unit) -> Result<Option<Recorded>, Fault>;

    /// Fails when somebody else has taken over.
    async fn check_lease(&mut self) -> Result<(), RunError>;
}

//! Why an analysis fails.

use crate::document::Fault;
use crate::progress::Interrupted;
use crate::publish::PublishError;
use crate::scratch::ScratchError;
use crate::snapshot::input::{InputError, Place};

/// Why an analysis failed. Never holds content of a document.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The snapshot can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A document breaks the BSON specification.
    #[error(
        "{document}: malformed BSON in the document that begins there: {fault}, {at} bytes into it; \
         the file is damaged: take the dump anew, or compare its checksum with the original's"
    )]
    Malformed {
        /// Where the document begins.
        document: Place,
        /// Where the fault is, in bytes from there.
        at: usize,
        /// What it is.
        fault: Fault,
    },
    /// Two documents have one `_id`.
    #[error(
        "{collection}: documents number {first} and {second} (from 0) have the same _id, which no \
         collection can hold: part of the file was duplicated, or it was dumped while it changed; \
         take the dump anew"
    )]
    DuplicateId {
        /// Collection with the documents.
        collection: String,
        /// Number of the first.
        first: u64,
        /// Number of the second.
        second: u64,
    },
    /// The wallets need more memory than allowed.
    #[error("the wallets need about {needed} bytes of memory and {allowed} are allowed; raise --memory to {} bytes or more", needed.saturating_mul(4))]
    WalletsTooLarge {
        /// Bytes needed.
        needed: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// More documents than are numbered.
    #[error("more than 2^40 documents in one collection, which this remelt does not number")]
    TooManyDocuments,
    /// Scratch space could not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The output can't be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// What was read the second time is not what was judged: different secrets have had the same fingerprint, and
    /// another [`FingerprintKey`](super::FingerprintKey) helps, or the snapshot is being changed.
    #[error(
        "the tokens are not what they were when they were read the first time; make sure that nothing writes to the snapshot, and run the command again"
    )]
    FingerprintsCollide,
    /// The worker threads could not be started.
    #[error("could not start {0} worker threads; pass a smaller --threads")]
    Threads(usize),
    /// A document that was valid is not; a bug.
    #[error("a validated document could not be edited ({0}); please report this")]
    Unreachable(String),
}

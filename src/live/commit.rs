//! Committing with a deadline, without ever guessing.

use super::patience::{Backoff, is_passing};
use crate::server::error_code;
use mongodb::ClientSession;
use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use std::time::Duration;

/// How long to go on committing one transaction before the journal is asked.
const COMMIT_PATIENCE: Duration = Duration::from_secs(60);
const MAX_TIME_EXPIRED: i32 = 50;

/// What became of a commit.
#[derive(Debug)]
pub(super) enum Commit {
    /// It is in a majority's journals.
    Done,
    /// It certainly or probably did not happen: the whole transaction anew, whose journal document
    /// collides if it did happen.
    Again(mongodb::error::Error),
    /// Not known: the database's journal has to be asked.
    Unknown(mongodb::error::Error),
}

pub(super) async fn commit(session: &mut ClientSession) -> Commit {
    let mut backoff = Backoff::new(COMMIT_PATIENCE);
    loop {
        let Err(error) = session.commit_transaction().await else {
            return Commit::Done;
        };
        // First the label that says "not committed": both together mean that.
        if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
            return Commit::Again(error);
        }
        let is_unknown = error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
            || error_code(&error) == Some(MAX_TIME_EXPIRED)
            || is_passing(&error);
        if !is_unknown || !backoff.wait().await {
            // Whatever else it is: an error without a label was seen on a commit that happened.
            return Commit::Unknown(error);
        }
    }
}

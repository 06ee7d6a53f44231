//! Committing with a deadline, without ever guessing.

use super::patience::Backoff;
use super::target::{CommitFault, Fault, Session};
use std::time::Duration;

/// How long to go on committing one transaction before the journal is asked.
const COMMIT_PATIENCE: Duration = Duration::from_secs(60);

/// Commits the session's transaction. `Ok` means that it is in a majority's journals.
pub(super) async fn commit(session: &mut impl Session) -> Result<(), Fault> {
    let mut backoff = Backoff::new(COMMIT_PATIENCE);
    loop {
        match session.commit().await {
            Ok(()) => return Ok(()),
            Err(CommitFault::NotCommitted(fault)) => return Err(fault),
            Err(CommitFault::Unknown { last, may_pass }) => {
                if !may_pass || !backoff.wait().await {
                    return Err(Fault::Unknown { last });
                }
            }
        }
    }
}

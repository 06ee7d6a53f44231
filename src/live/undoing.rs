//! What a rollback would restore, added up from the undo images. Reads only.

use super::error::RunError;
use super::options::RunOptions;
use super::preflight::Tally;
use super::rollback::{RollbackOf, find_run, is_standing, read_complete};
use super::store::read_recorded_batch;
use crate::server::Server;
use futures_util::{StreamExt, TryStreamExt, stream};

/// What a rollback would restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoing {
    /// The run.
    pub run_id: String,
    /// How far it is.
    pub state: String,
    /// Tokens that it wrote and that are not restored yet.
    pub tokens: u64,
    /// Their users.
    pub users: u64,
    /// Sum of their amounts, by which balances rise again.
    pub amount: i128,
}

/// Looks the run up and adds its undo images up.
///
/// # Errors
/// [`RunError`] when there is no such run, or its images are not there or not as they were written.
pub async fn undoing(
    of: RollbackOf<'_>,
    server: &Server,
    options: &RunOptions,
) -> Result<Undoing, RunError> {
    let run = find_run(of, server, options).await?;
    let recorded = read_complete(server, options, &run).await?;
    let mut tally = Tally::default();
    let applied = recorded.into_iter().filter(is_standing);
    let images =
        applied.map(|found| read_recorded_batch(server, options, &run.id, found.batch, found.from));
    let mut images = stream::iter(images).buffered(options.workers());
    while let Some(images) = images.try_next().await? {
        tally.add(&images.written);
    }
    drop(images);
    let (tokens, users, amount) = (tally.tokens, tally.users(), tally.amount);
    Ok(Undoing { run_id: run.id, state: run.state.as_str().to_owned(), tokens, users, amount })
}

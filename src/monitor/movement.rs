//! What moved in the tokens since the latest pass, from a change stream.
//!
//! Only what kind of write it was and whether the token is melted and unspent now is asked for: no
//! document, and no identifier, leaves the server. Where there is no change stream (a standalone
//! server, or a user without the privilege), that is said and the passes alone tell.

use super::board::{Board, RecentError};
use super::options::MonitorOptions;
use crate::model::Timestamp;
use crate::server::{DeploymentKind, Server, ServerError, failed};
use futures_util::StreamExt;
use mongodb::bson::{Document, doc};
use mongodb::change_stream::event::ResumeToken;
use mongodb::options::FullDocumentType;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::Notify;

const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What moved since the latest pass began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// Whether a change stream tells.
    pub available: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Since when is counted.
    pub since: Option<Timestamp>,
    /// Tokens inserted.
    pub inserted: u64,
    /// Tokens updated or replaced.
    pub updated: u64,
    /// Tokens deleted.
    pub deleted: u64,
    /// Writes after which a token was melted and unspent.
    pub new_problematic: u64,
}

impl Movement {
    /// Counts from `now` on.
    pub(super) fn restart(&mut self, now: Timestamp) {
        let Movement { available, reason, .. } = std::mem::take(self);
        *self = Movement { available, reason, since: Some(now), ..Movement::default() };
    }

    fn count(&mut self, event: &Document) {
        match event.get_str("operationType") {
            Ok("insert") => self.inserted += 1,
            Ok("update" | "replace") => self.updated += 1,
            Ok("delete") => self.deleted += 1,
            _ => {}
        }
        self.new_problematic += u64::from(event.get_bool("isProblematic").unwrap_or(false));
    }
}

/// Watches the tokens for ever.
pub(super) async fn watch(board: &Board, options: &MonitorOptions, connected: &Notify) {
    let mut resume: Option<ResumeToken> = None;
    loop {
        let Some(server) = board.server() else {
            connected.notified().await;
            continue;
        };
        if server.deployment().kind == DeploymentKind::Standalone {
            let reason = "a standalone server has no change streams".to_owned();
            board.change_movement(|movement| movement.reason = Some(reason));
            return;
        }
        let error = follow(&server, board, options, &mut resume).await;
        if !is_away(&error) {
            resume = None; // what moved in between is not counted
        }
        let is_news = board.movement().available || board.movement().reason.is_none();
        let message = error.to_string();
        board.change_movement(|movement| {
            movement.available = false;
            movement.reason = Some(message.clone());
        });
        if is_news {
            let what = "watch the tokens between passes";
            board.note_error(RecentError { at: (options.now)(), what, message });
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Whether the server was not there, so that the stream may go on where it broke. One that answers with
/// an error (its history is gone, or the stream can't be resumed) would do so again.
pub(super) fn is_away(error: &ServerError) -> bool {
    matches!(error, ServerError::Lost { .. } | ServerError::NotReady { .. })
}

/// Counts events until the stream breaks, which is what it returns for.
async fn follow(
    server: &Server,
    board: &Board,
    options: &MonitorOptions,
    resume: &mut Option<ResumeToken>,
) -> ServerError {
    let failed = || failed("watch the tokens", "changeStream and find on the tokens (role read)");
    let tokens = server.collection(&options.tokens);
    let is = |field: &str, word: &str| doc! {"$eq": [format!("$fullDocument.{field}"), word]};
    let is_problematic = doc! {"$and": [is("transaction_type", "melted"), is("status", "unspent")]};
    let pipeline =
        [doc! {"$project": {"operationType": 1, "ns": 1, "isProblematic": is_problematic}}];
    let watch = tokens.watch().pipeline(pipeline).full_document(FullDocumentType::UpdateLookup);
    let watch = match resume.clone() {
        Some(token) => watch.start_after(token),
        None => watch,
    };
    let mut events = match watch.await {
        Ok(stream) => stream.with_type::<Document>(),
        Err(error) => return failed()(error),
    };
    board.change_movement(|movement| {
        movement.available = true;
        movement.reason = None;
        movement.since.get_or_insert_with(options.now);
    });
    loop {
        match events.next().await {
            Some(Ok(event)) => board.change_movement(|movement| movement.count(&event)),
            Some(Err(error)) => return failed()(error),
            None => return ServerError::Lost { doing: "watch the tokens" },
        }
        *resume = events.resume_token();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_resumed_where_it_broke_only_when_the_server_was_away() {
        let doing = "watch the tokens";
        let refused = |code| ServerError::Refused { doing, code, name: String::new() };
        assert!(is_away(&ServerError::Lost { doing }));
        assert!(is_away(&ServerError::NotReady { hosts: String::new() }));
        for error in [
            refused(280), // ChangeStreamFatalError
            refused(286), // ChangeStreamHistoryLost
            ServerError::Answer { doing, kind: "invalid response" },
        ] {
            assert!(!is_away(&error), "{error}");
        }
    }
}

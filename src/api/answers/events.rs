//! Server-sent events: `GET /admin/events` and `GET /admin/runs/{id}/events`.

use super::runs::{find, unknown, view};
use crate::api::answer::Answer;
use crate::api::query::Query;
use crate::api::state::Api;
use crate::live::RunReport;
use crate::monitor::{Change, RunsView};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

/// A comment is sent when nothing else was for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Ends when the server ends.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await; // an error: the sender is gone
}

fn streamed<S>(events: S) -> Answer
where
    S: stream::Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

struct Changes {
    api: Arc<Api>,
    changes: broadcast::Receiver<Change>,
    stop: watch::Receiver<bool>,
    waiting: VecDeque<Change>,
    _permit: OwnedSemaphorePermit,
}

/// `GET /admin/events`
pub(in crate::api) async fn events(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    Query::parse(&uri, &[])?;
    let changes = Changes {
        _permit: api.stream()?,
        changes: api.board.changes(),
        stop: api.stop.clone(),
        waiting: VecDeque::new(),
        api,
    };
    streamed(stream::unfold(changes, |mut changes| async {
        let change = changes.next().await?;
        let at = (changes.api.options.now)();
        let event = Event::default().event(word(change)).data(json!({"at": at}).to_string());
        Some((Ok(event), changes))
    }))
}

impl Changes {
    async fn next(&mut self) -> Option<Change> {
        if let Some(change) = self.waiting.pop_front() {
            return Some(change);
        }
        let change = tokio::select! {
            () = stopped(&mut self.stop) => return None,
            change = self.changes.recv() => change,
        };
        match change {
            Ok(change) => Some(change),
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(_)) => {
                // What was missed may have been anything.
                self.waiting.extend([Change::Alerts, Change::Runs, Change::Health]);
                Some(Change::Pass)
            }
        }
    }
}

const fn word(change: Change) -> &'static str {
    match change {
        Change::Pass => "pass",
        Change::Alerts => "alerts",
        Change::Runs => "runs",
        Change::Health => "health",
    }
}

struct RunNews {
    id: String,
    views: watch::Receiver<Arc<RunsView>>,
    stop: watch::Receiver<bool>,
    told: Option<RunReport>,
    _permit: OwnedSemaphorePermit,
}

/// `GET /admin/runs/{id}/events`
pub(in crate::api) async fn run_events(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::parse(&uri, &[])?;
    let Path(id) = id.map_err(|_| unknown())?;
    find(&*view(&api)?, &id).ok_or_else(unknown)?;
    let news = RunNews {
        id,
        views: api.board.runs(),
        stop: api.stop.clone(),
        told: None,
        _permit: api.stream()?,
    };
    streamed(stream::unfold(news, |mut news| async {
        let run = news.next().await?;
        let data = serde_json::to_string(&run).ok()?;
        news.told = Some(run);
        Some((Ok(Event::default().event("run").data(data)), news))
    }))
}

impl RunNews {
    /// The run when it differs from what was told; nothing more once it was told that it has ended.
    async fn next(&mut self) -> Option<RunReport> {
        if self.told.as_ref().is_some_and(|told| !told.is_active) {
            return None;
        }
        loop {
            let run = find(&self.views.borrow_and_update(), &self.id)?;
            if self.told.as_ref() != Some(&run) {
                return Some(run);
            }
            tokio::select! {
                () = stopped(&mut self.stop) => return None,
                changed = self.views.changed() => changed.ok()?,
            }
        }
    }
}

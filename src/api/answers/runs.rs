//! `GET /admin/runs` and `GET /admin/runs/{id}`.

use crate::api::answer::{Answer, told};
use crate::api::query::Query;
use crate::api::refusal::Refusal;
use crate::api::state::Api;
use crate::live::RunReport;
use crate::monitor::RunsView;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use std::sync::Arc;

/// The run of this id.
pub(super) fn find(view: &RunsView, id: &str) -> Option<RunReport> {
    view.runs.iter().find(|run| run.run_id == id).cloned()
}

#[derive(Serialize)]
struct Runs<'a> {
    runs: &'a [RunReport],
}

#[derive(Serialize)]
struct OneRun {
    run: RunReport,
}

/// The runs as last read; refused before the first time.
pub(super) fn view(api: &Api) -> Result<Arc<RunsView>, Refusal> {
    let view = api.board.runs().borrow().clone();
    match view.read_at {
        Some(_) => Ok(view),
        None => {
            let why = api.board.unreachable();
            let why = why.unwrap_or_else(|| "ask again in a moment".to_owned());
            Err(Refusal::not_ready(format!("the runs were not read yet; {why}")))
        }
    }
}

pub(super) fn unknown() -> Refusal {
    Refusal::not_found("there is no such run in the database; see /admin/runs")
}

/// `GET /admin/runs`
pub(in crate::api) async fn runs(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    Query::parse(&uri, &[])?;
    told(&api, &headers, &Runs { runs: &view(&api)?.runs })
}

/// `GET /admin/runs/{id}`
pub(in crate::api) async fn run(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    Query::parse(&uri, &[])?;
    let Path(id) = id.map_err(|_| unknown())?;
    let run = find(&*view(&api)?, &id).ok_or_else(unknown)?;
    told(&api, &headers, &OneRun { run })
}

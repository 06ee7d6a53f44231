//! `GET /admin/runs` and `GET /admin/runs/{id}`.

use crate::api::answer::{Answer, told};
use crate::api::query::Query;
use crate::api::refusal::Refusal;
use crate::api::state::Api;
use crate::live::RunReport;
use crate::model::Timestamp;
use crate::monitor::RunsView;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// A run, with figures of how far it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Run {
    run_id: String,
    plan_sha256: Option<String>,
    state: String,
    pub(in crate::api) is_active: bool,
    started_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    changes: u64,
    batches: u64,
    applied: Option<u64>,
    drifted: Option<u64>,
    restored: Option<u64>,
    error: Option<String>,
    progress: Option<Progress>,
}

/// How far a run is that a process works on now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    step: String,
    changes: u64,
    done: u64,
    /// From 0 to 1.
    fraction: Option<f64>,
    documents_per_second: Option<u64>,
    eta_seconds: Option<u64>,
}

impl Run {
    pub(in crate::api) fn of(run: &RunReport) -> Run {
        Run {
            run_id: run.run_id.clone(),
            plan_sha256: run.plan_sha256.clone(),
            state: run.state.clone(),
            is_active: run.is_active,
            started_at: run.started_at,
            updated_at: run.updated_at,
            changes: run.changes,
            batches: run.batches,
            applied: run.applied,
            drifted: run.drifted,
            restored: run.restored,
            error: run.error.clone(),
            progress: progress(run),
        }
    }

    /// The run of this id.
    pub(in crate::api) fn find(view: &RunsView, id: &str) -> Option<Run> {
        view.runs.iter().find(|run| run.run_id == id).map(Run::of)
    }
}

fn progress(run: &RunReport) -> Option<Progress> {
    let told = run.progress.as_ref()?;
    let (done, changes) = (told.done, told.total);
    let elapsed_ms = run.updated_at.zip(run.started_at);
    let elapsed_ms = elapsed_ms.and_then(|(to, from)| u64::try_from(to.0 - from.0).ok());
    let pace = elapsed_ms.filter(|ms| *ms > 0 && done > 0);
    let wide = |number: u64| u128::from(number);
    let narrow = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    let left = changes.saturating_sub(done);
    let permille = (wide(done.min(changes)) * 1000).checked_div(wide(changes));
    Some(Progress {
        step: told.step.clone(),
        changes,
        done,
        fraction: permille.map(|permille| Duration::from_millis(narrow(permille)).as_secs_f64()),
        documents_per_second: pace.map(|ms| narrow(wide(done) * 1000 / wide(ms))),
        eta_seconds: pace.map(|ms| narrow(wide(left) * wide(ms) / wide(done) / 1000)),
    })
}

#[derive(Serialize)]
struct Runs {
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct OneRun {
    run: Run,
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
    let runs = view(&api)?.runs.iter().map(Run::of).collect();
    told(&api, &headers, &Runs { runs })
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
    let run = Run::find(&*view(&api)?, &id).ok_or_else(unknown)?;
    told(&api, &headers, &OneRun { run })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::RunProgress;

    #[test]
    fn progress_is_measured_from_what_the_run_says() {
        let mut report = RunReport {
            run_id: "r".to_owned(),
            plan_sha256: None,
            state: "running".to_owned(),
            is_active: true,
            started_at: Some(Timestamp(1_000)),
            updated_at: Some(Timestamp(3_000)),
            changes: 1_000,
            batches: 2,
            applied: None,
            drifted: None,
            restored: None,
            error: None,
            progress: Some(RunProgress { step: "apply".to_owned(), done: 250, total: 1_000 }),
        };
        let told = progress(&report).unwrap();
        assert_eq!((told.fraction, told.documents_per_second), (Some(0.25), Some(125)));
        assert_eq!(told.eta_seconds, Some(6));
        report.progress = Some(RunProgress { step: "apply".to_owned(), done: 0, total: 0 });
        let told = progress(&report).unwrap();
        assert_eq!(
            (told.fraction, told.documents_per_second, told.eta_seconds),
            (None, None, None)
        );
    }
}

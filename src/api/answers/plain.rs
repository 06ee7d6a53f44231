//! What is no JSON envelope: pages, signs of life, metrics, the API's description.

use crate::api::answer::Answer;
use crate::api::pages;
use crate::api::query::Query;
use crate::api::refusal::Refusal;
use crate::api::state::Api;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

/// The API, as it is described to machines.
pub(in crate::api) const OPENAPI: &str = include_str!("../openapi.json");

fn typed(content_type: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
}

fn page(page: &'static str) -> Answer {
    let mut response = typed("text/html; charset=utf-8", page);
    let policy = HeaderValue::try_from(pages::content_security_policy(page));
    let policy = policy.map_err(|_| Refusal::internal())?;
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `GET /`
pub(in crate::api) async fn dashboard() -> Answer {
    page(pages::dashboard())
}

/// `GET /docs`
pub(in crate::api) async fn docs() -> Answer {
    page(pages::docs())
}

/// `GET /openapi.json`
pub(in crate::api) async fn openapi() -> Response {
    typed("application/json", OPENAPI)
}

#[derive(Serialize)]
struct Sign {
    status: &'static str,
}

fn sign(status: &'static str) -> Answer {
    let body = serde_json::json!({"success": true, "data": Sign { status }}).to_string();
    Ok(typed("application/json", body))
}

/// `GET /healthz`: the process lives.
pub(in crate::api) async fn healthz() -> Answer {
    sign("ok")
}

/// `GET /readyz`: answers tell of the present.
pub(in crate::api) async fn readyz(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    Query::parse(&uri, &[])?;
    api.pass()?;
    match api.board.stale_reason() {
        None => sign("ready"),
        Some(reason) => Err(Refusal::not_ready(reason)),
    }
}

/// `GET /metrics`
pub(in crate::api) async fn metrics(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    Query::parse(&uri, &[])?;
    let text = api.metrics.text().map_err(|_| Refusal::internal())?;
    Ok(typed("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}

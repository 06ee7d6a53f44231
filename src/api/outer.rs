//! Around everything: the access log, the counters, the headers of every answer, and panics.
//!
//! The log never holds a header, a query, or a path that names nothing of ours: a token may stand there.

use super::guard::Client;
use super::refusal::Refusal;
use super::state::Api;
use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{HeaderName, STRICT_TRANSPORT_SECURITY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// In every answer that has not its own.
const HEADERS: &[(&str, &str)] = &[
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
const NO_ROUTE: &str = "none";

pub(super) async fn outer(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let path = request.uri().path().to_owned();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(target: "remelt::api", route, "a handler panicked");
        Refusal::internal().into_response()
    });
    let is_tls = api.options.tls.is_some();
    harden(response.headers_mut(), is_tls);
    let took = began.elapsed();
    let status = response.status();
    api.metrics.answered(known_method(&method), route, status.as_u16(), took);
    // Of a path that was not answered with what it names nobody knows what it holds.
    let is_known = route != NO_ROUTE && (status.is_success() || status == StatusCode::NOT_MODIFIED);
    let shown = if is_known { path.as_str() } else { route };
    let client = response.extensions().get::<Client>().map(|client| client.0.to_string());
    tracing::info!(
        target: "remelt::api",
        method = known_method(&method),
        path = %crate::analysis::printable(shown),
        status = status.as_u16(),
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        bytes = response.body().size_hint().exact(),
        client = client.as_deref().unwrap_or("unknown"),
        "answered"
    );
    response
}

fn harden(headers: &mut HeaderMap, is_tls: bool) {
    for (name, value) in HEADERS {
        if !headers.contains_key(*name) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    if is_tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
}

/// A client may invent methods; they must not become labels.
fn known_method(method: &Method) -> &'static str {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let words = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.iter().zip(words).find(|(known, _)| *known == method).map_or("other", |(_, word)| word)
}

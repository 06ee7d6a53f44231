//! `GET /admin/alerts` and `GET /admin/trend`.

use crate::api::answer::{Answer, told};
use crate::api::query::Query;
use crate::api::state::Api;
use crate::monitor::TrendPoint;
use crate::monitor::alerts::{Alert, AlertState};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

/// `GET /admin/alerts`
pub(in crate::api) async fn alerts(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let query = Query::parse(&uri, &["state"])?;
    let state = query.word("state", "open, resolved or all", |word| match word {
        "open" => Some(Some(AlertState::Open)),
        "resolved" => Some(Some(AlertState::Resolved)),
        "all" => Some(None),
        _ => None,
    })?;
    let state = state.flatten();
    let mut alerts = api.board.alerts();
    alerts.retain(|alert| state.is_none_or(|state| alert.state == state));
    told(&api, &headers, &Alerts { alerts })
}

#[derive(Serialize)]
struct Trend {
    points: Vec<TrendPoint>,
}

/// `GET /admin/trend`
pub(in crate::api) async fn trend(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    Query::parse(&uri, &[])?;
    told(&api, &headers, &Trend { points: api.board.trend() })
}

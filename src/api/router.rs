//! The paths, and what answers each.

use super::answers::{alerts, events, findings, health, migration, plain, runs, users};
use super::guard::guard;
use super::outer::outer;
use super::refusal::Refusal;
use super::state::Api;
use super::validation;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use std::sync::Arc;

type Route = (&'static str, MethodRouter<Arc<Api>>);

/// Paths that hold no data and want no token.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/docs" | "/healthz")
}

/// Every path.
pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/", get(plain::dashboard)),
        ("/docs", get(plain::docs)),
        ("/healthz", get(plain::healthz)),
        ("/readyz", get(plain::readyz)),
        ("/metrics", get(plain::metrics)),
        ("/openapi.json", get(plain::openapi)),
        ("/admin/migration/status", get(migration::status)),
        ("/admin/migration/preview", get(migration::preview)),
        ("/admin/migration/validate", post(validation::validate)),
        ("/admin/health", get(health::health)),
        ("/admin/health/balance-consistency", get(health::balance_consistency)),
        ("/admin/health/token-integrity", get(health::token_integrity)),
        ("/admin/findings", get(findings::findings)),
        ("/admin/users/{npub}", get(users::user)),
        ("/admin/alerts", get(alerts::alerts)),
        ("/admin/trend", get(alerts::trend)),
        ("/admin/runs", get(runs::runs)),
        ("/admin/runs/{id}", get(runs::run)),
        ("/admin/runs/{id}/events", get(events::run_events)),
        ("/admin/events", get(events::events)),
    ]
}

/// Everything: paths, guard, log.
pub(super) fn router(api: &Arc<Api>) -> Router {
    let router =
        routes().into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
    router
        .fallback(|| async { Refusal::not_found("there is no such path; see /openapi.json") })
        .method_not_allowed_fallback(|| async { Refusal::method_not_allowed() })
        .layer(from_fn_with_state(Arc::clone(api), guard))
        .layer(from_fn_with_state(Arc::clone(api), outer))
        .with_state(Arc::clone(api))
}

#[cfg(test)]
mod tests {
    use super::super::answers::plain::OPENAPI;
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_description_names_every_path_and_no_other() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described: Vec<&str> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routes = routes();
        let mut served: Vec<&str> = routes.iter().map(|(path, _)| *path).collect();
        described.sort_unstable();
        served.sort_unstable();
        assert_eq!(described, served);
    }

    #[test]
    fn the_description_says_which_paths_want_no_token() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        for (path, methods) in described["paths"].as_object().unwrap() {
            for operation in methods.as_object().unwrap().values() {
                let is_open_there = operation["security"] == serde_json::json!([]);
                assert_eq!(is_open_there, is_open(path), "{path}");
            }
        }
    }
}

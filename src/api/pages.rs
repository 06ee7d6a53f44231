//! The two pages: the dashboard and the readable page of the API. A stand-in until the real ones are merged.

const PAGE: &str =
    "<!doctype html><html lang=\"en\"><title>remelt</title><p>See /openapi.json.</html>";

/// The dashboard, `/`.
pub(super) fn dashboard() -> &'static str {
    PAGE
}

/// The readable page of the API, `/docs`.
pub(super) fn docs() -> &'static str {
    PAGE
}

/// The value of `Content-Security-Policy` for one of the pages.
pub(super) fn content_security_policy(_page: &str) -> String {
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".to_owned()
}

//! Answers that say no: `{"success": false, "error": …, "details": …}`.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why there is no answer. `details` says what happened and, after `; `, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    details: String,
    retry_after_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    success: bool,
    error: &'static str,
    details: &'a str,
}

fn refusal(status: StatusCode, error: &'static str, details: impl Into<String>) -> Refusal {
    Refusal { status, error, details: details.into(), retry_after_seconds: None }
}

impl Refusal {
    pub(super) fn bad_request(details: impl Into<String>) -> Refusal {
        refusal(StatusCode::BAD_REQUEST, "bad_request", details)
    }

    pub(super) fn unauthorized() -> Refusal {
        let details = "the token is missing or wrong; send one header Authorization: Bearer TOKEN, and no token in the address";
        refusal(StatusCode::UNAUTHORIZED, "unauthorized", details)
    }

    pub(super) fn not_found(details: impl Into<String>) -> Refusal {
        refusal(StatusCode::NOT_FOUND, "not_found", details)
    }

    pub(super) fn method_not_allowed() -> Refusal {
        let details = "this path does not know the method; see the header Allow";
        refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", details)
    }

    pub(super) fn timeout() -> Refusal {
        refusal(StatusCode::REQUEST_TIMEOUT, "timeout", "the body came too slowly; send it again")
    }

    pub(super) fn too_large(bytes_max: usize) -> Refusal {
        let details = format!("the body has more than {bytes_max} bytes; send none, or {{}}");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", details)
    }

    pub(super) fn unsupported_media_type() -> Refusal {
        let details =
            "the body is not application/json; say Content-Type: application/json, or send none";
        refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", details)
    }

    pub(super) fn misdirected() -> Refusal {
        let details = "the header Host names another server; ask for localhost or 127.0.0.1, or start with --behind-proxy";
        refusal(StatusCode::MISDIRECTED_REQUEST, "misdirected", details)
    }

    pub(super) fn too_many_requests(retry_after_seconds: u64) -> Refusal {
        let details = "too many requests from this address; wait as long as Retry-After says";
        Refusal {
            retry_after_seconds: Some(retry_after_seconds),
            ..refusal(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", details)
        }
    }

    pub(super) fn headers_too_large(bytes_max: usize) -> Refusal {
        let details = format!("the headers have more than {bytes_max} bytes; send fewer");
        refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", details)
    }

    pub(super) fn not_ready(details: impl Into<String>) -> Refusal {
        Refusal {
            retry_after_seconds: Some(5),
            ..refusal(StatusCode::SERVICE_UNAVAILABLE, "not_ready", details)
        }
    }

    pub(super) fn busy() -> Refusal {
        let details = "too many streams of events are open; close some";
        Refusal {
            retry_after_seconds: Some(30),
            ..refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", details)
        }
    }

    pub(super) fn internal() -> Refusal {
        let details = "the answer could not be made; please report this with the server's log";
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", details)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal { status, error, details, retry_after_seconds } = self;
        let body = Body { success: false, error, details: &details };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

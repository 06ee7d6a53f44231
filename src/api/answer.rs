//! Answers that hold data: the envelope, how old the data is, and what makes a client ask for it again.

use super::refusal::Refusal;
use super::state::Api;
use crate::model::{Timestamp, hash_bytes};
use crate::monitor::Pass;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What a handler gives.
pub(super) type Answer = Result<Response, Refusal>;

/// How old the data of a pass is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Age {
    as_of: Timestamp,
    stale: bool,
    stale_reason: Option<String>,
}

/// An answer with `body`, which says itself how old it is.
pub(super) fn told<T: Serialize>(api: &Api, headers: &HeaderMap, body: &T) -> Answer {
    envelope(api, headers, &fields(body)?)
}

/// An answer with `body`, which tells of `pass`.
pub(super) fn told_of<T: Serialize>(
    api: &Api,
    headers: &HeaderMap,
    pass: &Pass,
    body: &T,
) -> Answer {
    let stale_reason = api.board.stale_reason();
    let age = Age { as_of: pass.as_of, stale: stale_reason.is_some(), stale_reason };
    let mut all = fields(&age)?;
    all.push(b',');
    all.extend(fields(body)?);
    envelope(api, headers, &all)
}

/// The fields of an object, without its braces.
fn fields<T: Serialize>(object: &T) -> Result<Vec<u8>, Refusal> {
    let text = serde_json::to_vec(object).map_err(|_| Refusal::internal())?;
    let inside = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}"));
    inside.map(<[u8]>::to_vec).ok_or_else(Refusal::internal)
}

/// The tag is of everything but the time of the answer.
fn envelope(api: &Api, headers: &HeaderMap, fields: &[u8]) -> Answer {
    let hash = hash_bytes(fields).to_string();
    let tag = format!("W/\"{}\"", &hash[..32]);
    let is_known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim(), known if known == "*" || known == tag || Some(known) == tag.strip_prefix("W/")));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let timestamp = (api.options.now)();
        let mut body =
            format!(r#"{{"success":true,"data":{{"timestamp":"{timestamp}","#).into_bytes();
        body.extend_from_slice(fields);
        body.extend_from_slice(b"}}");
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (json, body).into_response()
    };
    let told = response.headers_mut();
    told.insert(VARY, HeaderValue::from_static("authorization"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        told.insert(ETAG, tag);
    }
    Ok(response)
}

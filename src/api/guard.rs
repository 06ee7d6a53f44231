//! What every request passes before its handler: size, host, rate, token.

use super::client;
use super::query;
use super::refusal::Refusal;
use super::router::is_open;
use super::state::Api;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Bytes of all names and values of a request's headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Names under which a token might be put into an address, where logs and histories keep it.
const TOKEN_NAMES: &[&str] =
    &["token", "access_token", "api_key", "apikey", "api_token", "auth", "authorization"];

/// Who asks; noted for the log.
#[derive(Clone, Copy)]
pub(super) struct Client(pub(super) IpAddr);

pub(super) async fn guard(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let client = client::address(peer, request.headers(), api.options.behind_proxy);
    let mut response = match check(&api, &request, client) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    response.extensions_mut().insert(Client(client));
    response
}

fn check(api: &Api, request: &Request, client: IpAddr) -> Result<(), Refusal> {
    let headers = request.headers();
    let header_bytes: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header_bytes > HEADER_BYTES_MAX {
        return Err(Refusal::headers_too_large(HEADER_BYTES_MAX));
    }
    if api.options.listen.ip().is_loopback() && !api.options.behind_proxy {
        client::check_host(headers, request.uri())?;
    }
    api.limits.request(client).map_err(Refusal::too_many_requests)?;
    if !is_open(request.uri().path()) && !has_token(api, request) {
        api.limits.refusal(client).map_err(Refusal::too_many_requests)?;
        return Err(Refusal::unauthorized());
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
        return Err(Refusal::too_large(BODY_BYTES_MAX));
    }
    Ok(())
}

/// The right token, in one header and nowhere else.
fn has_token(api: &Api, request: &Request) -> bool {
    let is_in_address = query::pairs(request.uri()).is_ok_and(|pairs| {
        pairs.iter().any(|(name, _)| TOKEN_NAMES.iter().any(|it| it.eq_ignore_ascii_case(name)))
    });
    let shown = bearer(request.headers());
    shown.is_some_and(|shown| api.options.token.is(shown)) && !is_in_address
}

/// The token of the only `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

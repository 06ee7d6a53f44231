//! How the API is served.

use super::tls::Tls;
use super::token::ApiToken;
use crate::model::Timestamp;
use std::net::SocketAddr;

/// How the API is served.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Where to listen; port 0 is any free one. Anywhere but on loopback only with `tls` or `behind_proxy`.
    pub listen: SocketAddr,
    /// Who may ask.
    pub token: ApiToken,
    /// Certificate and key; without them the API speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Whether a proxy that speaks TLS stands in front: the client's address is then the last entry of
    /// `X-Forwarded-For`, and any `Host` is accepted.
    pub behind_proxy: bool,
    /// Requests a second from one address; 0 is no limit.
    pub rate_per_second: u32,
    /// Requests a minute without the right token that one address is told 401 for; then it is 429. 0 is no limit.
    pub refusals_per_minute: u32,
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl ApiOptions {
    /// The defaults.
    #[must_use]
    pub fn new(listen: SocketAddr, token: ApiToken, now: fn() -> Timestamp) -> ApiOptions {
        ApiOptions {
            listen,
            token,
            tls: None,
            behind_proxy: false,
            rate_per_second: 100,
            refusals_per_minute: 10,
            now,
        }
    }
}

//! How the API is served.

use super::serve::ServeError;
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
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl ApiOptions {
    /// Makes sure that the token can't be read on the way, and that certificate and key can be used.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn check(&self) -> Result<(), ServeError> {
        if !self.listen.ip().is_loopback() && self.tls.is_none() && !self.behind_proxy {
            return Err(ServeError::Unprotected(self.listen));
        }
        self.tls.as_ref().map(Tls::config).transpose()?;
        Ok(())
    }
}

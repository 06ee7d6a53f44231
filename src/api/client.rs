//! Who asks, and for which host.

use super::refusal::Refusal;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use std::net::{IpAddr, SocketAddr};

/// The client's address: the peer's or, behind a proxy, what the proxy put last into `X-Forwarded-For`.
/// What stands before it anybody can have written.
pub(super) fn address(peer: SocketAddr, headers: &HeaderMap, behind_proxy: bool) -> IpAddr {
    let forwarded = || {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?;
        last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    let forwarded = if behind_proxy { forwarded() } else { None };
    forwarded.unwrap_or_else(|| peer.ip().to_canonical())
}

/// Refuses requests that a browser was led to send here under another name (DNS rebinding).
pub(super) fn check_host(headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::bad_request("there must be one header Host; send it once"));
    };
    let is_ours = host.to_str().is_ok_and(is_loopback);
    let is_target_ours = uri.authority().is_none_or(|target| is_loopback(target.as_str()));
    if is_ours && is_target_ours { Ok(()) } else { Err(Refusal::misdirected()) }
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    let name = name.strip_suffix('.').unwrap_or(name);
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_loopback_ip = || literal.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    name.eq_ignore_ascii_case("localhost") || is_loopback_ip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_loopback_names_are_ours() {
        for ours in ["localhost", "LOCALHOST:3000", "localhost.:1", "127.0.0.1:3000", "[::1]:3000"]
        {
            assert!(is_loopback(ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "localhost@evil.example",
            "evil.example@localhost",
            "evil.example#localhost",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn only_the_proxys_word_about_the_client_counts() {
        let peer: SocketAddr = "10.0.0.9:4711".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(address(peer, &headers, true).to_string(), "10.0.0.9");
        headers.append("x-forwarded-for", HeaderValue::from_static("1.1.1.1"));
        headers.append("x-forwarded-for", HeaderValue::from_static("2.2.2.2, 3.3.3.3"));
        assert_eq!(address(peer, &headers, true).to_string(), "3.3.3.3");
        assert_eq!(address(peer, &headers, false).to_string(), "10.0.0.9");
        headers.append("x-forwarded-for", HeaderValue::from_static("nonsense"));
        assert_eq!(address(peer, &headers, true).to_string(), "10.0.0.9");
    }
}

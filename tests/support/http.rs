//! HTTP as bytes: requests are sent exactly as a test writes them, right or wrong.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything that a test waits for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl HttpAnswer {
    /// The only header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice: {:?}", self.headers);
        value
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `data` of an answer that went well.
    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        let mut json = self.json();
        assert_eq!(json["success"], true);
        json["data"].take()
    }

    /// The `error` of an answer that says no, which must say why and nothing else.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["success", "error", "details"], "{json}");
        assert_eq!(json["success"], false);
        assert!(json["details"].as_str().is_some_and(|details| details.contains("; ")), "{json}");
        json["error"].as_str().unwrap().to_owned()
    }

    /// Head and body, for looking for what must not be there.
    pub(crate) fn everything(&self) -> String {
        format!("{:?}\n{}", self.headers, String::from_utf8_lossy(&self.body))
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The same, over TLS, to whom `certificate` (PEM, for `localhost`) belongs.
pub(crate) fn connect_tls(address: SocketAddr, certificate: &Path) -> impl Read + Write + use<> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(client, connect(address))
}

/// Sends `request` and reads what comes until the server closes; `None` when it says nothing.
pub(crate) fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Option<HttpAnswer> {
    // The server may close while a request that is too long is still being sent.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let mut part = [0; 65536];
    while let Ok(count) = stream.read(&mut part) {
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..count]);
        // A server that closed without reading everything resets; what it said is there before that.
        if is_whole(&bytes) {
            break;
        }
    }
    (!bytes.is_empty()).then(|| parse(&bytes))
}

fn head_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((&bytes[..end], &bytes[end + 4..]))
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = head_of(bytes) else { return false };
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.is_some_and(|length| body.len() >= length.trim().parse::<usize>().unwrap())
}

fn parse(bytes: &[u8]) -> HttpAnswer {
    let (head, body) = head_of(bytes).expect("an answer ends its head");
    let head = String::from_utf8(head.to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    HttpAnswer { status, headers, body: body.to_vec() }
}

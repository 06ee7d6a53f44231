//! Certificate and key, read and checked before anything listens.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why TLS can't be spoken. Never holds content of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("could not read {path}: {reason}; check --tls-cert and --tls-key")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// No certificate.
    #[error("{path} holds no certificate; give a PEM file with the server's certificate first")]
    NoCertificate {
        /// The file.
        path: String,
    },
    /// No key.
    #[error(
        "{path} holds no private key that can be used; give a PEM file with one, not encrypted"
    )]
    NoKey {
        /// The file.
        path: String,
    },
    /// They do not belong together, or their kind is not known.
    #[error(
        "the certificate and the private key do not belong together, or their kind is not supported; check --tls-cert and --tls-key"
    )]
    Mismatch,
}

/// Certificate and key of the server; TLS 1.2 and 1.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and those that lead to its root, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Tls {
    /// Reads both.
    pub(super) fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&self.cert)?).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::NoCertificate { path: shown(&self.cert) })?;
        let private = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let private = private.map_err(|_| TlsError::NoKey { path: shown(&self.key) })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|_| TlsError::Mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn shown(path: &Path) -> String {
    crate::analysis::printable(&path.display().to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| TlsError::Unreadable {
        path: shown(path),
        reason: crate::publish::io_reason(&error),
    })?;
    Ok(bytes)
}

//! Listening: where it is allowed, and an end in good order.

use super::connections::Bounded;
use super::limits::FORGET_EVERY;
use super::options::ApiOptions;
use super::router::router;
use super::state::Api;
use super::tls::{Tls, TlsError};
use crate::monitor::{Board, MonitorOptions};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// For the header of a request, and for the next request on a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// For answers under way when the end comes.
const GRACE: Duration = Duration::from_secs(10);

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anyone on the way could read the token.
    #[error(
        "{0} is not a loopback address, and the token would cross the network in the clear; give --tls-cert and --tls-key, or --behind-proxy when a proxy speaks TLS, or listen on 127.0.0.1"
    )]
    Unprotected(SocketAddr),
    /// Certificate or key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Can't listen there.
    #[error("could not listen on {listen}: {reason}; choose another --listen")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The listener broke.
    #[error("the API's listener failed: {reason}; start again")]
    Broken {
        /// Why.
        reason: String,
    },
}

/// Serves the API until `stop` says `true` or its sender is gone. `bound` is told the address, with the
/// port that was given. Answers under way are finished, within 10 seconds; streams of events end.
///
/// # Errors
/// [`ServeError`] when it must not or can't listen there.
pub async fn serve(
    board: Arc<Board>,
    monitor_options: Arc<MonitorOptions>,
    options: ApiOptions,
    mut stop: watch::Receiver<bool>,
    bound: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let listen = options.listen;
    options.check()?;
    let tls = options.tls.as_ref().map(Tls::config).transpose()?;
    let failed =
        |error: io::Error| ServeError::Listen { listen, reason: crate::publish::io_reason(&error) };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let behind_proxy = options.behind_proxy;
    let api = Arc::new(Api::new(board, monitor_options, options, stop.clone()));
    let service = router(&api).into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    let bounded = Bounded::new(handle.clone(), behind_proxy);
    let mut server = axum_server::from_tcp(listener).map_err(failed)?.handle(handle.clone());
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
    let server = server.http1_only().first_request_timeout(HEADER_TIMEOUT);
    let served = async {
        match tls {
            None => server.map(|_| bounded).serve(service).await,
            Some(tls) => {
                let config = RustlsConfig::from_config(tls);
                let acceptor = RustlsAcceptor::new(config).acceptor(bounded);
                server.acceptor(acceptor).serve(service).await
            }
        }
    };
    bound(address);
    let ending = async {
        let _ = stop.wait_for(|stop| *stop).await; // an error: the sender is gone
        handle.graceful_shutdown(Some(GRACE));
        std::future::pending::<()>().await;
    };
    let forgetting = async {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            api.limits.forget_quiet();
        }
    };
    let served = tokio::select! {
        served = served => served,
        () = ending => Ok(()),
        () = forgetting => Ok(()),
    };
    served.map_err(|error| ServeError::Broken { reason: crate::publish::io_reason(&error) })
}

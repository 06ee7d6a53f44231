//! Which connections are taken, and how long one may keep us waiting to write.

use super::limits::network;
use axum_server::Handle;
use axum_server::accept::Accept;
use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Connections at the same time; more are closed at once.
const CONNECTIONS_MAX: usize = 1024;
/// Of these from one address, as [`network`] tells them apart.
const ADDRESS_CONNECTIONS_MAX: usize = 64;
/// A client that takes nothing of an answer for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Takes no more connections than there may be, and bounds how long each may stand still.
#[derive(Clone)]
pub(super) struct Bounded {
    handle: Handle<SocketAddr>,
    /// `None` behind a proxy, from which all connections come.
    addresses: Option<Arc<Addresses>>,
}

impl Bounded {
    pub(super) fn new(handle: Handle<SocketAddr>, behind_proxy: bool) -> Bounded {
        Bounded { handle, addresses: (!behind_proxy).then(Arc::default) }
    }

    fn take(&self, stream: TcpStream) -> io::Result<Connection> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        if self.handle.connection_count() > CONNECTIONS_MAX {
            return Err(refused());
        }
        let place = match &self.addresses {
            None => None,
            Some(addresses) => {
                let address = network(stream.peer_addr()?.ip());
                Some(Addresses::place(addresses, address).ok_or_else(refused)?)
            }
        };
        Ok(Connection { stream, waiting: None, _place: place })
    }
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Connection;
    type Service = S;
    type Future = Ready<io::Result<(Connection, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.take(stream).map(|connection| (connection, service)))
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    /// Room for one more connection of `address`, held until it ends.
    fn place(addresses: &Arc<Addresses>, address: IpAddr) -> Option<Place> {
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= ADDRESS_CONNECTIONS_MAX {
            return None;
        }
        *count += 1;
        Some(Place { addresses: Arc::clone(addresses), address })
    }
}

struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// A connection that breaks when its client takes nothing for [`WRITE_TIMEOUT`].
pub(super) struct Connection {
    stream: TcpStream,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    _place: Option<Place>,
}

impl Connection {
    /// `written`, or that the client has kept us waiting for too long.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is the system's already: a flush never waits, and says nothing of the client.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

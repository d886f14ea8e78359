//! Connections of a server: TLS, HTTP/1.1 and HTTP/2, bounds on what clients may hold, and a drain that ends.
//!
//! ```text
//! accepted ──► TLS ──► requests ──► idle too long, or not read from for too long ──► closed
//!    ▲                    │
//!    └── a place is free  └── shutdown: requests under way end, then the connection; what is left at the end is cut
//! ```
//!
//! A client may hold a connection, and nothing more, for as long as it does something with it. What each bound is for is said
//! at [`Bounds`]. When all places are taken, connections that do nothing are closed early, so that whoever opens thousands
//! and leaves them idle keeps nobody else out.
//!
//! What this crate is not: it knows nothing of requests. It hands them to a [`Handler`], with who showed which certificate;
//! [`compress`] is for handlers.
//!
//! Tasks: one for each connection, those of HTTP/2 for each of its streams. There are no queues but the kernel's.
//!
//! Start reading at [`serve`].
#![forbid(unsafe_code)]

mod activity;
pub mod compress;
mod connection;
mod stall;

use connection::Connection;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long to wait after `accept` failed (usually: too many open files).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often connections are asked to make room while there is none.
const CROWDED_INTERVAL: Duration = Duration::from_secs(1);

/// Bounds on what clients may hold.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Most connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take for the TLS handshake.
    pub handshake: Duration,
    /// How long a connection may be without a request: before the first one and between two.
    pub idle: Duration,
    /// The same while all places are taken.
    pub crowded_idle: Duration,
    /// How long a client may leave what it is sent unread.
    pub unread: Duration,
    /// How long a client may take to answer a ping of HTTP/2.
    pub pong: Duration,
    /// Most streams of one HTTP/2 connection.
    pub streams: u32,
    /// Longest head of a request, and how much of an answer waits for a client that does not read: bytes for each stream.
    pub buffer_bytes: usize,
    /// How long requests under way may go on after shutdown was asked for.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            crowded_idle: Duration::from_secs(5),
            unread: Duration::from_secs(60),
            pong: Duration::from_secs(30),
            streams: 250,
            buffer_bytes: 64 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

/// Answers the requests of connections.
pub trait Handler: Send + Sync + 'static {
    /// Who calls, as far as the connection says.
    type Caller: Clone + Send + Sync + 'static;
    /// The body of an answer.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static;

    /// Who is behind `peer`, by the certificate it showed. None closes the connection.
    fn caller(&self, peer: SocketAddr, certificate: Option<&CertificateDer<'_>>) -> Option<Self::Caller>;

    /// Answers a request; never fails.
    fn handle(
        self: Arc<Self>,
        caller: Self::Caller,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The places that connections take.
struct Places {
    free: Arc<Semaphore>,
    /// Told when there is none left.
    crowded: Arc<Notify>,
}

impl Places {
    async fn take(&self) -> Result<OwnedSemaphorePermit, io::Error> {
        loop {
            let place = tokio::time::timeout(CROWDED_INTERVAL, Arc::clone(&self.free).acquire_owned());
            match place.await {
                Ok(place) => return place.map_err(io::Error::other),
                Err(_) => self.crowded.notify_waiters(),
            }
        }
    }

    /// Above the limit, clients wait in the kernel's queue: the place is taken first.
    async fn accept(&self, listener: &TcpListener) -> Result<(TcpStream, SocketAddr, OwnedSemaphorePermit), io::Error> {
        let place = self.take().await?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, place))
    }
}

/// Accepts connections until `shutdown`, then refuses more and lets requests under way finish within the drain time.
pub async fn serve<H: Handler>(
    handler: Arc<H>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    bounds: Bounds,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Places { free: Arc::new(Semaphore::new(bounds.connections)), crowded: Arc::new(Notify::new()) };
    let connections = TaskTracker::new();
    // Ends what is left when the drain time is over.
    let abort = CancellationToken::new();
    let _abort_on_drop = abort.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            // Cancel-safe: a connection that is not taken stays in the listener's queue.
            accepted = places.accept(&listener) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let connection = Connection {
            handler: Arc::clone(&handler),
            acceptor: acceptor.clone(),
            bounds: bounds.clone(),
            peer,
            shutdown: shutdown.clone(),
            crowded: Arc::clone(&places.crowded),
        };
        let abort = abort.clone();
        connections.spawn(async move {
            let _place = place;
            let _ = abort.run_until_cancelled(connection.run(stream)).await;
        });
    }
    // Clients learn at once that they have to go elsewhere, instead of waiting in the queue.
    drop(listener);
    connections.close();
    if tokio::time::timeout(bounds.drain, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "requests were still under way at the end of the drain time");
    }
}

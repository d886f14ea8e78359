//! The kubelet port: mutual TLS, from this machine only.
//!
//! Whoever has a certificate of the authority for kubelet clients may ask for everything; that is the API server, which has
//! checked the user before. One task accepts; each connection has a task of its own.

mod channel;
mod forward;
mod handshake;
mod logs;
mod reply;
mod route;
mod spdy;
mod stream;
mod upgrade;

#[cfg(test)]
mod tests;

use crate::{
    node::chain,
    pods::Directory,
    stats::{self, Stats},
};
use http::{Method, Request, Response, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use orrery_identity::{Credentials, IdentityError, tls::Clients};
use reply::Body;
use route::{Route, RouteError};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Most connections at once.
const CONNECTIONS: usize = 256;
/// How long a client may take for its TLS handshake and for its request's head.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What the port tells of.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) directory: Directory,
    pub(crate) stats: Stats,
    /// The node's name.
    pub(crate) node: String,
}

/// TLS settings of the port.
pub(crate) fn tls(serving: &Credentials, client_ca_pem: &str) -> Result<Arc<ServerConfig>, IdentityError> {
    // HTTP/1.1 only: exec and attach take the connection over.
    orrery_identity::tls::server(serving, Clients::Required(client_ca_pem), &["http/1.1"])
}

/// Serves until `ends`; then what is open is closed.
pub(crate) async fn serve(listener: Arc<TcpListener>, tls: Arc<ServerConfig>, served: Served, ends: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        let slot = tokio::select! {
            () = ends.cancelled() => break,
            slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = ends.cancelled() => break,
            // `accept` is cancel-safe.
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !from_here(&listener, peer) {
            tracing::warn!(%peer, "a connection from another machine was closed");
            continue;
        }
        let (acceptor, served, ends) = (acceptor.clone(), served.clone(), ends.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = ends.cancelled() => {}
                () = connection(socket, acceptor, served, ends.clone()) => {}
            }
            drop(slot);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// Whether a peer is this machine: loopback, or the address that is listened on.
fn from_here(listener: &TcpListener, peer: SocketAddr) -> bool {
    let address = peer.ip().to_canonical();
    address.is_loopback() || listener.local_addr().is_ok_and(|own| own.ip().to_canonical() == address)
}

async fn connection(socket: TcpStream, acceptor: TlsAcceptor, served: Served, ends: CancellationToken) {
    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client failed at TLS");
            return;
        }
        Err(_) => return,
    };
    let service = service_fn(move |request| {
        let (served, ends) = (served.clone(), ends.clone());
        async move { Ok::<_, Infallible>(handle(request, &served, ends).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
    let served = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    if let Err(error) = served {
        tracing::debug!(error = %chain(&error), "a connection ended badly");
    }
}

/// Answers one request.
async fn handle(request: Request<Incoming>, served: &Served, ends: CancellationToken) -> Response<Body> {
    let route = match route::parse(request.method(), request.uri()) {
        Ok(route) => route,
        Err(RouteError::NotFound) => return reply::text(StatusCode::NOT_FOUND, "404 page not found"),
        Err(RouteError::Method) => return reply::text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed"),
        Err(RouteError::Malformed(message)) => return reply::text(StatusCode::BAD_REQUEST, message),
    };
    let Served { directory, stats, node } = served;
    match route {
        Route::Healthz => reply::text(StatusCode::OK, "ok"),
        Route::Metrics => reply::metrics(directory),
        Route::ResourceMetrics => reply::exposition(stats::exposition(&*stats.usage().await)),
        Route::ProbeMetrics => reply::probes(directory),
        Route::Summary => reply::json(&stats::summary(node, &*stats.usage().await)),
        Route::Pods => reply::pods(directory),
        Route::Logs { place, query } => logs::answer(directory, &place, &query),
        Route::Exec { place, options } => upgrade::exec(request, directory, &place, options, ends).await,
        Route::PortForward { namespace, pod, ports } => {
            forward::forward(request, directory, (&namespace, &pod), ports, ends).await
        }
        Route::Attach { place, options } => upgrade::attach(request, directory, &place, options, ends).await,
    }
}

/// Whether a method only reads.
fn reads(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

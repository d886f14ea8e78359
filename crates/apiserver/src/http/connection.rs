//! Accepting connections: TLS, HTTP/1.1 and HTTP/2, and a drain that ends.

use super::{
    body::boxed,
    dispatch::{self, Caller},
};
use crate::server::{ApiServer, ServeError};
use ::http::Request;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, net::TcpStream, sync::Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait after `accept` failed (usually: too many open files).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const HTTP2_PING: Duration = Duration::from_secs(30);
const HTTP2_STREAMS: u32 = 250;

/// Accepts connections until `shutdown`, then lets requests under way finish within the drain time.
pub(crate) async fn serve(
    server: Arc<ApiServer>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    tracing::info!(%address, "serving the API");
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(server.limits.connections));
    let connections = TaskTracker::new();
    // Ends what is left when the drain time is over.
    let abort = CancellationToken::new();
    let _abort_on_drop = abort.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            // Cancel-safe: a connection that is not taken stays in the listener's queue.
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let connection = connection(Arc::clone(&server), acceptor.clone(), stream, peer, shutdown.clone());
        let abort = abort.clone();
        connections.spawn(async move {
            let _slot = slot;
            let _ = abort.run_until_cancelled(connection).await;
        });
    }
    connections.close();
    if tokio::time::timeout(server.limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "requests were still under way at the end of the drain time");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit), std::io::Error> {
    // The slot is taken first: above the limit, clients wait in the kernel's queue.
    let slot = Arc::clone(slots).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

async fn connection(
    server: Arc<ApiServer>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) {
    // Small answers and watch events go out at once.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "the TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "the TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
    let user = match certificate {
        None => None,
        Some(der) => match orrery_auth::from_certificate(der) {
            Some(user) => Some(user),
            None => return tracing::debug!(%peer, "the client's certificate names nobody"),
        },
    };
    let caller = Caller { user, typed: false, peer: Some(peer.ip()), upgrades: true };
    let (receive, idle) = (server.limits.receive_timeout, server.limits.idle_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let request = request.map(|body| body.map_err(boxed).boxed_unsync());
        let handled = dispatch::handle(Arc::clone(&server), caller.clone(), request);
        async move { Ok::<_, Infallible>(handled.await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(receive)
        .max_concurrent_streams(HTTP2_STREAMS);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, error, "the connection ended with an error");
    }
}

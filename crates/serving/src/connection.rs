//! One connection, from its handshake to its end.

use crate::{
    Bounds, Handler,
    activity::{Activity, Answering},
    stall::Stalling,
};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::Notify};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often clients of HTTP/2 are asked whether they are there.
const PING: Duration = Duration::from_secs(30);
/// Most requests of one connection that were reset before they were looked at: more end the connection
/// (CVE-2023-44487).
const RESET_STREAMS: usize = 20;

/// A connection that was accepted.
pub(crate) struct Connection<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) bounds: Bounds,
    pub(crate) peer: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    /// Told when there is no place for another connection.
    pub(crate) crowded: Arc<Notify>,
}

impl<H: Handler> Connection<H> {
    /// Serves it until it ends.
    pub(crate) async fn run(self, stream: TcpStream) {
        let peer = self.peer;
        // Small answers and watch events go out at once.
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(self.bounds.handshake, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "the TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "the TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
        let Some(caller) = self.handler.caller(peer, certificate) else {
            return tracing::debug!(%peer, "the client's certificate names nobody");
        };
        let activity = Activity::new();
        let (handler, doing) = (Arc::clone(&self.handler), activity.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let under_way = doing.begin();
            let handled = Arc::clone(&handler).handle(caller.clone(), request);
            async move { Ok::<_, Infallible>(handled.await.map(|body| Answering { body, _request: under_way })) }
        });
        let builder = self.builder();
        let stream = TokioIo::new(Stalling::new(stream, self.bounds.unread));
        let connection = builder.serve_connection_with_upgrades(stream, service);
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.too_idle(&activity) => {
                tracing::debug!(%peer, "the connection was idle for too long");
                connection.as_mut().graceful_shutdown();
                // What has not even begun to ask has nothing to end in order.
                let end = tokio::time::timeout(self.bounds.crowded_idle, connection.as_mut()).await;
                end.unwrap_or(Ok(()))
            }
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, error, "the connection ended with an error");
        }
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let bounds = &self.bounds;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.idle)
            .max_buf_size(bounds.buffer_bytes.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(bounds.pong)
            .max_concurrent_streams(bounds.streams)
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_header_list_size(u32::try_from(bounds.buffer_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(bounds.buffer_bytes);
        builder
    }

    /// Returns when there has been no request for too long.
    async fn too_idle(&self, activity: &Activity) {
        let mut limit = self.bounds.idle;
        loop {
            // While a request is under way, the end of idleness is at least its whole length away.
            let left = activity.idle().map_or(Some(self.bounds.idle), |idle| limit.checked_sub(idle));
            let Some(left) = left.filter(|left| !left.is_zero()) else { return };
            limit = tokio::select! {
                // Cancel-safe: a timer and a notification.
                () = tokio::time::sleep(left) => self.bounds.idle,
                () = self.crowded.notified() => self.bounds.crowded_idle,
            };
        }
    }
}

//! Accepting connections, which the crate `serving` does, with what this server knows of callers.

use super::{
    body::{ResponseBody, boxed},
    dispatch::{self, Caller},
};
use crate::server::{ApiServer, ServeError};
use ::http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use orrery_serving::{Bounds, Handler};
use rustls::pki_types::CertificateDer;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Answers requests that come over the network.
struct Remote(Arc<ApiServer>);

impl Handler for Remote {
    type Caller = Caller;
    type Body = ResponseBody;

    fn caller(&self, peer: SocketAddr, certificate: Option<&CertificateDer<'_>>) -> Option<Caller> {
        let user = match certificate {
            None => None,
            Some(der) => Some(orrery_auth::from_certificate(der)?),
        };
        Some(Caller { user, typed: false, peer: Some(peer.ip()), upgrades: true })
    }

    async fn handle(self: Arc<Self>, caller: Caller, request: Request<Incoming>) -> Response<ResponseBody> {
        let request = request.map(|body| body.map_err(boxed).boxed_unsync());
        dispatch::handle(Arc::clone(&self.0), caller, request).await
    }
}

/// Accepts connections until `shutdown`, then lets requests under way finish within the drain time.
pub(crate) async fn serve(
    server: Arc<ApiServer>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    tracing::info!(%address, "serving the API");
    let limits = &server.limits;
    let bounds = Bounds {
        connections: limits.connections,
        idle: limits.idle_timeout,
        crowded_idle: limits.crowded_idle_timeout,
        unread: limits.unread_timeout,
        pong: limits.receive_timeout,
        drain: limits.drain,
        ..Bounds::default()
    };
    orrery_serving::serve(Arc::new(Remote(server)), listener, tls, bounds, shutdown).await;
    Ok(())
}

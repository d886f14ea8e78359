//! Connections to kubelets, over mutual TLS.

use super::container::Place;
use crate::{config::KubeletAccess, http::body::RequestBody};
use ::http::{Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use orrery_identity::{IdentityError, tls};
use orrery_machinery::status::ApiError;
use rustls::pki_types::ServerName;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a kubelet may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a kubelet may take until its answer begins.
const ANSWER: Duration = Duration::from_secs(30);

/// Reaches kubelets.
pub(crate) struct Kubelets {
    connector: TlsConnector,
}

impl Kubelets {
    pub(crate) fn new(access: &KubeletAccess) -> Result<Self, IdentityError> {
        let config = tls::client(&access.server_ca_pem, Some(&access.credentials), &["http/1.1"])?;
        Ok(Self { connector: TlsConnector::from(config) })
    }

    /// Sends one request over a connection of its own, and gives the answer as soon as it begins. The connection lives
    /// as long as the answer's body or upgrade.
    pub(super) async fn send(
        &self,
        place: &Place,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ApiError> {
        let failed = |why: String| {
            ApiError::unavailable(format!(
                "cannot reach the kubelet of node {} ({why}); see whether the node is Ready",
                place.node
            ))
        };
        let connect = async {
            let tcp = TcpStream::connect((place.host.as_str(), place.port)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(place.host.clone()).map_err(std::io::Error::other)?;
            self.connector.connect(name, tcp).await
        };
        let stream = match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("it does not answer".to_owned())),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        tokio::spawn(async move {
            // Its end is seen by whoever reads the body or the upgrade.
            let _ = connection.with_upgrades().await;
        });
        let host = if place.host.contains(':') {
            format!("[{}]:{}", place.host, place.port)
        } else {
            format!("{}:{}", place.host, place.port)
        };
        if let Ok(host) = host.parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        match tokio::time::timeout(ANSWER, sender.send_request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("it accepted the connection and does not answer".to_owned())),
        }
    }
}

/// The kubelets, or why they cannot be reached.
pub(super) fn required(kubelets: Option<&Kubelets>) -> Result<&Kubelets, ApiError> {
    kubelets
        .ok_or_else(|| ApiError::unavailable("this server has no credentials for kubelets; it cannot stream from pods"))
}

/// A kubelet's refusal, passed on with its words.
pub(super) async fn refusal(response: Response<Incoming>) -> ApiError {
    use http_body_util::{BodyExt, Limited};
    const LIMIT_BYTES: usize = 8 * 1024;
    let code = response.status().as_u16();
    let read = tokio::time::timeout(ANSWER, Limited::new(response.into_body(), LIMIT_BYTES).collect()).await;
    let text = match read {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    };
    let why = if text.is_empty() { format!("the kubelet answered with status {code}") } else { text };
    match code {
        400 => ApiError::bad_request(why),
        404 => ApiError { code: 404, reason: "NotFound", message: why, details: None },
        503 => ApiError::unavailable(why),
        _ => ApiError::internal(why),
    }
}

//! One JSON request over a connection of its own: the manager is asked every few seconds, and a new connection finds a
//! manager that has moved or was restarted.

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use serde::{Serialize, de::DeserializeOwned};
use std::{error::Error, io, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// How long a request may take in all.
const LIMIT: Duration = Duration::from_secs(15);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// How much of an error's text is passed on, in characters.
const MAX_MESSAGE: usize = 300;

/// Why a request to the manager failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the manager's endpoint {0:?} is not of the form https://HOST:PORT")]
    Endpoint(String),
    #[error("cannot connect to the manager at {endpoint}")]
    Connect {
        endpoint: String,
        #[source]
        source: io::Error,
    },
    #[error("the manager at {endpoint} did not answer in {} seconds", LIMIT.as_secs())]
    Late { endpoint: String },
    #[error("the exchange with the manager failed")]
    Exchange(#[source] Box<dyn Error + Send + Sync>),
    #[error("the manager answered {status}: {message}")]
    Refused { status: StatusCode, message: String },
    #[error("the manager's answer can't be read")]
    Answer(#[source] serde_json::Error),
}

impl CallError {
    /// Whether the manager does not know us, as opposed to being away or broken.
    pub(super) fn is_unknown_to_manager(&self) -> bool {
        let unknown = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        matches!(self, Self::Refused { status, .. } if unknown.contains(status))
    }
}

/// Sends `body` as a POST to `path` and reads the answer.
pub(super) async fn post<Q: Serialize, A: DeserializeOwned>(
    endpoint: &str,
    tls: Arc<ClientConfig>,
    path: &str,
    body: &Q,
) -> Result<A, CallError> {
    let late = |_| CallError::Late { endpoint: endpoint.to_owned() };
    let body = serde_json::to_vec(body).map_err(|error| CallError::Exchange(error.into()))?;
    let (status, answer) = timeout(LIMIT, exchange(endpoint, tls, path, body)).await.map_err(late)??;
    if !status.is_success() {
        return Err(CallError::Refused { status, message: message(&answer) });
    }
    serde_json::from_slice(&answer).map_err(CallError::Answer)
}

async fn exchange(
    endpoint: &str,
    tls: Arc<ClientConfig>,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), CallError> {
    let wrong = || CallError::Endpoint(endpoint.to_owned());
    let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(wrong)?;
    // IPv6 addresses are in brackets in an endpoint, and not in a certificate.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
    let connect = |source| CallError::Connect { endpoint: endpoint.to_owned(), source };
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await.map_err(connect)?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(connect)?;

    let failed = |error: hyper::Error| CallError::Exchange(error.into());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::post(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| CallError::Exchange(error.into()))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(CallError::Exchange)?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(talk, connection);
    // The connection is only driven here; when it ends first, the exchange has what it needs or fails by itself.
    tokio::select! {
        answer = &mut talk => answer,
        _ = &mut connection => talk.await,
    }
}

/// The text of a Kubernetes `Status`, or the answer's first characters.
fn message(answer: &[u8]) -> String {
    let status = serde_json::from_slice::<serde_json::Value>(answer).ok();
    let text = status.as_ref().and_then(|status| status.get("message")?.as_str()).map(str::to_owned);
    text.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned()).chars().take(MAX_MESSAGE).collect()
}

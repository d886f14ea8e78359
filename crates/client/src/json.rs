//! JSON requests over mutual TLS.

use crate::Access;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use orrery_identity::{Credentials, IdentityError, tls};
use rustls::{ClientConfig, pki_types::ServerName};
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The endpoint is not `https://HOST:PORT`.
    #[error("{0:?} is not an endpoint such as https://127.0.0.1:7443")]
    Endpoint(String),
    /// The credentials are of no use.
    #[error("the credentials are of no use")]
    Identity(#[source] IdentityError),
    /// No connection.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection failed half-way.
    #[error("the request to {endpoint} failed")]
    Http {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The server's message.
        message: String,
    },
    /// The answer is not what it should be.
    #[error("the answer of {endpoint} cannot be read")]
    Answer {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Asks one server.
#[derive(Debug, Clone)]
pub struct JsonClient {
    endpoint: String,
    authority: String,
    host: ServerName<'static>,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl JsonClient {
    /// A client for the API that `access` names.
    ///
    /// # Errors
    /// When the endpoint or the credentials are malformed. It does not connect yet.
    pub fn new(access: &Access, timeout: Duration) -> Result<Self, RequestError> {
        Self::build(&access.endpoint, &access.server_ca_pem, Some(&access.credentials), timeout)
    }

    /// A client that shows no certificate.
    ///
    /// # Errors
    /// As [`JsonClient::new`].
    pub fn anonymous(endpoint: &str, server_ca_pem: &str, timeout: Duration) -> Result<Self, RequestError> {
        Self::build(endpoint, server_ca_pem, None, timeout)
    }

    fn build(
        endpoint: &str,
        server_ca_pem: &str,
        credentials: Option<&Credentials>,
        timeout: Duration,
    ) -> Result<Self, RequestError> {
        let malformed = || RequestError::Endpoint(endpoint.to_owned());
        let authority = endpoint.strip_prefix("https://").ok_or_else(malformed)?.trim_end_matches('/').to_owned();
        let (host, _) = authority.rsplit_once(':').ok_or_else(malformed)?;
        let host = ServerName::try_from(host.to_owned()).map_err(|_| malformed())?;
        let tls = tls::client(server_ca_pem, credentials, &["http/1.1"]).map_err(RequestError::Identity)?;
        Ok(Self { endpoint: endpoint.to_owned(), authority, host, tls, timeout })
    }

    /// `POST path` with `body` as JSON.
    ///
    /// # Errors
    /// When there is no answer, or the server refuses; its message is the error's.
    pub async fn post<B: Serialize, A: DeserializeOwned>(&self, path: &str, body: &B) -> Result<A, RequestError> {
        let body = serde_json::to_vec(body).map_err(|source| self.answer_error(source))?;
        let bytes = self.send(Method::POST, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|source| self.answer_error(source))
    }

    /// `GET path`, whatever the answer's form.
    ///
    /// # Errors
    /// When there is no answer, or the server refuses; its message is the error's.
    pub async fn get_text(&self, path: &str) -> Result<String, RequestError> {
        let bytes = self.send(Method::GET, path, Vec::new()).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn answer_error(&self, source: serde_json::Error) -> RequestError {
        RequestError::Answer { endpoint: self.endpoint.clone(), source }
    }

    fn http_error(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RequestError {
        RequestError::Http { endpoint: self.endpoint.clone(), source: source.into() }
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, RequestError> {
        tokio::time::timeout(self.timeout, self.exchange(method, path, body))
            .await
            .map_err(|_| RequestError::Timeout(self.endpoint.clone()))?
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, RequestError> {
        let connect = |source| RequestError::Connect { endpoint: self.endpoint.clone(), source };
        let stream = TcpStream::connect(&self.authority).await.map_err(connect)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(self.host.clone(), stream).await.map_err(connect)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.http_error(e))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| self.http_error(e))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|e| self.http_error(e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER);
            let bytes = body.collect().await.map_err(|e| self.http_error(e))?.to_bytes();
            if status.is_success() { Ok(bytes) } else { Err(refused(status, &bytes)) }
        };
        // The connection makes progress only while it is polled; it ends with the exchange.
        tokio::select! {
            // Cancel-safe: both futures are dropped together and the connection is not used again.
            result = exchange => result,
            ended = connection => Err(self.http_error(match ended {
                Ok(()) => std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into(),
                Err(error) => Box::<dyn std::error::Error + Send + Sync>::from(error),
            })),
        }
    }
}

/// The server's own words where it sent a `Status`, else the start of what it sent.
fn refused(status: StatusCode, body: &[u8]) -> RequestError {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = said.as_ref().and_then(|v| v.get("message")).and_then(|m| m.as_str()).map(str::to_owned);
    let message = message.unwrap_or_else(|| {
        let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
        format!("{status}: {text}")
    });
    RequestError::Refused { status, message }
}

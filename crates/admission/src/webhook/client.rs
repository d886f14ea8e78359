//! HTTPS to webhooks. Connections are kept and used again.

use super::target::Address;
use crate::cache::Cache;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use orrery_identity::tls;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long an answer may be.
const ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// How long an idle connection is kept.
const KEPT: Duration = Duration::from_secs(30);
/// How many idle connections to one address are kept.
const IDLE_CONNECTIONS: usize = 16;

/// Clients by what they dial and whom they trust.
#[derive(Default)]
pub(super) struct Clients(Cache<(Address, String), Client<Connector, Full<Bytes>>>);

impl Clients {
    /// Posts a JSON document, and gives the answer's. The error is as upstream's client words it, from the cause on.
    pub(super) async fn post(&self, address: &Address, ca_pem: &str, url: &str, body: Bytes) -> Result<Bytes, String> {
        let key = (address.clone(), ca_pem.to_owned());
        let client = self.0.get(&key, "", || client(address, ca_pem))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("orrery-admission/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = client.request(request).await.map_err(|error| innermost(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| format!("reading the answer: {}", innermost(&*error)))?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(unexpected(status, &body)) }
    }
}

fn client(address: &Address, ca_pem: &str) -> Result<Client<Connector, Full<Bytes>>, String> {
    let tls = tls::client(ca_pem, None, &["h2", "http/1.1"]).map_err(|error| format!("the CA bundle: {error}"))?;
    let server_name = ServerName::try_from(address.server_name.clone())
        .map_err(|_| format!("{:?} is no name of a server", address.server_name))?;
    let connector = Connector { address: address.clone(), server_name, tls };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEPT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector))
}

/// What an answer that is none means, in the words of upstream's client.
fn unexpected(status: StatusCode, body: &[u8]) -> String {
    let said = String::from_utf8_lossy(&body[..body.len().min(1024)]).trim().to_owned();
    match status.as_u16() {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => "forbidden".to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        500 => format!("an error on the server ({said:?}) has prevented the request from succeeding"),
        503 => "the server is currently unable to handle the request".to_owned(),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

/// The cause of an error, without what only says that there was one.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Dials one address, whatever the URL says.
#[derive(Clone)]
struct Connector {
    address: Address,
    server_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

impl Connector {
    async fn connect(self) -> io::Result<Stream> {
        let Address { host, port, .. } = &self.address;
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => error.to_string(),
            };
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            io::Error::new(error.kind(), format!("dial tcp {host}:{port}: connect: {why}"))
        })?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(self.tls).connect(self.server_name, tcp).await;
        let stream = stream.map_err(|error| io::Error::new(error.kind(), format!("tls: {}", innermost(&error))))?;
        Ok(Stream(TokioIo::new(stream)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A connection that tells the pool which protocol was agreed on.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let is_h2 = self.0.inner().get_ref().1.alpn_protocol() == Some(b"h2");
        if is_h2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

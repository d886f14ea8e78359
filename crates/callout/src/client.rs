//! HTTPS with connections that are kept and used again.

use super::target::Address;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use orrery_identity::{Credentials, tls};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    collections::HashMap,
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long an answer may be that is read whole.
const ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// How long an idle connection is kept.
const KEPT: Duration = Duration::from_secs(30);
/// How many idle connections to one address are kept.
const IDLE_CONNECTIONS: usize = 16;
/// How many clients are kept. When there are more, one of them goes, whichever: it is made anew when it is needed.
const MOST: usize = 512;

/// The body of a request.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Whom to take for the program that is dialed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Whoever has a certificate of this authority (PEM) for the name.
    Authority(String),
    /// Anybody: what is sent may be read and answered by whoever is in between.
    Anybody,
}

/// What a client is for: what it dials, whom it trusts, whether connections are to be upgraded.
type Key = (Address, Trust, bool);

/// Clients by what they dial and whom they trust.
#[derive(Default)]
pub struct Clients {
    /// What is shown to whoever is dialed.
    credentials: Option<Credentials>,
    known: Mutex<HashMap<Key, Client<Connector, Body>>>,
}

impl Clients {
    /// Clients that show these credentials.
    #[must_use]
    pub fn with_credentials(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), known: Mutex::default() }
    }

    /// Posts a JSON document, and gives the answer's. `agent` is who asks.
    ///
    /// # Errors
    /// As upstream's client words it, from the cause on.
    pub async fn post(
        &self,
        (address, trust): (&Address, &Trust),
        agent: &str,
        url: &str,
        body: Bytes,
    ) -> Result<Bytes, String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, agent)
            .body(Full::new(body).map_err(|never| match never {}).boxed_unsync())
            .map_err(|error| error.to_string())?;
        let answer = self.send((address, trust), request, false).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| format!("reading the answer: {}", innermost(&*error)))?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(unexpected(status, &body)) }
    }

    /// Sends any request, and gives the answer as soon as it begins. With `upgrades`, the connection is one that can be
    /// upgraded (`hyper::upgrade::on` the answer).
    ///
    /// # Errors
    /// When there is no connection, or it ends before an answer.
    pub async fn send(
        &self,
        (address, trust): (&Address, &Trust),
        request: Request<Body>,
        upgrades: bool,
    ) -> Result<Response<Incoming>, String> {
        let client = self.client((address, trust), upgrades)?;
        client.request(request).await.map_err(|error| innermost(&error))
    }

    fn client(&self, (address, trust): (&Address, &Trust), upgrades: bool) -> Result<Client<Connector, Body>, String> {
        let key = (address.clone(), trust.clone(), upgrades);
        // Nothing panics while it is held.
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let made = client(address, trust, self.credentials.as_ref(), upgrades)?;
        let mut known = lock();
        if known.len() >= MOST
            && let Some(gone) = known.keys().next().cloned()
        {
            known.remove(&gone);
        }
        known.insert(key, made.clone());
        Ok(made)
    }
}

fn client(
    address: &Address,
    trust: &Trust,
    credentials: Option<&Credentials>,
    upgrades: bool,
) -> Result<Client<Connector, Body>, String> {
    let protocols: &[&str] = if upgrades { &["http/1.1"] } else { &["h2", "http/1.1"] };
    let tls = match trust {
        Trust::Authority(pem) => tls::client(pem, credentials, protocols),
        Trust::Anybody => tls::client_of_anybody(credentials, protocols),
    };
    let tls = tls.map_err(|error| format!("the CA bundle: {error}"))?;
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

//! A client that costs as little as it can, because it shares the processors with what it measures.

use crate::Failure;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orrery_identity::{Credentials, tls};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

type Body = Full<Bytes>;

/// How much of a list is searched for its `continue`.
const HEAD_BYTES: usize = 1024;

/// A server, and who we are to it.
#[derive(Clone)]
pub(crate) struct Target {
    /// `ADDRESS:PORT`.
    pub(crate) address: String,
    pub(crate) server_ca_pem: String,
    pub(crate) credentials: Option<Credentials>,
}

/// What is sent.
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl Sent {
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::GET, path, content_type: "application/json", body: Bytes::new() }
    }
}

impl Target {
    async fn connect(&self, protocol: &str) -> Result<TokioIo<TlsStream<TcpStream>>, Failure> {
        let (host, _) = self.address.rsplit_once(':').ok_or("an address has a port")?;
        let tls = tls::client(&self.server_ca_pem, self.credentials.as_ref(), &[protocol])?;
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let name = host.to_owned().try_into()?;
        Ok(TokioIo::new(TlsConnector::from(Arc::clone(&tls)).connect(name, stream).await?))
    }

    /// A connection for one request after the other.
    pub(crate) async fn one_by_one(&self) -> Result<OneByOne, Failure> {
        let (sender, connection) = http1::handshake(self.connect("http/1.1").await?).await?;
        tokio::spawn(connection);
        Ok(OneByOne { sender, address: self.address.clone() })
    }

    /// A connection for many requests at once.
    pub(crate) async fn many_at_once(&self) -> Result<http2::SendRequest<Body>, Failure> {
        let io = self.connect("h2").await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // Go's client has 4 MiB a stream and 1 GiB a connection.
        builder.initial_stream_window_size(4 << 20).initial_connection_window_size(1 << 30);
        let (sender, connection) = builder.handshake(io).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Lists pods, of one namespace unless it is empty, whole or page by page; how many came.
    pub(crate) async fn list(&self, namespace: &str, count: usize, page: Option<usize>) -> Result<usize, Failure> {
        let mut connection = self.one_by_one().await?;
        let path = if namespace.is_empty() {
            "/api/v1/pods".to_owned()
        } else {
            format!("/api/v1/namespaces/{namespace}/pods")
        };
        let mut seen = 0;
        let mut token = String::new();
        loop {
            let limit = page.map_or(String::new(), |page| format!("&limit={page}"));
            let path = format!("{path}?continue={token}{limit}&bench-count={count}&bench-seen={seen}");
            let (count, next) = connection.pods(path).await?;
            seen += count;
            match next {
                Some(next) => token = next,
                None => return Ok(seen),
            }
        }
    }
}

/// The `continue` of a list; it stands in the beginning.
fn next_token(body: &[u8]) -> Option<String> {
    let head = &body[..body.len().min(HEAD_BYTES)];
    let start = memchr::memmem::find(head, b"\"continue\":\"")? + 12;
    let length = memchr::memchr(b'"', &head[start..])?;
    Some(String::from_utf8_lossy(&head[start..start + length]).into_owned())
}

pub(crate) fn request(address: &str, sent: Sent) -> Result<Request<Body>, Failure> {
    let request = Request::builder()
        .method(sent.method)
        .uri(format!("https://{address}{}", sent.path))
        .header("host", address)
        .header("content-type", sent.content_type)
        .header("accept", "application/json");
    Ok(request.body(Full::new(sent.body))?)
}

/// A connection for one request after the other.
pub(crate) struct OneByOne {
    sender: http1::SendRequest<Body>,
    address: String,
}

impl OneByOne {
    /// The body of the answer.
    pub(crate) async fn send(&mut self, sent: Sent) -> Result<Bytes, Failure> {
        whole(self.answer(sent).await?).await
    }

    async fn answer(&mut self, sent: Sent) -> Result<Response<Incoming>, Failure> {
        let path = sent.path.clone();
        let mut request = request(&self.address, sent)?;
        *request.uri_mut() = path.parse()?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// How many pods a list has, and where the next page begins. The answer is looked through as it comes, and not kept.
    async fn pods(&mut self, path: String) -> Result<(usize, Option<String>), Failure> {
        // Every pod has one of these and no other object in it does.
        let mark = memchr::memmem::Finder::new(b"\"schedulerName\":");
        let mut body = opened(self.answer(Sent::get(path)).await?)?;
        // A mark may begin in one frame and end in the next: so much of what was is kept.
        let kept = mark.needle().len() - 1;
        let (mut head, mut seam, mut count) = (Vec::new(), Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let Some(data) = frame.data_ref() else { continue };
            let missing = HEAD_BYTES.saturating_sub(head.len());
            head.extend_from_slice(&data[..data.len().min(missing)]);
            seam.extend_from_slice(&data[..data.len().min(kept)]);
            count += mark.find_iter(&seam).count() + mark.find_iter(data).count();
            if data.len() > kept {
                seam.clear();
                seam.extend_from_slice(&data[data.len() - kept..]);
            }
            seam.drain(..seam.len().saturating_sub(kept));
        }
        Ok((count, next_token(&head)))
    }
}

/// The body of an answer that says that all is well.
pub(crate) fn opened(response: Response<Incoming>) -> Result<Incoming, Failure> {
    let status = response.status();
    if status.is_success() { Ok(response.into_body()) } else { Err(format!("the server answers {status}").into()) }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(format!("the server answers {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(body)
}

//! HTTP servers of a pod.

use super::{MOST_ANSWER, Target, address, connect};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use orrery_lifecycle::{handler::Handler, probe::Outcome};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 10;
const AGENT: HeaderValue = HeaderValue::from_static("kube-probe/1.36");

/// A question to a server.
#[derive(Debug, Clone)]
pub(super) struct Get {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    headers: HeaderMap,
}

impl Get {
    pub(super) fn new(target: &Target, handler: &Handler) -> Result<Self, String> {
        let Handler::HttpGet { tls, host, port, path, headers: wanted } = handler else {
            return Err("this is no question to an HTTP server".to_owned());
        };
        let (host, port) = address(target, host.as_deref(), port)?;
        let mut headers = HeaderMap::new();
        for (name, value) in wanted {
            let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
            headers.append(name, value.parse().map_err(|_| format!("{value:?} is no value of a header"))?);
        }
        if !headers.contains_key(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, AGENT);
        }
        if !headers.contains_key(header::ACCEPT) {
            headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        }
        Ok(Self { tls: *tls, host, port, path: path.clone(), headers })
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }

    /// Whether the server says that all is well: any status from 200 to 399.
    pub(super) async fn probe(mut self, timeout: Duration) -> Outcome {
        let url = self.url();
        let asked = async {
            for _ in 0..MOST_REDIRECTS {
                let (status, location) = self.ask(timeout).await?;
                match location.filter(|_| status.is_redirection()).and_then(|location| self.redirected(&location)) {
                    Some(next) => self = next,
                    // Elsewhere is not asked; the server is there, and that is what counts.
                    None => return Ok(status),
                }
            }
            Err(format!("stopped after {MOST_REDIRECTS} redirects"))
        };
        let wait = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        match tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| Err(wait.to_owned())) {
            Ok(status) if status.is_success() || status.is_redirection() => Outcome::Success,
            Ok(status) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", status.as_u16())),
            Err(error) => Outcome::Failure(format!("Get {url:?}: {error}")),
        }
    }

    /// Asks, whatever the answer is.
    pub(super) async fn hook(self) -> Result<(), String> {
        const PATIENCE: Duration = Duration::from_secs(30);
        self.ask(PATIENCE).await.map(drop).map_err(|error| format!("Get {:?}: {error}", self.url()))
    }

    /// The same question to where the server sends us, when that is the same host.
    fn redirected(&self, location: &str) -> Option<Self> {
        let target: Uri = location.parse().ok()?;
        let path = target.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let Some(host) = target.host() else { return Some(Self { path, ..self.clone() }) };
        let tls = target.scheme_str() == Some("https");
        let port = target.port_u16().unwrap_or(if tls { 443 } else { 80 });
        (host.trim_matches(['[', ']']) == self.host).then(|| Self { tls, port, path, ..self.clone() })
    }

    /// Status and location of the answer.
    async fn ask(&self, timeout: Duration) -> Result<(StatusCode, Option<String>), String> {
        let stream = connect(&self.host, self.port, timeout).await?;
        if !self.tls {
            return self.converse(stream).await;
        }
        let config = orrery_identity::tls::client_of_anybody(None, &[]).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        self.converse(stream.map_err(|error| format!("tls: {error}"))?).await
    }

    async fn converse<S>(&self, stream: S) -> Result<(StatusCode, Option<String>), String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut request = Request::get(self.path.as_str()).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        *request.headers_mut() = self.headers.clone();
        if !self.headers.contains_key(header::HOST) {
            let host = self.authority().parse().map_err(|_| format!("{:?} is no host", self.host))?;
            request.headers_mut().insert(header::HOST, host);
        }
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
            // The rest of a longer answer is of no interest.
            let _ = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
            Ok((status, location))
        };
        // The connection does the work; it ends with the exchange.
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // What came before its end is still to be read.
            _ = connection => exchange.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Shim;
    use orrery_lifecycle::handler::Port;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Serves each connection by what `answer` makes of the path; gives the port.
    async fn server(answer: fn(&str, u16) -> String) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let head = String::from_utf8_lossy(&request[..length]).into_owned();
                let answer = answer(head.split(' ').nth(1).unwrap_or_default(), port);
                let probed = head.contains("user-agent: kube-probe/");
                stream.write_all(if probed { answer.as_bytes() } else { b"" }).await.unwrap();
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
            }
        });
        port
    }

    async fn outcome(port: u16, path: &str, timeout: Duration) -> Outcome {
        let target = Target { shim: Shim::new("/none".into()), container: "c".into(), pod_ip: "127.0.0.1".into() };
        let (host, headers) = (None, vec![]);
        let handler = Handler::HttpGet { tls: false, host, port: Port::Number(port), path: path.into(), headers };
        super::super::probe(&target, &handler, timeout).await
    }

    #[tokio::test]
    async fn statuses_below_400_are_well_and_redirects_are_followed_on_the_same_host() {
        let port = server(|path, port| match path {
            "/ok" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
            "/long" => format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(50_000)),
            "/to-bad" => "HTTP/1.1 302 Found\r\nlocation: /bad\r\n\r\n".into(),
            "/here" => format!("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:{port}/bad\r\n\r\n"),
            "/away" => "HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/bad\r\n\r\n".into(),
            "/round" => "HTTP/1.1 302 Found\r\nlocation: /round\r\n\r\n".into(),
            "/slow" => String::new(),
            _ => "HTTP/1.1 500 No\r\n\r\n".into(),
        })
        .await;
        let long = Duration::from_secs(20);
        for path in ["/ok", "/long", "/away"] {
            assert_eq!(outcome(port, path, long).await, Outcome::Success, "{path}");
        }
        for path in ["/bad", "/to-bad", "/here"] {
            let failed = Outcome::Failure("HTTP probe failed with statuscode: 500".into());
            assert_eq!(outcome(port, path, long).await, failed, "{path}");
        }
        let failed = format!("Get \"http://127.0.0.1:{port}/round\": stopped after 10 redirects");
        assert_eq!(outcome(port, "/round", long).await, Outcome::Failure(failed));
        let Outcome::Failure(text) = outcome(port, "/slow", Duration::from_millis(50)).await else { panic!() };
        assert!(text.ends_with("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"), "{text}");
    }

    #[tokio::test]
    async fn a_port_that_is_closed_is_told_in_gos_words() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let Outcome::Failure(text) = outcome(closed, "/", Duration::from_secs(5)).await else { panic!() };
        let at = format!("127.0.0.1:{closed}");
        assert_eq!(text, format!("Get \"http://{at}/\": dial tcp {at}: connect: connection refused"));
    }
}

//! What clients may hold, and for how long.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orrery_identity::{Authority, Profile, Usage, tls};
use orrery_serving::{Bounds, Handler, serve};
use rustls::pki_types::CertificateDer;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything takes, on a machine that is busy with much else.
const LONG: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, Infallible>;

struct Answers;

impl Handler for Answers {
    type Caller = ();
    type Body = Body;

    fn caller(&self, _: SocketAddr, _: Option<&CertificateDer<'_>>) -> Option<()> {
        Some(())
    }

    async fn handle(self: Arc<Self>, (): (), request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/slow" => tokio::time::sleep(Duration::from_millis(500)).await,
            "/endless" => {
                let chunk = || Some((Ok(Frame::data(Bytes::from_static(&[b'x'; 16384]))), ()));
                let endless = Endless(chunk);
                return Response::new(StreamBody::new(endless).boxed_unsync());
            }
            _ => {}
        }
        Response::new(Full::from("good").boxed_unsync())
    }
}

/// Yields the same for ever.
struct Endless<F>(F);

impl<T, F: FnMut() -> Option<(T, ())> + Unpin> futures::Stream for Endless<F> {
    type Item = T;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<T>> {
        std::task::Poll::Ready((self.0)().map(|(item, ())| item))
    }
}

struct Server {
    address: SocketAddr,
    ca: String,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    _guard: DropGuard,
}

impl Server {
    async fn start(bounds: Bounds) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(directory.path(), "serving").unwrap();
        let profile = Profile {
            common_name: "server".into(),
            organization: None,
            alternative_names: vec!["127.0.0.1".into()],
            usage: Usage::Server,
            lifetime: Duration::from_secs(3600),
        };
        let ca = authority.certificate_pem().to_owned();
        let config = tls::server(&authority.issue(&profile).unwrap(), tls::Clients::Optional(&ca), &["h2", "http/1.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(Arc::new(Answers), listener, config.unwrap(), bounds, shutdown.clone()));
        Self { address, ca, task, _guard: shutdown.clone().drop_guard(), shutdown }
    }

    async fn connect(&self, protocol: &str) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let config = tls::client(&self.ca, None, &[protocol]).unwrap();
        TlsConnector::from(config).connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect("http/1.1").await)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "a").body(Full::<Bytes>::default()).unwrap();
        let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

/// Waits until the server closes.
async fn closed(mut stream: TlsStream<TcpStream>, what: &str) {
    let end = async {
        let mut some = [0; 1024];
        while stream.read(&mut some).await.is_ok_and(|read| read > 0) {}
    };
    tokio::time::timeout(LONG, end).await.unwrap_or_else(|_| panic!("{what} is still open"));
}

fn quick() -> Bounds {
    Bounds { idle: Duration::from_millis(400), crowded_idle: Duration::from_millis(200), ..Bounds::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_nothing_are_closed() {
    let server = Server::start(quick()).await;
    let beginnings: [(&str, &str, &[u8]); 6] = [
        ("a silent one", "http/1.1", b""),
        ("one that might become HTTP/2", "h2", b"PRI * HT"),
        ("a head without an end", "http/1.1", b"GET / HTTP/1.1\r\nhost: a\r\nx: "),
        ("a method without an end", "http/1.1", b"GETGETGETGETGETGETGETGETGETGETGET"),
        ("a preface and nothing more", "h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
        ("one that has been answered", "http/1.1", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ];
    for (what, protocol, bytes) in beginnings {
        let mut stream = server.connect(protocol).await;
        stream.write_all(bytes).await.unwrap();
        closed(stream, what).await;
    }
    assert_eq!(server.get("/").await, "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_of_http_2_is_closed_although_it_answers_pings() {
    let server = Server::start(quick()).await;
    let stream = TokioIo::new(server.connect("h2").await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    // A request that takes longer than the idle time keeps it.
    let request = Request::get("https://a/slow").body(Full::<Bytes>::default()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "good");
    tokio::time::timeout(LONG, connection).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_room_when_all_places_are_taken() {
    let bounds = Bounds { connections: 3, idle: LONG * 10, crowded_idle: Duration::ZERO, ..Bounds::default() };
    let server = Server::start(bounds).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(server.connect("http/1.1").await);
    }
    let answer = tokio::time::timeout(LONG, server.get("/")).await.expect("there is room again");
    assert_eq!(answer, "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut() {
    let bounds = Bounds { connections: 1, unread: Duration::from_millis(400), ..Bounds::default() };
    let server = Server::start(bounds).await;
    let mut stream = server.connect("http/1.1").await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    // Its place is the only one.
    let answer = tokio::time::timeout(LONG, server.get("/")).await.expect("the place is free again");
    assert_eq!(answer, "good");
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let server = Server::start(Bounds::default()).await;
    let mut stream = server.connect("h2").await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    let flood = async {
        for id in (1..200_001_u32).step_by(2) {
            // HEADERS (GET / of https://a by the static table), then RST_STREAM.
            let mut frames = vec![0, 0, 6, 1, 5];
            frames.extend_from_slice(&id.to_be_bytes());
            frames.extend_from_slice(&[0x82, 0x84, 0x87, 0x41, 1, b'a']);
            frames.extend_from_slice(&[0, 0, 4, 3, 0]);
            frames.extend_from_slice(&id.to_be_bytes());
            frames.extend_from_slice(&8_u32.to_be_bytes());
            if stream.write_all(&frames).await.is_err() {
                return true;
            }
        }
        let mut some = [0; 4096];
        loop {
            match stream.read(&mut some).await {
                Ok(0) | Err(_) => return true,
                // GOAWAY, type 7, says so before it is closed.
                Ok(_) => {}
            }
        }
    };
    assert!(tokio::time::timeout(LONG, flood).await.expect("the flood is cut"));
    assert_eq!(server.get("/").await, "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_end_and_new_connections_are_refused_after_shutdown() {
    let server = Server::start(Bounds::default()).await;
    let address = server.address;
    let slow = async { server.get("/slow").await };
    let end = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.shutdown.cancel();
        // Refused at once, not left to wait.
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONG, refused).await.unwrap();
    };
    let (answer, ()) = tokio::join!(slow, end);
    assert_eq!(answer, "good");
    tokio::time::timeout(LONG, server.task).await.unwrap().unwrap();
}

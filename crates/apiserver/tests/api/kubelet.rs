//! Logs and exec, through to a kubelet that is played by the test.

use crate::support::{Authorities, Server, admin, pod};
use crate::wire::connect;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use orrery_identity::tls;
use orrery_store::EmbeddedOptions;
use serde_json::json;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// Answers logs with the path that was asked for, and streams with an echo in the protocol that was asked for.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().to_string();
    if path.starts_with("/containerLogs/") {
        return Ok(Response::new(Full::new(Bytes::from(format!("log of {path}\n")))));
    }
    if path.contains("refuse") {
        let mut response = Response::new(Full::new(Bytes::from_static(b"container not running")));
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    let headers = request.headers().clone();
    assert!(!headers.contains_key("authorization"));
    let path = format!("{} {path}", request.method());
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
        stream.write_all(format!("{path}\n").as_bytes()).await.unwrap();
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        stream.write_all(&buffer).await.unwrap();
    });
    let mut response = Response::builder().status(101).header("connection", "upgrade");
    for name in ["upgrade", "sec-websocket-protocol", "x-stream-protocol-version"] {
        response = headers.get_all(name).iter().take(1).fold(response, |all, value| all.header(name, value));
    }
    Ok(response.body(Full::new(Bytes::new())).unwrap())
}

/// A kubelet on a free port; ends with the test's runtime.
async fn kubelet(authorities: &Authorities) -> u16 {
    let clients = tls::Clients::Required(authorities.clients.certificate_pem());
    let config = tls::server(&authorities.server(), clients, &["http/1.1"]).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&config));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .with_upgrades();
                let _ = connection.await;
            });
        }
    });
    port
}

/// A server with a pod `a` on a node whose kubelet is played.
async fn start() -> Server {
    let pki = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(pki.path());
    let port = kubelet(&authorities).await;
    let access = authorities.kubelet_access();
    let server = Server::with(EmbeddedOptions::default(), |config| config.kubelet = Some(access)).await;
    server.namespace("demo").await;
    let node = json!({"metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    server.post("/api/v1/nodes", &node).await.expect(201);
    server.bound_pod("demo", &pod("a"), "n1").await;
    server.post("/api/v1/namespaces/demo/pods", &pod("unbound")).await.expect(201);
    server
}

#[tokio::test]
async fn logs_are_streamed_from_the_kubelet() {
    let server = start().await;
    let pods = "/api/v1/namespaces/demo/pods";
    let log = server.get(&format!("{pods}/a/log?follow=true&tailLines=5&container=main&pretty=1")).await;
    assert_eq!(log.status, 200);
    assert_eq!(log.body, "log of /containerLogs/demo/a/main?follow=true&tailLines=5\n");
    assert!(log.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let wrong = server.get(&format!("{pods}/a/log?container=other")).await;
    assert_eq!((wrong.status, wrong.message()), (400, "container other is not valid for pod a"));
    server.get(&format!("{pods}/a/log?tailLines=-1")).await.expect(422);
    server.get(&format!("{pods}/unbound/log")).await.expect(400);
    server.get(&format!("{pods}/none/log")).await.expect(404);
}

/// Asks for a stream of the pod `a`.
fn upgrade(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(format!("/api/v1/namespaces/demo/pods/a/{path}"));
    for (name, value) in [("host", "api"), ("connection", "Upgrade")].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

const WEBSOCKET: &[(&str, &str)] = &[
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "v5.channel.k8s.io"),
];
const SPDY: &[(&str, &str)] = &[
    ("upgrade", "SPDY/3.1"),
    ("x-stream-protocol-version", "portforward.k8s.io"),
    ("x-stream-protocol-version", "another"),
];

#[tokio::test]
async fn streams_are_relayed_both_ways_once_the_kubelet_agrees() {
    let server = start().await;
    let listening = server.listen().await;
    let admin = listening.authorities.client("root", Some("system:masters"));
    let exec = "exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true";
    let table = [
        ("GET", exec, WEBSOCKET, "GET /exec/demo/a/main?command=sh&command=-c&command=a+b&input=1&output=1\n"),
        ("GET", "portforward?ports=80&ports=443", WEBSOCKET, "GET /portForward/demo/a?port=80&port=443\n"),
        ("POST", "portforward", SPDY, "POST /portForward/demo/a?\n"),
        ("POST", "attach?stdout=true", SPDY, "POST /attach/demo/a/main?output=1\n"),
    ];
    for (method, path, headers, expected) in table {
        let stream = connect(&listening, Some(&admin)).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut agreed = sender.send_request(upgrade(method, path, headers)).await.unwrap();
        assert_eq!(agreed.status(), 101, "{path}");
        for name in ["upgrade", "sec-websocket-protocol", "x-stream-protocol-version"] {
            let asked = headers.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
            assert_eq!(agreed.headers().get(name).map(|value| value.to_str().unwrap()), asked, "{path}");
        }
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut agreed).await.unwrap());
        let mut line = vec![0; expected.len()];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), expected);
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
    }
}

#[tokio::test]
async fn streams_that_cannot_be_had_are_refused_clearly() {
    let server = start().await;
    let listening = server.listen().await;
    let admin_user = listening.authorities.client("root", Some("system:masters"));
    let stream = connect(&listening, Some(&admin_user)).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let table = [
        // A client whose WebSocket is refused tries SPDY, and shows what is answered to that.
        ("exec?command=refuse&stdout=1", WEBSOCKET, "container not running"),
        ("exec?command=refuse&stdout=1", SPDY, "container not running"),
        ("exec?command=ls&stdout=1", &[], "you must request an upgrade"),
        ("exec?stdout=1", WEBSOCKET, "at least one command"),
        ("portforward?ports=80,http", WEBSOCKET, "http\\\" is not a port"),
        ("portforward?ports=0", WEBSOCKET, "0\\\" is not a port"),
    ];
    for (path, headers, expected) in table {
        let refused = sender.send_request(upgrade("GET", path, headers)).await.unwrap();
        assert_eq!(refused.status(), 400, "{path}");
        let text = refused.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(expected), "{path}: {text}");
    }
    let without = Server::start().await;
    without.namespace("demo").await;
    let answer = without.call(&admin(), "GET", "/api/v1/namespaces/demo/pods/a/log", None).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn what_is_behind_a_node_is_asked_and_the_machine_itself_is_not_reached_through_a_pod() {
    let server = start().await;
    let answer = server.get("/api/v1/nodes/n1/proxy/containerLogs/demo/a%2Fb/main?tailLines=1").await;
    assert_eq!((answer.status, answer.body), (200, json!("log of /containerLogs/demo/a%2Fb/main?tailLines=1\n")));
    server.get("/api/v1/nodes/none/proxy/").await.expect(404);
    let pods = "/api/v1/namespaces/demo/pods";
    let without = server.get(&format!("{pods}/a:8080/proxy/index.html")).await;
    assert!(without.message().contains("has no address yet"), "{}", without.message());
    let address = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    server.patch(&format!("{pods}/a/status"), &address).await.expect(200);
    let refused = server.get(&format!("{pods}/a:8080/proxy/index.html")).await;
    assert_eq!((refused.status, refused.message()), (400, "address not allowed: 127.0.0.1"));
    let nobody = orrery_apiserver::User::new("eve", ["people"]);
    server.call(&nobody, "GET", "/api/v1/nodes/n1/proxy/containerLogs/demo/a/main", None).await.expect(403);
}

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

/// Answers logs with the path that was asked for, and exec with an echo.
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
    if request.headers()["upgrade"] != "websocket" {
        let mut response = Response::new(Full::new(Bytes::from_static(b"streams are served over WebSocket only")));
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    assert_eq!(request.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    assert!(!request.headers().contains_key("authorization"));
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
        stream.write_all(format!("{path}\n").as_bytes()).await.unwrap();
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        stream.write_all(&buffer).await.unwrap();
    });
    let response = Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-protocol", "v5.channel.k8s.io");
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

#[tokio::test]
async fn exec_is_relayed_both_ways_once_the_kubelet_agrees() {
    let server = start().await;
    let listening = server.listen().await;
    let admin = listening.authorities.client("root", Some("system:masters"));
    let upgrade = |path: &str, protocol: &str| {
        Request::get(format!("/api/v1/namespaces/demo/pods/a/{path}"))
            .header("host", "api")
            .header("connection", "Upgrade")
            .header("upgrade", protocol)
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "v5.channel.k8s.io")
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    let stream = connect(&listening, Some(&admin)).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let spdy = sender.send_request(upgrade("exec?command=ls&stdout=1", "SPDY/3.1")).await.unwrap();
    assert_eq!(spdy.status(), 400);
    let text = spdy.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("WebSocket"), "{text:?}");
    // What is wrong with the container is told in each protocol: clients show what the last one that they try is answered.
    for protocol in ["websocket", "SPDY/3.1"] {
        let refused = sender.send_request(upgrade("exec?command=refuse&stdout=1", protocol)).await.unwrap();
        assert_eq!(refused.status(), 400);
        let text = refused.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&text).contains("container not running"), "{text:?}");
    }
    let path = "exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true";
    let mut agreed = sender.send_request(upgrade(path, "websocket")).await.unwrap();
    assert_eq!(agreed.status(), 101);
    assert_eq!(agreed.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut agreed).await.unwrap());
    let expected = "/exec/demo/a/main?command=sh&command=-c&command=a+b&input=1&output=1\n";
    let mut line = vec![0; expected.len()];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(String::from_utf8(line).unwrap(), expected);
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test]
async fn streams_that_cannot_be_had_are_refused_clearly() {
    let server = start().await;
    let pods = "/api/v1/namespaces/demo/pods";
    let plain = server.get(&format!("{pods}/a/exec?command=ls&stdout=1")).await;
    assert_eq!(plain.status, 400);
    server.get(&format!("{pods}/a/portforward?ports=80")).await.expect(501);
    let without = Server::start().await;
    without.namespace("demo").await;
    let answer = without.call(&admin(), "GET", &format!("{pods}/a/log"), None).await;
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

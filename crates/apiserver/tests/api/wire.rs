//! Over HTTPS: who is who, health, discovery, and the end of serving. And `kube-rs` within the process.

use crate::{
    remote::Remote,
    support::{Listening, Server, admin, config_map},
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use kube::{Api, api::ListParams, api::PostParams};
use orrery_api::k8s::api::core::v1::ConfigMap;
use orrery_apiserver::{ExtraHandler, ExtraRequest, ExtraRoute, User};
use orrery_identity::{Credentials, tls};
use orrery_machinery::status::ApiError;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) async fn connect(listening: &Listening, credentials: Option<&Credentials>) -> TlsStream<TcpStream> {
    let ca = listening.authorities.serving.certificate_pem();
    let config = tls::client(ca, credentials, &["http/1.1"]).unwrap();
    let stream = TcpStream::connect(listening.address).await.unwrap();
    TlsConnector::from(config).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap()
}

/// Whether a connection with this certificate comes about: the server's refusal shows on the first read.
pub(crate) async fn try_connect(listening: &Listening, credentials: Option<&Credentials>) -> bool {
    let ca = listening.authorities.serving.certificate_pem();
    let config = tls::client(ca, credentials, &["http/1.1"]).unwrap();
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let connected = TlsConnector::from(config).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await;
    let Ok(stream) = connected else { return false };
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else {
        return false;
    };
    let task = tokio::spawn(connection);
    let request = Request::get("/readyz").header("host", "api").body(Full::new(Bytes::new())).unwrap();
    let answered = sender.send_request(request).await.is_ok_and(|response| response.status() == 200);
    task.abort();
    answered
}

async fn get(listening: &Listening, credentials: Option<&Credentials>, path: &str) -> (u16, Value) {
    let stream = connect(listening, credentials).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let task = tokio::spawn(connection);
    let request = Request::get(path).header("host", "api").body(Full::new(Bytes::new())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("audit-id"));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    task.abort();
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()))
}

struct Echo;

#[async_trait::async_trait]
impl ExtraHandler for Echo {
    async fn handle(&self, request: ExtraRequest) -> Result<Value, ApiError> {
        Ok(json!({"path": request.path, "user": request.user.map(|user| user.name().to_owned())}))
    }
}

#[tokio::test]
async fn callers_are_known_by_their_certificates_and_others_reach_only_health() {
    let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| {
        for (prefix, anonymous) in [("/open/v1/", true), ("/closed/v1/", false)] {
            config.extra.push(ExtraRoute { prefix, anonymous, handler: Arc::new(Echo) });
        }
    })
    .await;
    let listening = server.listen().await;
    let admin = listening.authorities.client("root", Some("system:masters"));
    let alice = listening.authorities.client("alice", None);
    let table = [
        (None, "/healthz", 200),
        (None, "/livez?verbose", 200),
        (None, "/readyz", 200),
        (None, "/version", 401),
        (None, "/api/v1/namespaces", 401),
        (None, "/metrics", 401),
        (None, "/open/v1/x", 200),
        (None, "/closed/v1/x", 401),
        (Some(&alice), "/closed/v1/x", 200),
        (Some(&alice), "/version", 200),
        (Some(&alice), "/api/v1/namespaces", 403),
        (Some(&admin), "/api/v1/namespaces", 200),
        (Some(&admin), "/metrics", 200),
        (Some(&admin), "/openapi/v2", 200),
    ];
    for (credentials, path, expected) in table {
        let (status, body) = get(&listening, credentials, path).await;
        assert_eq!(status, expected, "{path}: {body:#}");
    }
    let (_, echo) = get(&listening, Some(&alice), "/closed/v1/x").await;
    assert_eq!(echo, json!({"path": "/closed/v1/x", "user": "alice"}));
}

#[tokio::test]
async fn discovery_and_schemas_are_complete_for_what_is_served() {
    let server = Server::start().await;
    let aggregated =
        [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")];
    let core = server.send(&admin(), "GET", "/api", &aggregated, Vec::new()).await;
    assert!(core.headers["content-type"].to_str().unwrap().contains("APIGroupDiscoveryList"));
    assert_eq!(core.body["kind"], "APIGroupDiscoveryList");
    assert_eq!(server.get("/api").await.expect(200)["versions"], json!(["v1"]));
    let list = server.get("/api/v1").await.expect(200);
    let names: Vec<&str> = list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    for name in ["pods", "pods/status", "pods/log", "pods/binding", "namespaces/finalize"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let index = server.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(server.get(url).await.expect(200)["components"]["schemas"].as_object().unwrap().len() > 50);
    let version = server.get("/version").await.expect(200);
    for part in ["gitCommit", "buildDate"] {
        assert!(version[part].as_str().is_some_and(|text| !text.is_empty()), "{part}");
    }
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    server.get("/apis/none.example").await.expect(404);
}

#[tokio::test]
async fn serving_ends_on_demand_and_ends_watches() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let admin = listening.authorities.client("root", Some("system:masters"));
    let stream = connect(&listening, Some(&admin)).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("/api/v1/pods?watch=1").header("host", "api").body(Full::new(Bytes::new())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    listening.shutdown.cancel();
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    listening.task.await.unwrap().unwrap();
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn in_the_grace_time_everybody_is_served_but_told_to_go_elsewhere() {
    let options = orrery_store::EmbeddedOptions::default();
    let server = Server::with(options, |config| config.limits.grace = std::time::Duration::from_secs(2)).await;
    let listening = server.listen().await;
    let root = listening.authorities.client("root", Some("system:masters"));
    let watch = server.open(&admin(), "GET", "/api/v1/pods?watch=1", &[], Vec::new()).await;
    assert_eq!(get(&listening, None, "/readyz").await.0, 200);
    listening.shutdown.cancel();
    // On new connections, all the while.
    while get(&listening, None, "/readyz").await.0 == 200 {}
    assert_eq!(get(&listening, Some(&root), "/api/v1/namespaces").await.0, 200);
    assert_eq!(get(&listening, None, "/livez").await.0, 200);
    assert!(!listening.task.is_finished());
    assert!(watch.into_body().collect().await.unwrap().to_bytes().is_empty(), "watches end in order after it");
    listening.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_whose_body_was_too_long_is_not_used_again() {
    let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| config.limits.body_bytes = 10).await;
    let listening = server.listen().await;
    let answer = Remote::admin(&listening).post("/api/v1/namespaces", &json!({"long": "0123456789"})).await;
    assert_eq!((answer.status, answer.headers["connection"].to_str().unwrap()), (413, "close"));
}

#[tokio::test]
async fn kube_rs_works_within_the_process_and_carries_its_user() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let client = kube::Client::new(server.api.in_process(admin()), "default");
    let api: Api<ConfigMap> = Api::namespaced(client, "demo");
    let map: ConfigMap = serde_json::from_value(config_map("a", &json!({"k": "v"}))).unwrap();
    let made = api.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(made.data.unwrap()["k"], "v");
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let nobody = kube::Client::new(server.api.in_process(User::new("nobody", Vec::<String>::new())), "default");
    let refused = Api::<ConfigMap>::namespaced(nobody, "demo").get("a").await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_back() {
    let server =
        Server::with(orrery_store::EmbeddedOptions::default(), |config| config.limits.reads_in_flight = 0).await;
    let answer = server.get("/api/v1/pods").await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (429, "1"));
    // Watches are not counted, and health is always answered.
    let watch = server.open(&admin(), "GET", "/api/v1/pods?watch=1", &[], Vec::new()).await;
    assert_eq!(watch.status(), 200);
    server.get("/healthz").await.expect(200);
    let server =
        Server::with(orrery_store::EmbeddedOptions::default(), |config| config.limits.writes_in_flight = 0).await;
    server.post("/api/v1/namespaces", &json!({"metadata": {"name": "demo"}})).await.expect(429);
    server.get("/api/v1/namespaces").await.expect(200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_abandoned() {
    let soon = std::time::Duration::from_millis(50);
    let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| config.limits.request_timeout = soon);
    let endless =
        http_body_util::StreamBody::new(futures::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>());
    let request = Request::post("/api/v1/namespaces").body(endless).unwrap();
    let answer = tower::Service::call(&mut server.await.api.in_process(admin()), request).await.unwrap();
    assert_eq!(answer.status(), 504);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("took too long"), "{text:?}");
}

//! A control plane as a process, and raw ways to talk to it.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use orrery_harness::{Answer, Api, Form};
use orrery_identity::tls;
use orrery_sim::{ControlPlane, Options};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longer than anything takes, on a machine that is busy with much else.
pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) struct Server {
    pub(crate) control_plane: ControlPlane,
    pub(crate) api: Api,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let program = Some(env!("CARGO_BIN_EXE_orrery").into());
        let control_plane = ControlPlane::start(Options { program, ..Options::default() }).await.unwrap();
        let api = Api::new(control_plane.admin().client().await.unwrap());
        Self { control_plane, api }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.control_plane.endpoint().trim_start_matches("https://").parse().unwrap()
    }

    /// Resident memory of the process.
    pub(crate) fn resident_bytes(&self) -> usize {
        let pid = self.control_plane.process_id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    /// A connection of an administrator, with a receive buffer of so many bytes where it matters.
    pub(crate) async fn connect(&self, receive_bytes: Option<u32>) -> TlsStream<TcpStream> {
        let admin = self.control_plane.admin();
        let config = tls::client(&admin.server_ca_pem, Some(&admin.credentials), &["http/1.1"]).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(self.address()).await.unwrap();
        TlsConnector::from(config).connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap()
    }

    /// One request with headers of its own, on a connection of its own. None when the server cut it before it answered.
    pub(crate) async fn raw(&self, request: Request<Full<Bytes>>) -> Option<(u16, Value)> {
        let stream = self.connect(None).await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(connection);
        let response: Response<Incoming> = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        task.abort();
        Some((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    pub(crate) async fn send(&self, method: Method, path: &str, form: Form, body: Vec<u8>) -> Answer {
        self.api.send(method, path, form, body).await.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Somebody else is served.
    pub(crate) async fn serves(&self, after: &str) {
        let answer = tokio::time::timeout(LONG, self.api.get("/api/v1/namespaces/default")).await;
        let answer = answer.unwrap_or_else(|_| panic!("after {after} the server does not answer"));
        assert_eq!(answer.unwrap_or_else(|failure| panic!("after {after}: {failure}")).status, 200, "after {after}");
    }

    /// Serves custom resources `odds.example.com` that keep whatever they are given.
    pub(crate) async fn define_odds(&self) {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        self.define("odds", "Odd", &schema, ODDS).await;
    }

    /// Serves custom resources `mappeds.example.com`: maps of lists of numbers.
    pub(crate) async fn define_mapped(&self) {
        let list = json!({"type": "array", "items": {"type": "integer"}});
        let schema =
            json!({"type": "object", "properties": {"spec": {"type": "object", "additionalProperties": list}}});
        self.define("mappeds", "Mapped", &schema, MAPPED).await;
    }

    async fn define(&self, plural: &str, kind: &str, schema: &Value, served_at: &str) {
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.api.post(path, &definition).await.unwrap().expect(201).unwrap();
        let served = async {
            while self.api.get(served_at).await.is_ok_and(|answer| answer.status != 200) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, served).await.unwrap();
    }
}

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const MAPPED: &str = "/apis/example.com/v1/namespaces/default/mappeds";
pub(crate) const ODDS: &str = "/apis/example.com/v1/namespaces/default/odds";

/// A JSON value, `depth` objects deep.
pub(crate) fn nested(depth: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

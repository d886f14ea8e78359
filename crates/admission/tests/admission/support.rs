//! An API server and a webhook server for each test.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use orrery_admission::Settings;
use orrery_apiserver::{ApiServer, Config, User};
use orrery_identity::{Authority, Profile, Usage, tls};
use orrery_store::{Embedded, EmbeddedOptions, Op, RangeRequest, Store as _, Txn};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::Service as _;

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

pub(crate) struct Server {
    api: Arc<ApiServer>,
    store: Arc<Embedded>,
    pub(crate) directory: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let all = self.headers.get_all(header::WARNING).iter();
        all.map(|warning| warning.to_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

impl Server {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("store.db"), EmbeddedOptions::default()).await.unwrap();
        let store = Arc::new(store);
        let mut config = Config::new(orrery_kinds::resources(), Arc::clone(&store) as _);
        config.bootstrap = true;
        config.admission = orrery_admission::plugins(Settings { service_range: "10.96.0.0/16".parse().unwrap() });
        Self { api: ApiServer::new(config).await.unwrap(), store, directory }
    }

    /// Replaces a text by another of the same length in all stored objects whose keys hold `part`.
    pub(crate) async fn edit_stored(&self, part: &str, from: &str, to: &str) {
        assert_eq!(from.len(), to.len());
        let page = self.store.range(RangeRequest::default()).await.unwrap();
        for entry in page.entries.iter().filter(|entry| entry.key.contains(part)) {
            let mut value = entry.value.to_vec();
            for at in 0..=value.len().saturating_sub(from.len()) {
                if value[at..].starts_with(from.as_bytes()) {
                    value[at..at + to.len()].copy_from_slice(to.as_bytes());
                }
            }
            let put = Op::Put { key: entry.key.clone(), value: value.into(), ttl: None };
            self.store.txn(Txn { compare: Vec::new(), ops: vec![put] }).await.unwrap();
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call_as(User::new("admin", ["system:masters"]), method, path, body).await
    }

    pub(crate) async fn call_as(&self, user: User, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        let request = request.body(Full::new(Bytes::from(bytes))).unwrap();
        let response = self.api.in_process(user).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    /// Creates a webhook configuration or a policy.
    pub(crate) async fn register(&self, plural: &str, body: &Value) {
        self.post(&format!("{GROUP}/{plural}"), body).await.expect(201);
    }
}

/// Webhooks that do what the path of their URL says, and remember what they were asked.
pub(crate) struct Hooks {
    pub(crate) address: std::net::SocketAddr,
    ca_pem: String,
    asked: Arc<Mutex<Vec<Value>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hooks {
    pub(crate) async fn start(server: &Server) -> Self {
        let authority = Authority::load_or_create(server.directory.path(), "hooks").unwrap();
        let profile = Profile {
            common_name: "hooks".into(),
            organization: None,
            alternative_names: vec!["127.0.0.1".into(), "hooks.default.svc".into()],
            usage: Usage::Server,
            lifetime: Duration::from_secs(3600),
        };
        let ca_pem = authority.certificate_pem().to_owned();
        let credentials = authority.issue(&profile).unwrap();
        let tls = tls::server(&credentials, tls::Clients::Optional(&ca_pem), &["h2", "http/1.1"]).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(tls);
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&seen)));
                    let connection = auto::Builder::new(TokioExecutor::new());
                    // A client that goes away is no failure of the test.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, ca_pem, asked, task }
    }

    /// A configuration with one webhook, which does `what` when `ConfigMap`s are written; `changes` on top.
    pub(crate) fn configuration(&self, kind: &str, name: &str, what: &str, changes: &Value) -> Value {
        use base64::Engine as _;
        let bundle = base64::prelude::BASE64_STANDARD.encode(&self.ca_pem);
        let mut hook = json!({
            "name": format!("{name}.example.org"),
            "clientConfig": {"url": format!("https://{}/{what}", self.address), "caBundle": bundle},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            // As long as there may be: a busy machine is no failure.
            "timeoutSeconds": 30,
            "admissionReviewVersions": ["v1"],
        });
        for (field, value) in changes.as_object().unwrap() {
            if field == "clientConfig" {
                hook[field] = value.clone();
                hook[field]["caBundle"] = bundle.clone().into();
            } else {
                hook[field] = value.clone();
            }
        }
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
            "webhooks": [hook]})
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Mutex<Vec<Value>>>) -> Result<Response<Full<Bytes>>, Infallible> {
    use base64::Engine as _;
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(review["request"].clone());
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    let patch = |operations: Value| base64::prelude::BASE64_STANDARD.encode(operations.to_string());
    match &*path {
        "/deny" => {
            response["allowed"] = false.into();
            response["status"] = json!({"message": "not today", "code": 422, "reason": "Invalid"});
        }
        "/silent" => response["allowed"] = false.into(),
        "/warn" => response["warnings"] = json!(["beware"]),
        "/label" => {
            response["patchType"] = "JSONPatch".into();
            response["patch"] =
                patch(json!([{"op": "add", "path": "/metadata/labels", "value": {"by": "hook"}}])).into();
        }
        "/count" => {
            // As many times as it was asked about the object.
            let data = &review["request"]["object"]["data"];
            let count = data["count"].as_str().unwrap_or("0").parse::<u32>().unwrap() + 1;
            response["patchType"] = "JSONPatch".into();
            response["patch"] = patch(json!([{"op": "add", "path": "/data/count", "value": count.to_string()}])).into();
        }
        "/hang" => std::future::pending().await,
        "/other" => response["uid"] = "another".into(),
        "/broken" => return Ok(Response::builder().status(500).body(Full::new("oops".into())).unwrap()),
        _ => {}
    }
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::new(review.to_string().into())))
}

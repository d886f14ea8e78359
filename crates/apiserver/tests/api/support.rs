//! A server of its own for each test.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use orrery_apiserver::{ApiServer, Config, KubeletAccess, Limits, ResponseBody, TokenConfig, User};
use orrery_auth::token::{TokenKeys, TokenSettings};
use orrery_identity::{Authority, Credentials, Profile, SigningKeys, Usage, tls};
use orrery_store::{Embedded, EmbeddedOptions};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::Service;

pub(crate) struct Server {
    pub(crate) api: Arc<ApiServer>,
    pub(crate) store: Arc<Embedded>,
    pub(crate) directory: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or("")
    }
}

pub(crate) fn admin() -> User {
    User::new("admin", ["system:masters"])
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "registry.local/app:1"}]}})
}

pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(EmbeddedOptions::default(), |_| {}).await
    }

    pub(crate) async fn with(options: EmbeddedOptions, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&directory.path().join("store.db"), options).await.unwrap());
        let mut config = Config::new(orrery_kinds::resources(), Arc::clone(&store) as _);
        config.bootstrap = true;
        config.tokens = Some(token_config(directory.path()));
        change(&mut config);
        let api = ApiServer::new(config).await.unwrap();
        Self { api, store, directory }
    }

    /// One request within the process.
    pub(crate) async fn call(&self, user: &User, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        self.send(user, method, path, &[(header::CONTENT_TYPE.as_str(), kind)], bytes).await
    }

    pub(crate) async fn send(
        &self,
        user: &User,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let response = self.open(user, method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// One request whose answer may go on.
    pub(crate) async fn open(
        &self,
        user: &User,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<ResponseBody> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.api.in_process(user.clone()).call(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(&admin(), "GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(&admin(), "POST", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(&admin(), "PUT", path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(&admin(), "PATCH", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(&admin(), "DELETE", path, None).await
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.post("/api/v1/namespaces", &body).await.expect(201);
    }

    /// A pod that runs on a node, as scheduler and kubelet would make it.
    pub(crate) async fn bound_pod(&self, namespace: &str, pod: &Value, node: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.post(&path, pod).await.expect(201);
        let name = pod["metadata"]["name"].as_str().unwrap();
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": node}});
        self.post(&format!("{path}/{name}/binding"), &binding).await.expect(201);
    }

    /// Serves HTTPS on a free port of the loopback address.
    pub(crate) async fn listen(&self) -> Listening {
        let authorities = Authorities::new(&self.directory.path().join("pki"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = tls::Clients::Optional(authorities.clients.certificate_pem());
        let config = tls::server(&authorities.server(), clients, &["h2", "http/1.1"]).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&self.api).serve(listener, config, shutdown.clone()));
        Listening { address, authorities, task, shutdown: shutdown.clone(), _guard: shutdown.drop_guard() }
    }
}

pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) authorities: Authorities,
    pub(crate) task: tokio::task::JoinHandle<Result<(), orrery_apiserver::ServeError>>,
    pub(crate) shutdown: CancellationToken,
    _guard: DropGuard,
}

pub(crate) struct Authorities {
    pub(crate) serving: Authority,
    pub(crate) clients: Authority,
}

impl Authorities {
    pub(crate) fn new(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        Self {
            serving: Authority::load_or_create(directory, "serving").unwrap(),
            clients: Authority::load_or_create(directory, "clients").unwrap(),
        }
    }

    pub(crate) fn server(&self) -> Credentials {
        let profile = Profile {
            common_name: "server".into(),
            organization: None,
            alternative_names: vec!["127.0.0.1".into()],
            usage: Usage::Server,
            lifetime: Duration::from_secs(3600),
        };
        self.serving.issue(&profile).unwrap()
    }

    pub(crate) fn client(&self, name: &str, group: Option<&str>) -> Credentials {
        let profile = Profile {
            common_name: name.into(),
            organization: group.map(str::to_owned),
            alternative_names: Vec::new(),
            usage: Usage::Client,
            lifetime: Duration::from_secs(3600),
        };
        self.clients.issue(&profile).unwrap()
    }

    pub(crate) fn kubelet_access(&self) -> KubeletAccess {
        KubeletAccess {
            credentials: self.client("kube-apiserver-kubelet-client", None),
            server_ca_pem: self.serving.certificate_pem().to_owned(),
        }
    }
}

/// Tokens by keys that are kept in a server's directory.
pub(crate) fn token_config(directory: &Path) -> TokenConfig {
    let keys = SigningKeys::load_or_create(directory, "service-account").unwrap();
    TokenConfig {
        keys: TokenKeys::new(&keys.signing_pem, &keys.former_pem).unwrap(),
        settings: TokenSettings::new("https://127.0.0.1:6443"),
    }
}

/// Limits for tests that wait for what is rare.
pub(crate) fn quick(limits: &mut Limits) {
    limits.bookmark_interval = Duration::from_millis(50);
}

/// The lines of a watch, read one at a time.
pub(crate) struct Events {
    body: ResponseBody,
    rest: Vec<u8>,
}

impl Events {
    pub(crate) async fn open(server: &Server, path: &str) -> Self {
        Self::open_as(server, path, "application/json").await
    }

    pub(crate) async fn open_as(server: &Server, path: &str, accept: &str) -> Self {
        let response = server.open(&admin(), "GET", path, &[("accept", accept)], Vec::new()).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    pub(crate) async fn short(&mut self) -> String {
        let event = self.next().await.expect("the watch ended");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

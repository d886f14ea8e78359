//! Whole requests, to an API server within the process.
//!
//! Nothing of a request outlives it, so that every input means the same whenever it is tried: the objects that the requests
//! may make are removed afterwards.

use crate::input::Source;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use orrery_apiserver::{ApiServer, Config, InProcess, User};
use orrery_store::{Embedded, EmbeddedOptions, Store};
use serde_json::Value;
use std::{
    path::Path,
    sync::{Arc, LazyLock},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::Service;

const METHODS: [&str; 6] = ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"];
const TYPES: [&str; 8] = [
    "application/json",
    "application/yaml",
    "application/apply-patch+yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/vnd.kubernetes.protobuf",
    "",
];
const ACCEPTS: [&str; 4] = [
    "application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "*/*",
];
/// What requests are for. The object `a` is there before each.
const PATHS: [&str; 8] = [
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/configmaps/a",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/a",
    "/apis/apps/v1/namespaces/default/deployments/a/status",
    "/apis/apps/v1/namespaces/default/deployments/a/scale",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
];
const COLLECTIONS: [&str; 2] =
    ["/api/v1/namespaces/default/configmaps", "/apis/apps/v1/namespaces/default/deployments"];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // Other tasks of the server run while a request is waited for.
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
});

/// Waits for `future` on the runtime that the targets share.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// A directory, in memory where there is such a place.
pub(crate) fn memory_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("orrery-fuzzing-");
    let made = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    made.expect("a temporary directory can be made")
}

/// An empty store in `directory`, which may be removed at once: the store keeps its files open.
pub(crate) fn new_store(directory: &TempDir) -> Arc<dyn Store> {
    let path = directory.path().join("store.db");
    let store = block_on(Embedded::open(&path, EmbeddedOptions::default()));
    Arc::new(store.expect("a store can be made"))
}

static SERVER: LazyLock<Arc<ApiServer>> = LazyLock::new(|| {
    let mut config = Config::new(orrery_kinds::resources(), new_store(&memory_directory()));
    config.bootstrap = true;
    block_on(ApiServer::new(config)).expect("an API server can be made")
});

fn client() -> InProcess {
    SERVER.in_process(User::new("admin", ["system:masters"]))
}

struct Answer {
    status: u16,
    body: Bytes,
}

fn send(method: &str, uri: &str, content_type: &str, accept: &str, body: &[u8]) -> Option<Answer> {
    let request = Request::builder().method(method).uri(uri).header(header::ACCEPT, accept);
    let request = if content_type.is_empty() { request } else { request.header(header::CONTENT_TYPE, content_type) };
    // What is no URI never reaches a server.
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).ok()?;
    let mut client = client();
    block_on(async {
        let response = client.call(request).await.unwrap_or_else(|never| match never {});
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("the answer comes whole").to_bytes();
        Some(Answer { status, body })
    })
}

fn prepare() {
    let seeds: [(&str, &str); 2] = [
        (COLLECTIONS[0], r#"{"metadata":{"name":"a","labels":{"app":"a"}},"data":{"k":"v"}}"#),
        (
            COLLECTIONS[1],
            r#"{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":
            {"app":"a"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
        ),
    ];
    for (path, object) in seeds {
        let made = send("POST", path, TYPES[0], ACCEPTS[0], object.as_bytes()).expect("it is a request");
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    }
}

/// Removes what was made; finalizers first, which would keep it.
fn clean() {
    for path in COLLECTIONS {
        send("DELETE", path, "", ACCEPTS[0], b"");
        let left = send("GET", path, "", ACCEPTS[0], b"").expect("it is a request");
        let list: Value = serde_json::from_slice(&left.body).expect("a list is JSON");
        for item in list["items"].as_array().into_iter().flatten() {
            let uri = format!("{path}/{}", item["metadata"]["name"].as_str().unwrap_or_default());
            send("PATCH", &uri, TYPES[3], ACCEPTS[0], br#"{"metadata":{"finalizers":null}}"#);
        }
    }
}

fn check(answer: &Answer, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(answer.status != 500, "{what}: {text}");
    if answer.status >= 400 && !answer.body.is_empty() {
        let status: Value = serde_json::from_slice(&answer.body).expect("a refusal is JSON");
        assert_eq!(status["kind"], "Status", "{text}");
        assert_eq!(status["code"], answer.status);
    }
}

/// Letters for method, path, content type and accept, then a line with the query; the rest is the body.
pub(crate) fn whole(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (method, path) = (source.choose(&METHODS), source.choose(&PATHS));
    let (content_type, accept) = (source.choose(&TYPES), source.choose(&ACCEPTS));
    let query = source.text();
    // A definition that is stored would be served from then on.
    let dry = if path.ends_with("definitions") { "dryRun=All&" } else { "" };
    // Watches are the other target's: they do not end by themselves.
    if query.contains("watch") {
        return;
    }
    prepare();
    let uri = format!("{path}?{dry}{query}");
    if let Some(answer) = send(method, &uri, content_type, accept, source.rest()) {
        check(&answer, &format!("{method} {uri}"));
    }
    // Whatever was written can be read, by everybody.
    for path in COLLECTIONS {
        for accept in &ACCEPTS[..3] {
            let listed = send("GET", path, "", accept, b"").expect("it is a request");
            assert_eq!(listed.status, 200, "{}", String::from_utf8_lossy(&listed.body));
            serde_json::from_slice::<Value>(&listed.body).expect("a list is JSON");
        }
    }
    clean();
}

/// A letter for the path, one for accept, then a line with the query.
pub(crate) fn list(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (path, accept) = (source.choose(&PATHS[..4]), source.choose(&ACCEPTS));
    let query = source.text();
    prepare();
    if !query.contains("watch") {
        let uri = format!("{path}?{query}");
        if let Some(answer) = send("GET", &uri, "", accept, b"") {
            check(&answer, &uri);
        }
    }
    watch(path, accept, &query);
    clean();
}

/// A watch is begun and given up.
fn watch(path: &str, accept: &str, query: &str) {
    let uri = format!("{path}?watch=1&{query}");
    let Ok(request) = Request::get(uri).header(header::ACCEPT, accept).body(Full::new(Bytes::new())) else { return };
    let mut client = client();
    block_on(async {
        let response = client.call(request).await.unwrap_or_else(|never| match never {});
        assert_ne!(response.status().as_u16(), 500);
    });
}

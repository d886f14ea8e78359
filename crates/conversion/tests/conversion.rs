//! An API server that serves a custom resource in two versions, between which a program in this process converts.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use orrery_apiserver::{ApiServer, Config, Converter, Reader, User};
use orrery_machinery::status::ApiError;
use orrery_store::{Embedded, EmbeddedOptions};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tower::Service as _;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn path(version: &str) -> String {
    format!("/apis/test.io/{version}/namespaces/default/points")
}

/// Version 1 has `both`, such as `a:b`; version 2 has `left` and `right`.
#[derive(Default)]
struct Program {
    asked: AtomicUsize,
    fails: AtomicBool,
}

#[async_trait::async_trait]
impl Converter for Program {
    async fn convert(&self, _: &Reader, _: &Value, objects: Vec<Value>, to: &str) -> Result<Vec<Value>, ApiError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(ApiError::internal("conversion webhook for test.io/v1, Kind=Point failed: out of order"));
        }
        let one = |mut object: Value| {
            assert_ne!(object["apiVersion"], to, "what is in the version already is not asked about");
            let spec = object["spec"].as_object_mut().unwrap();
            let text =
                |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
            if to.ends_with("/v2") {
                let both = text(spec.remove("both"));
                let (left, right) = both.split_once(':').unwrap();
                spec.insert("left".into(), left.into());
                spec.insert("right".into(), right.into());
            } else {
                let both = format!("{}:{}", text(spec.remove("left")), text(spec.remove("right")));
                spec.insert("both".into(), both.into());
            }
            object["apiVersion"] = to.into();
            object
        };
        Ok(objects.into_iter().map(one).collect())
    }
}

struct Server {
    api: Arc<ApiServer>,
    program: Arc<Program>,
    _directory: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("store.db"), EmbeddedOptions::default()).await.unwrap();
        let mut config = Config::new(orrery_kinds::resources(), Arc::new(store));
        config.bootstrap = true;
        let program = Arc::new(Program::default());
        config.converter = Some(Arc::clone(&program) as _);
        let server = Self { api: ApiServer::new(config).await.unwrap(), program, _directory: directory };
        let version = |name: &str, storage: bool, fields: &[&str]| {
            let fields: serde_json::Map<String, Value> =
                fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
            let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}});
            json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
        };
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "points.test.io"},
            "spec": {
                "group": "test.io", "scope": "Namespaced", "names": {"plural": "points", "kind": "Point"},
                "versions": [version("v1", true, &["both"]), version("v2", false, &["left", "right"])],
                "conversion": {"strategy": "Webhook", "webhook": {
                    "clientConfig": {"url": "https://127.0.0.1/"}, "conversionReviewVersions": ["v1"]}},
            },
        });
        server.call("POST", DEFINITIONS, Some(&definition)).await.unwrap();
        server.until(&path("v2"), |_| true).await;
        server
    }

    /// The answer's body; the error is its message.
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let kind = match method {
            "APPLY" => "application/apply-patch+yaml",
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let method = if method == "APPLY" { "PATCH" } else { method };
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        let request = request.body(Full::new(Bytes::from(bytes))).unwrap();
        let user = User::new("admin", ["system:masters"]);
        let response = self.api.in_process(user).call(request).await.unwrap();
        let is_fine = response.status().is_success();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if is_fine { Ok(body) } else { Err(body["message"].as_str().unwrap_or_default().to_owned()) }
    }

    async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..500 {
            if let Ok(found) = self.call("GET", path, None).await
                && holds(&found)
            {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} never became as it should");
    }
}

fn point(version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("test.io/{version}"), "kind": "Point", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn objects_are_had_in_each_version_and_a_list_is_one_question() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        let made = point("v1", name, &json!({"both": "1:2"}));
        server.call("POST", &path("v1"), Some(&made)).await.unwrap();
    }
    let made = point("v2", "c", &json!({"left": "3", "right": "4"}));
    server.call("POST", &path("v2"), Some(&made)).await.unwrap();
    let before = server.program.asked.load(Ordering::Relaxed);
    let listed = server.call("GET", &path("v2"), None).await.unwrap();
    let specs: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["spec"]).collect();
    let one = json!({"left": "1", "right": "2"});
    assert_eq!(specs, [&one, &one, &json!({"left": "3", "right": "4"})]);
    assert_eq!(server.program.asked.load(Ordering::Relaxed), before + 1);
    let stored = server.call("GET", &format!("{}/c", path("v1")), None).await.unwrap();
    assert_eq!(stored["spec"], json!({"both": "3:4"}));
    assert_eq!(server.program.asked.load(Ordering::Relaxed), before + 1, "it lies there in that version");
}

#[tokio::test]
async fn an_apply_meets_the_owners_of_another_version() {
    let server = Server::start().await;
    let one = point("v1", "a", &json!({"both": "1:2"}));
    server.call("APPLY", &format!("{}/a?fieldManager=one", path("v1")), Some(&one)).await.unwrap();
    let two = point("v2", "a", &json!({"left": "9"}));
    let at = format!("{}/a?fieldManager=two", path("v2"));
    let refused = server.call("APPLY", &at, Some(&two)).await.unwrap_err();
    // The fields are those of the version in which the owner applied.
    assert!(refused.contains("conflict with \"one\": .spec.both"), "{refused}");
    let taken = server.call("APPLY", &format!("{at}&force=true"), Some(&two)).await.unwrap();
    assert_eq!(taken["spec"], json!({"left": "9", "right": "2"}));
}

#[tokio::test]
async fn an_update_that_changes_nothing_brings_an_object_into_the_new_stored_version() {
    let server = Server::start().await;
    let made = server.call("POST", &path("v1"), Some(&point("v1", "a", &json!({"both": "1:2"})))).await.unwrap();
    let definition = format!("{DEFINITIONS}/points.test.io");
    let mut changed = server.call("GET", &definition, None).await.unwrap();
    for (index, storage) in [false, true].into_iter().enumerate() {
        changed["spec"]["versions"][index]["storage"] = storage.into();
    }
    server.call("PUT", &definition, Some(&changed)).await.unwrap();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let at = format!("{}/a", path("v2"));
    let first = loop {
        let same = server.call("PATCH", &at, Some(&json!({}))).await.unwrap();
        // Until the definition is followed, nothing differs and nothing is written.
        if version(&same) != version(&made) {
            break same;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let again = server.call("PATCH", &at, Some(&json!({}))).await.unwrap();
    assert_eq!(version(&again), version(&first), "it is written once");
    let asked = server.program.asked.load(Ordering::Relaxed);
    server.call("GET", &at, None).await.unwrap();
    assert_eq!(server.program.asked.load(Ordering::Relaxed), asked, "it lies there in that version now");
}

#[tokio::test]
async fn a_program_that_fails_fails_the_request_and_no_other() {
    let server = Server::start().await;
    server.call("POST", &path("v1"), Some(&point("v1", "a", &json!({"both": "1:2"})))).await.unwrap();
    server.program.fails.store(true, Ordering::Relaxed);
    let at = format!("{}/a", path("v2"));
    for (method, path, body) in [
        ("GET", at.as_str(), None),
        ("GET", &path("v2"), None),
        ("PATCH", &at, Some(json!({"spec": {"left": "5"}}))),
        ("POST", &path("v2"), Some(point("v2", "b", &json!({"left": "1", "right": "2"})))),
    ] {
        let failed = server.call(method, path, body.as_ref()).await.unwrap_err();
        assert!(failed.contains("conversion webhook for test.io/v1, Kind=Point failed"), "{method} {path}: {failed}");
    }
    assert!(server.call("GET", &format!("{}/a", path("v1")), None).await.is_ok());
    server.program.fails.store(false, Ordering::Relaxed);
    assert!(server.call("GET", &at, None).await.is_ok());
}

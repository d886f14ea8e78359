//! The kinds of patches.

use crate::support::{Answer, Server, admin, pod};
use serde_json::{Value, json};

const POD: &str = "/api/v1/namespaces/demo/pods/a";

async fn patch(server: &Server, kind: &str, patch: &Value) -> Answer {
    let kind = format!("application/{kind}");
    server.send(&admin(), "PATCH", POD, &[("content-type", &kind)], serde_json::to_vec(patch).unwrap()).await
}

async fn start() -> Server {
    let server = Server::start().await;
    server.namespace("demo").await;
    server.post("/api/v1/namespaces/demo/pods", &pod("a")).await.expect(201);
    server
}

#[tokio::test]
async fn json_merge_and_strategic_patches_do_what_they_say() {
    let server = start().await;
    let add = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "1"}}]);
    assert_eq!(patch(&server, "json-patch+json", &add).await.expect(200)["metadata"]["labels"], json!({"a": "1"}));
    let merge = json!({"metadata": {"labels": {"b": "2", "a": null}}});
    assert_eq!(patch(&server, "merge-patch+json", &merge).await.expect(200)["metadata"]["labels"], json!({"b": "2"}));
    let strategic = json!({"spec": {"containers": [{"name": "main", "image": "registry.local/app:2"}]}});
    let patched = patch(&server, "strategic-merge-patch+json", &strategic).await.expect(200);
    assert_eq!(patched["spec"]["containers"][0]["image"], "registry.local/app:2");
    assert_eq!(patched["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(patched["metadata"]["generation"], 2);
}

#[tokio::test]
async fn patches_that_do_not_fit_are_refused() {
    let server = start().await;
    let test = json!([{"op": "test", "path": "/metadata/name", "value": "b"}]);
    assert_eq!(patch(&server, "json-patch+json", &test).await.status, 422);
    assert_eq!(patch(&server, "merge-patch+json", &json!({"metadata": {"resourceVersion": "1"}})).await.status, 409);
    assert_eq!(patch(&server, "merge-patch+json", &json!({"metadata": {"name": "b"}})).await.status, 400);
    assert_eq!(patch(&server, "merge-patch+json", &json!([])).await.status, 400);
    let other = patch(&server, "patch-of-another-kind", &pod("a")).await;
    assert_eq!(other.status, 415);
    assert!(other.message().contains("application/strategic-merge-patch+json"), "{}", other.message());
}

#[tokio::test]
async fn what_only_the_server_sets_is_not_patched() {
    let server = start().await;
    let before = server.get(POD).await.expect(200);
    let change = json!({"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9,
        "deletionTimestamp": "2001-01-01T00:00:00Z"}});
    assert_eq!(patch(&server, "merge-patch+json", &change).await.expect(200), before);
}

#[tokio::test]
async fn concurrent_patches_are_all_carried_out() {
    let server = start().await;
    let patches = (0..12).map(|index| {
        let server = &server;
        async move {
            patch(server, "merge-patch+json", &json!({"metadata": {"labels": {format!("l{index}"): "x"}}}))
                .await
                .expect(200)
        }
    });
    futures::future::join_all(patches).await;
    assert_eq!(server.get(POD).await.expect(200)["metadata"]["labels"].as_object().unwrap().len(), 12);
}

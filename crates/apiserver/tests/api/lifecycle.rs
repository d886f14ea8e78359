//! How objects end: grace periods, finalizers, namespaces; and how pods get their nodes.

use crate::support::{Server, admin, config_map, pod};
use serde_json::json;

const PODS: &str = "/api/v1/namespaces/demo/pods";

#[tokio::test]
async fn a_bound_pod_stays_until_its_kubelet_has_ended_it() {
    let server = Server::start().await;
    server.namespace("demo").await;
    server.bound_pod("demo", &pod("a"), "n1").await;
    let path = format!("{PODS}/a");
    let ending = server.delete(&path).await.expect(200);
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(server.delete(&path).await.expect(200)["metadata"], ending["metadata"]);
    let sooner = server.delete(&format!("{path}?gracePeriodSeconds=5")).await.expect(200);
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    assert!(sooner["metadata"]["deletionTimestamp"].as_str() < ending["metadata"]["deletionTimestamp"].as_str());
    let longer = server.delete(&format!("{path}?gracePeriodSeconds=50")).await.expect(200);
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 5);
    server.delete(&format!("{path}?gracePeriodSeconds=0")).await.expect(200);
    server.get(&path).await.expect(404);
}

#[tokio::test]
async fn an_unbound_pod_is_gone_at_once() {
    let server = Server::start().await;
    server.namespace("demo").await;
    server.post(PODS, &pod("a")).await.expect(201);
    assert_eq!(server.delete(&format!("{PODS}/a")).await.expect(200)["kind"], "Pod");
    server.get(&format!("{PODS}/a")).await.expect(404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_one_is_removed() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let mut map = config_map("a", &json!({}));
    map["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/too"]);
    server.post("/api/v1/namespaces/demo/configmaps", &map).await.expect(201);
    let path = "/api/v1/namespaces/demo/configmaps/a";
    let ending = server.delete(path).await.expect(200);
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    server.patch(path, &json!({"metadata": {"finalizers": ["example.com/too"]}})).await.expect(200);
    server.patch(path, &json!({"metadata": {"finalizers": ["example.com/too", "example.com/new"]}})).await.expect(422);
    server.patch(path, &json!({"metadata": {"finalizers": null}})).await.expect(200);
    server.get(path).await.expect(404);
}

#[tokio::test]
async fn the_propagation_policy_leaves_its_finalizer_for_the_garbage_collector() {
    let server = Server::start().await;
    server.namespace("demo").await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        server.post("/api/v1/namespaces/demo/configmaps", &config_map("a", &json!({}))).await.expect(201);
        let path = "/api/v1/namespaces/demo/configmaps/a";
        let ending = server.delete(&format!("{path}?propagationPolicy={policy}")).await.expect(200);
        assert_eq!(ending["metadata"]["finalizers"], json!([finalizer]));
        assert!(ending["metadata"]["deletionTimestamp"].is_string());
        let same = server.delete(path).await.expect(200);
        assert_eq!(same["metadata"]["finalizers"], json!([finalizer]), "who does not say leaves it as it is");
        server.delete(&format!("{path}?propagationPolicy=Background")).await.expect(200);
        server.get(path).await.expect(404);
    }
    server.delete("/api/v1/namespaces/demo/configmaps/a?propagationPolicy=Upwards").await.expect(422);
    let both = "/api/v1/namespaces/demo/configmaps/a?propagationPolicy=Orphan&orphanDependents=true";
    server.delete(both).await.expect(422);
}

#[tokio::test]
async fn a_namespace_ends_when_it_is_finalized_and_takes_nothing_new_meanwhile() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let made = server.get("/api/v1/namespaces/demo").await.expect(200);
    assert_eq!((&made["status"]["phase"], &made["spec"]["finalizers"]), (&json!("Active"), &json!(["kubernetes"])));
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "demo");
    let emptied = server.patch("/api/v1/namespaces/demo", &json!({"spec": {"finalizers": []}})).await.expect(200);
    assert_eq!(emptied["spec"]["finalizers"], json!(["kubernetes"]));
    let ending = server.delete("/api/v1/namespaces/demo").await.expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = server.post("/api/v1/namespaces/demo/configmaps", &config_map("a", &json!({}))).await;
    assert_eq!(
        (refused.status, &refused.body["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    let mut last = ending.clone();
    last["spec"]["finalizers"] = json!([]);
    server.put("/api/v1/namespaces/demo/finalize", &last).await.expect(200);
    server.get("/api/v1/namespaces/demo").await.expect(404);
    server.delete("/api/v1/namespaces/default").await.expect(403);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let server = Server::start().await;
    server.namespace("demo").await;
    server.bound_pod("demo", &pod("a"), "n1").await;
    let bound = server.get(&format!("{PODS}/a")).await.expect(200);
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let conditions = bound["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "PodScheduled" && c["status"] == "True"), "{bound:#}");
    let again = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n2"}});
    let answer = server.post(&format!("{PODS}/a/binding"), &again).await;
    assert_eq!(answer.status, 409);
    assert!(answer.message().contains("already assigned to node"), "{}", answer.message());
    server.post(&format!("{PODS}/b/binding"), &again).await.expect(400);
    let nowhere = json!({"metadata": {"name": "a"}, "target": {"kind": "Node"}});
    server.post(&format!("{PODS}/a/binding"), &nowhere).await.expect(422);
}

#[tokio::test]
async fn objects_survive_a_new_server_over_the_same_store() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let mut config =
        orrery_apiserver::Config::new(orrery_kinds::resources(), std::sync::Arc::clone(&server.store) as _);
    config.bootstrap = true;
    let api = orrery_apiserver::ApiServer::new(config).await.unwrap();
    let second = Server { api, ..server };
    second.get("/api/v1/namespaces/demo").await.expect(200);
    second.call(&admin(), "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view", None).await.expect(200);
}

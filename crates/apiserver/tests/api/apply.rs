//! Server-side apply over HTTP: creation, ownership, conflicts, force, removal, status.

use crate::support::{Answer, Server, admin, config_map};
use serde_json::{Value, json};

const MAP: &str = "/api/v1/namespaces/demo/configmaps/a";

async fn apply_to(server: &Server, path: &str, config: &Value) -> Answer {
    // YAML is what it is called; JSON is YAML too.
    let headers = [("content-type", "application/apply-patch+yaml")];
    server.send(&admin(), "PATCH", path, &headers, serde_json::to_vec(config).unwrap()).await
}

async fn apply(server: &Server, query: &str, data: &Value) -> Answer {
    apply_to(server, &format!("{MAP}?{query}"), &config_map("a", data)).await
}

async fn server() -> Server {
    let server = Server::start().await;
    server.namespace("demo").await;
    server
}

fn managers(object: &Value) -> Vec<(String, String)> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    entries.map(|entry| (text(&entry["manager"]), text(&entry["operation"]))).collect()
}

#[tokio::test]
async fn a_program_within_the_process_owns_fields_under_its_name() {
    let server = server().await;
    let scheduler = orrery_apiserver::User::new("system:kube-scheduler", ["system:masters"]);
    let path = "/api/v1/namespaces/demo/configmaps";
    let made = server.call(&scheduler, "POST", path, Some(&config_map("a", &json!({})))).await.expect(201);
    assert_eq!(managers(&made), [("kube-scheduler".into(), "Update".into())]);
    let headers = [("content-type", "application/json"), ("user-agent", "curl/8")];
    let body = serde_json::to_vec(&config_map("b", &json!({}))).unwrap();
    let made = server.send(&scheduler, "POST", path, &headers, body).await.expect(201);
    assert_eq!(managers(&made), [("curl".into(), "Update".into())]);
}

#[tokio::test]
async fn applying_creates_and_says_who_owns_what() {
    let server = server().await;
    let made = apply(&server, "fieldManager=one", &json!({"k": "v"})).await.expect(201);
    assert_eq!(managers(&made), [("one".into(), "Apply".into())]);
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:k"], json!({}));
    let again = apply(&server, "fieldManager=one", &json!({"k": "v"})).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"], "nothing changed");
}

#[tokio::test]
async fn another_owners_field_is_a_conflict_unless_it_is_taken_by_force() {
    let server = server().await;
    apply(&server, "fieldManager=one", &json!({"k": "v", "mine": "1"})).await.expect(201);
    let refused = apply(&server, "fieldManager=two", &json!({"k": "w"})).await;
    assert_eq!(refused.message(), "Apply failed with 1 conflict: conflict with \"one\": .data.k");
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "FieldManagerConflict");
    refused.expect(409);
    let taken = apply(&server, "fieldManager=two&force=true", &json!({"k": "w"})).await.expect(200);
    assert_eq!(taken["data"], json!({"k": "w", "mine": "1"}));
    let less = apply(&server, "fieldManager=one", &json!({})).await.expect(200);
    assert_eq!(less["data"], json!({"k": "w"}), "what one owned alone is gone");
}

#[tokio::test]
async fn other_writes_are_tracked_by_the_user_agents_name() {
    let server = server().await;
    let headers = [("content-type", "application/json"), ("user-agent", "kubectl/v1.36.0 (linux/amd64)")];
    let body = serde_json::to_vec(&config_map("a", &json!({"k": "v"}))).unwrap();
    let made = server.send(&admin(), "POST", "/api/v1/namespaces/demo/configmaps", &headers, body).await.expect(201);
    assert_eq!(managers(&made), [("kubectl".into(), "Update".into())]);
    let refused = apply(&server, "fieldManager=two", &json!({"k": "w"})).await;
    assert!(refused.message().contains("conflict with \"kubectl\" using v1: .data.k"), "{}", refused.message());
}

#[tokio::test]
async fn what_apply_needs_is_demanded() {
    let server = server().await;
    let unnamed = apply(&server, "", &json!({})).await;
    assert!(
        unnamed.message().contains("fieldManager: Required value: is required for apply patch"),
        "{}",
        unnamed.message()
    );
    unnamed.expect(422);
    let mut owned = config_map("a", &json!({}));
    owned["metadata"]["managedFields"] = json!([]);
    apply_to(&server, &format!("{MAP}?fieldManager=one"), &owned).await.expect(400);
    let forced = server.patch(&format!("{MAP}?force=true"), &json!({})).await;
    assert!(forced.message().contains("may not be specified for non-apply patch"), "{}", forced.message());
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: v\n  k: w\n".to_vec();
    let headers = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{MAP}?fieldManager=one&fieldValidation=Strict");
    let twice = server.send(&admin(), "PATCH", &path, &headers, yaml).await;
    assert!(twice.message().contains("line 6: key \"k\" already set in map"), "{}", twice.message());
    twice.expect(400);
}

#[tokio::test]
async fn two_who_apply_at_once_both_get_their_fields() {
    let server = server().await;
    let appliers = (0..8).map(|n| {
        let server = &server;
        let data = json!({format!("k{n}"): "v"});
        async move {
            let answer = apply(server, &format!("fieldManager=m{n}"), &data).await;
            assert!(matches!(answer.status, 200 | 201), "{:?}", answer.body);
        }
    });
    futures::future::join_all(appliers).await;
    let map = server.get(MAP).await.expect(200);
    assert_eq!(map["data"].as_object().unwrap().len(), 8);
    assert_eq!(managers(&map).len(), 8);
}

#[tokio::test]
async fn a_status_is_applied_apart() {
    let server = server().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    server.post("/api/v1/nodes", &node).await.expect(201);
    let mut config = node.clone();
    config["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let path = "/api/v1/nodes/n/status?fieldManager=kubelet";
    let applied = apply_to(&server, path, &config).await.expect(200);
    assert_eq!(applied["status"]["conditions"][0]["type"], "Ready");
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["subresource"] == "status" && entry["operation"] == "Apply"));
    apply_to(&server, "/api/v1/nodes/other/status?fieldManager=kubelet", &config).await.expect(404);
}

#[tokio::test]
async fn whoever_scales_owns_the_replicas() {
    let server = server().await;
    let path = "/apis/apps/v1/namespaces/demo/deployments/a";
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    apply_to(&server, &format!("{path}?fieldManager=one"), &deployment).await.expect(201);
    let scale = |replicas: u32| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a", "namespace": "demo"},
            "spec": {"replicas": replicas}})
    };
    let refused = apply_to(&server, &format!("{path}/scale?fieldManager=two"), &scale(3)).await;
    assert!(refused.message().contains("conflict with \"one\""), "{}", refused.message());
    refused.expect(409);
    apply_to(&server, &format!("{path}/scale?fieldManager=two&force=true"), &scale(3)).await.expect(200);
    let owner = async || {
        let object = server.get(path).await.expect(200);
        let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        let owns = |entry: &&Value| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object();
        let owners: Vec<&Value> = entries.iter().filter(owns).collect();
        assert_eq!(owners.len(), 1, "{entries:?}");
        let shown =
            ["manager", "operation", "subresource", "apiVersion"].map(|field| owners[0][field].as_str().unwrap());
        format!("{} {}", shown.join(" "), object["spec"]["replicas"])
    };
    assert_eq!(owner().await, "two Apply scale apps/v1 3");
    let patch = json!({"spec": {"replicas": 4}});
    server.patch(&format!("{path}/scale?fieldManager=three"), &patch).await.expect(200);
    assert_eq!(owner().await, "three Update scale apps/v1 4");
    let again = apply_to(&server, &format!("{path}?fieldManager=one"), &deployment).await;
    assert!(again.message().contains("conflict with \"three\" with subresource \"scale\""), "{}", again.message());
}

#[tokio::test]
async fn owners_that_a_client_makes_up_are_looked_at() {
    let server = server().await;
    let mut map = apply(&server, "fieldManager=one", &json!({"k": "v"})).await.expect(201);
    map["metadata"]["managedFields"][0]["manager"] = "x".repeat(200).into();
    let refused = server.put(MAP, &map).await;
    assert!(refused.message().contains("metadata.managedFields[0].manager: Too long"), "{}", refused.message());
    refused.expect(422);
    map["metadata"]["managedFields"][0]["manager"] = "two".into();
    let changed = server.put(MAP, &map).await.expect(200);
    assert_eq!(managers(&changed), [("two".into(), "Apply".into())]);
}

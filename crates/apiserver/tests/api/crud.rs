//! Objects: create, read, change, delete, and how each is refused.

use crate::support::{Server, admin, config_map, pod};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/demo/configmaps";

#[tokio::test]
async fn a_created_object_gets_its_metadata_and_is_read_back_the_same() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let made = server.post(MAPS, &config_map("a", &json!({"k": "v"}))).await.expect(201);
    let metadata = &made["metadata"];
    assert_eq!(metadata["namespace"], "demo");
    assert!(metadata["uid"].as_str().unwrap().len() == 36 && metadata["creationTimestamp"].is_string(), "{made:#}");
    assert!(metadata["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.expect(200), made);
    let again = server.post(MAPS, &config_map("a", &json!({}))).await;
    assert_eq!((again.status, again.message()), (409, "configmaps \"a\" already exists"));
}

#[tokio::test]
async fn a_generated_name_keeps_its_base() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}});
    let made = server.post(MAPS, &body).await.expect(201);
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn what_does_not_fit_its_place_is_refused() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}});
    let table: Vec<(&str, &str, Value, u16)> = vec![
        ("POST", MAPS, elsewhere, 400),
        ("POST", MAPS, json!({"kind": "Secret", "metadata": {"name": "a"}}), 400),
        ("POST", MAPS, json!({"apiVersion": "v2", "metadata": {"name": "a"}}), 400),
        ("POST", MAPS, json!({"metadata": {"name": "a", "resourceVersion": "5"}}), 400),
        ("POST", MAPS, json!({"metadata": {"name": "Not A Name"}}), 422),
        ("POST", MAPS, json!({"metadata": {}}), 422),
        ("POST", MAPS, json!({"metadata": {"name": "a"}, "data": {"k": 1}}), 400),
        ("POST", "/api/v1/namespaces/nowhere/configmaps", json!({"metadata": {"name": "a"}}), 404),
        ("POST", "/api/v1/configmaps", json!({"metadata": {"name": "a"}}), 405),
        ("POST", "/api/v1/namespaces/demo/nothings", json!({"metadata": {"name": "a"}}), 404),
        ("PUT", "/api/v1/namespaces/demo/configmaps/a", json!({"metadata": {"name": "a"}}), 404),
        ("POST", "/api/v1/namespaces/demo/configmaps/a", json!({}), 405),
    ];
    for (method, path, body, status) in table {
        let answer = server.call(&admin(), method, path, Some(&body)).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {:#}", answer.body);
        assert_eq!(answer.body["kind"], "Status");
    }
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_refused_warned_of_or_ignored_as_asked() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let body = br#"{"metadata": {"name": "a"}, "data": {"k": "1"}, "data": {"k": "2"}, "dota": 1}"#.to_vec();
    let send = |mode: &str| {
        let path = format!("{MAPS}?dryRun=All&fieldValidation={mode}");
        let (server, body) = (&server, body.clone());
        async move { server.send(&admin(), "POST", &path, &[("content-type", "application/json")], body).await }
    };
    let strict = send("Strict").await;
    assert_eq!(strict.status, 400);
    let words = "strict decoding error: unknown field \"dota\", duplicate field \"data\"";
    assert!(strict.message().contains(words), "{}", strict.message());
    let warned = send("Warn").await;
    assert_eq!(warned.headers.get_all("warning").iter().count(), 2);
    let made = warned.expect(201);
    assert_eq!((&made["data"]["k"], &made["dota"]), (&json!("2"), &Value::Null));
    assert_eq!(send("Ignore").await.headers.get("warning"), None);
    assert_eq!(send("Perhaps").await.status, 422);
}

#[tokio::test]
async fn collections_of_the_metadata_that_are_empty_are_left_out() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let mut object = config_map("a", &json!({"k": "1"}));
    object["metadata"]["annotations"] = json!({});
    object["metadata"]["finalizers"] = json!([]);
    let created = server.post(MAPS, &object).await.expect(201);
    let empty = json!({"metadata": {"annotations": {}, "labels": {}}});
    let patched = server.patch(&format!("{MAPS}/a"), &empty).await.expect(200);
    for object in [&created, &patched] {
        for field in ["annotations", "labels", "finalizers"] {
            assert_eq!(object["metadata"].get(field), None, "{object}");
        }
    }
    assert_eq!(patched["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"], "nothing was changed");
}

#[tokio::test]
async fn an_update_with_an_old_resource_version_conflicts_and_one_without_does_not() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let path = format!("{MAPS}/a");
    let first = server.post(MAPS, &config_map("a", &json!({"k": "1"}))).await.expect(201);
    let mut second = first.clone();
    second["data"]["k"] = "2".into();
    let second = server.put(&path, &second).await.expect(200);
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    let stale = server.put(&path, &first).await;
    assert_eq!((stale.status, stale.body["reason"].as_str()), (409, Some("Conflict")));
    server.put(&path, &config_map("a", &json!({"k": "3"}))).await.expect(200);
    let mut other = config_map("a", &json!({}));
    other["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111".into();
    server.put(&path, &other).await.expect(409);
    server.put(&path, &config_map("b", &json!({}))).await.expect(400);
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_resource_version() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let made = server.post(MAPS, &config_map("a", &json!({"k": "1"}))).await.expect(201);
    assert_eq!(server.put(&format!("{MAPS}/a"), &made).await.expect(200), made);
    assert_eq!(server.patch(&format!("{MAPS}/a"), &json!({"data": {"k": "1"}})).await.expect(200), made);
}

#[tokio::test]
async fn the_main_resource_and_its_status_leave_each_other_alone() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let path = "/api/v1/namespaces/demo/pods/a";
    let made = server.post("/api/v1/namespaces/demo/pods", &pod("a")).await.expect(201);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    let change = json!({"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Running"}});
    let changed = server.patch(path, &change).await.expect(200);
    assert_eq!((&changed["status"], &changed["metadata"]["generation"]), (&made["status"], &json!(1)));
    let change = json!({"spec": {"activeDeadlineSeconds": 5}, "status": {"phase": "Running"}});
    let status = server.patch(&format!("{path}/status"), &change).await.expect(200);
    assert_eq!(status["status"]["phase"], "Running");
    assert_eq!(status["spec"], changed["spec"]);
    assert_eq!(status["metadata"]["generation"], 1);
    assert_eq!(server.get(&format!("{path}/status")).await.expect(200), status);
}

#[tokio::test]
async fn a_dry_run_answers_as_usual_and_stores_nothing() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let dry = format!("{MAPS}?dryRun=All");
    server.post(&dry, &config_map("a", &json!({}))).await.expect(201);
    server.get(&format!("{MAPS}/a")).await.expect(404);
    let made = server.post(MAPS, &config_map("a", &json!({"k": "1"}))).await.expect(201);
    server.post(&dry, &config_map("a", &json!({}))).await.expect(409);
    let changed = server.put(&format!("{MAPS}/a?dryRun=All"), &config_map("a", &json!({"k": "2"}))).await.expect(200);
    assert_eq!(changed["data"]["k"], "2");
    server.patch(&format!("{MAPS}/a?dryRun=All"), &json!({"data": {"k": "3"}})).await.expect(200);
    server.delete(&format!("{MAPS}/a?dryRun=All")).await.expect(200);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.expect(200), made);
    server.post(&format!("{MAPS}?dryRun=Some"), &config_map("b", &json!({}))).await.expect(422);
}

#[tokio::test]
async fn bodies_may_be_yaml_and_other_formats_are_refused() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n".to_vec();
    let made = server.send(&admin(), "POST", MAPS, &[("content-type", "application/yaml")], yaml).await.expect(201);
    assert_eq!(made["data"]["k"], "v");
    let cbor = server.send(&admin(), "POST", MAPS, &[("content-type", "application/cbor")], vec![0xa0]).await;
    assert_eq!((cbor.status, cbor.body["reason"].as_str()), (415, Some("UnsupportedMediaType")));
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let server = Server::start().await;
    let body = vec![b' '; 3 * 1024 * 1024 + 1];
    let answer = server.send(&admin(), "POST", "/api/v1/namespaces", &[], body).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn deletions_respect_preconditions_and_name_what_is_gone() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let made = server.post(MAPS, &config_map("a", &json!({}))).await.expect(201);
    let path = format!("{MAPS}/a");
    let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    server.call(&admin(), "DELETE", &path, Some(&wrong)).await.expect(409);
    let right = json!({"preconditions": {"uid": made["metadata"]["uid"]}, "propagationPolicy": "Background"});
    let gone = server.call(&admin(), "DELETE", &path, Some(&right)).await.expect(200);
    assert_eq!((&gone["status"], &gone["details"]["uid"]), (&json!("Success"), &made["metadata"]["uid"]));
    let missing = server.delete(&path).await;
    assert_eq!((missing.status, missing.message()), (404, "configmaps \"a\" not found"));
}

#[tokio::test]
async fn a_collection_is_deleted_as_selected() {
    let server = Server::start().await;
    server.namespace("demo").await;
    for (name, tier) in [("a", "front"), ("b", "back"), ("c", "front")] {
        let mut map = config_map(name, &json!({}));
        map["metadata"]["labels"] = json!({"tier": tier});
        server.post(MAPS, &map).await.expect(201);
    }
    server.delete(&format!("{MAPS}?labelSelector=tier%3Dfront")).await.expect(200);
    let left = server.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}

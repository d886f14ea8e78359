//! Lists and watches.

use crate::support::{Events, Server, config_map, pod, quick};
use orrery_store::EmbeddedOptions;
use serde_json::{Value, json};
use std::time::Duration;

const MAPS: &str = "/api/v1/namespaces/demo/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

async fn with_maps(names: &[&str]) -> Server {
    let server = Server::start().await;
    server.namespace("demo").await;
    for name in names {
        server.post(MAPS, &config_map(name, &json!({}))).await.expect(201);
    }
    server
}

#[tokio::test]
async fn lists_select_by_labels_and_fields() {
    let server = with_maps(&["x"]).await;
    let pods = "/api/v1/namespaces/demo/pods";
    for (name, tier) in [("a", "front"), ("b", "back")] {
        let mut pod = pod(name);
        pod["metadata"]["labels"] = json!({"tier": tier});
        server.post(pods, &pod).await.expect(201);
    }
    for (query, expected) in [
        ("labelSelector=tier%3Dfront", vec!["a"]),
        ("labelSelector=tier+notin+(front)", vec!["b"]),
        ("labelSelector=!tier", vec![]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=spec.nodeName%3D", vec!["a", "b"]),
        ("fieldSelector=spec.nodeName%3Dn1", vec![]),
    ] {
        let list = server.get(&format!("{pods}?{query}")).await.expect(200);
        assert_eq!(names(&list), expected, "{query}");
        assert_eq!(list["kind"], "PodList");
    }
    server.get(&format!("{pods}?fieldSelector=spec.unknown%3Dx")).await.expect(400);
    server.get(&format!("{pods}?labelSelector=a%3D%3D%3D")).await.expect(400);
    assert_eq!(names(&server.get("/api/v1/pods").await.expect(200)), ["a", "b"]);
}

#[tokio::test]
async fn pages_show_one_revision_whatever_is_written_meanwhile() {
    let server = with_maps(&["a", "b", "c", "d", "e"]).await;
    let first = server.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    server.delete(&format!("{MAPS}/d")).await.expect(200);
    server.post(MAPS, &config_map("bb", &json!({}))).await.expect(201);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = server.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = server.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!((names(&third), third["metadata"]["continue"].is_null()), (vec!["e"], true));
    // A token may not lead out of the list that it was given for.
    server.get(&format!("/api/v1/namespaces/other/configmaps?continue={token}")).await.expect(400);
}

#[tokio::test]
async fn a_list_at_a_revision_shows_that_one_and_a_future_one_is_refused() {
    let server = with_maps(&["a"]).await;
    let list = server.get(MAPS).await.expect(200);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    server.post(MAPS, &config_map("b", &json!({}))).await.expect(201);
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(names(&server.get(&exact).await.expect(200)), ["a"]);
    let newer = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&server.get(&newer).await.expect(200)), ["a", "b"]);
    let future = server.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!(
        (future.status, &future.body["details"]["causes"][0]["reason"]),
        (504, &json!("ResourceVersionTooLarge"))
    );
    server.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.expect(422);
    server.get(&format!("{MAPS}?resourceVersion=banana")).await.expect(422);
}

#[tokio::test]
async fn an_expired_continue_token_comes_with_a_fresh_one() {
    let options = EmbeddedOptions { history_changes: 3, ..EmbeddedOptions::default() };
    let server = Server::with(options, |_| {}).await;
    server.namespace("demo").await;
    for name in ["a", "b", "c"] {
        server.post(MAPS, &config_map(name, &json!({}))).await.expect(201);
    }
    let first = server.get(&format!("{MAPS}?limit=1")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    for count in 0..10 {
        server.patch(&format!("{MAPS}/a"), &json!({"data": {"k": count.to_string()}})).await.expect(200);
    }
    let expired = server.get(&format!("{MAPS}?limit=1&continue={token}")).await.expect(410);
    assert_eq!(expired["reason"], "Expired");
    let fresh = expired["metadata"]["continue"].as_str().unwrap();
    assert_eq!(names(&server.get(&format!("{MAPS}?continue={fresh}")).await.expect(200)), ["b", "c"]);
    let old = format!("{MAPS}?watch=1&resourceVersion={}", first["metadata"]["resourceVersion"].as_str().unwrap());
    let mut events = Events::open(&server, &old).await;
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_watch_gives_every_change_after_its_revision_in_order() {
    let server = with_maps(&["a"]).await;
    let list = server.get(MAPS).await.expect(200);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = Events::open(&server, &format!("{MAPS}?watch=1&resourceVersion={version}")).await;
    server.post(MAPS, &config_map("b", &json!({}))).await.expect(201);
    server.patch(&format!("{MAPS}/b"), &json!({"data": {"k": "v"}})).await.expect(200);
    server.delete(&format!("{MAPS}/b")).await.expect(200);
    server.delete(&format!("{MAPS}/a")).await.expect(200);
    let mut seen = Vec::new();
    let mut last = 0;
    for _ in 0..4 {
        let event = events.next().await.unwrap();
        let metadata = &event["object"]["metadata"];
        let version: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(version > last);
        last = version;
        seen.push(format!("{} {}", event["type"].as_str().unwrap(), metadata["name"].as_str().unwrap()));
    }
    assert_eq!(seen, ["ADDED b", "MODIFIED b", "DELETED b", "DELETED a"]);
}

#[tokio::test]
async fn an_object_that_enters_or_leaves_the_selection_is_added_or_deleted() {
    let server = with_maps(&["a"]).await;
    let path = format!("{MAPS}?watch=true&labelSelector=on%3Dyes");
    let mut events = Events::open(&server, &path).await;
    for on in ["yes", "yes", "no", "yes"] {
        let change = json!({"metadata": {"labels": {"on": on, "n": null}}, "data": {"k": on}});
        server.patch(&format!("{MAPS}/a"), &change).await.expect(200);
    }
    server.delete(&format!("{MAPS}/a")).await.expect(200);
    for expected in ["ADDED a", "DELETED a", "ADDED a", "DELETED a"] {
        assert_eq!(events.short().await, expected);
    }
}

#[tokio::test]
async fn a_watch_without_a_revision_begins_with_what_is_there() {
    let server = with_maps(&["a", "b"]).await;
    let mut events = Events::open(&server, &format!("{MAPS}?watch=1")).await;
    assert_eq!((events.short().await, events.short().await), ("ADDED a".into(), "ADDED b".into()));
    server.delete(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(events.short().await, "DELETED a");
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = with_maps(&["a"]).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = Events::open(&server, &format!("{MAPS}?{query}")).await;
    assert_eq!(events.short().await, "ADDED a");
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.post(MAPS, &config_map("b", &json!({}))).await.expect(201);
    assert_eq!(events.short().await, "ADDED b");
    server.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await.expect(422);
}

#[tokio::test]
async fn an_idle_watch_gets_bookmarks_that_move_on_with_other_writes() {
    let options = EmbeddedOptions { progress_interval: Duration::from_millis(20), ..EmbeddedOptions::default() };
    let server = Server::with(options, |config| quick(&mut config.limits)).await;
    server.namespace("demo").await;
    let version = server.get(MAPS).await.expect(200)["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let query = format!("watch=1&allowWatchBookmarks=true&resourceVersion={version}");
    let mut events = Events::open(&server, &format!("{MAPS}?{query}")).await;
    server.namespace("other").await;
    let mark = events.next().await.unwrap();
    assert_eq!((&mark["type"], &mark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    let marked: u64 = mark["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(marked > version.parse().unwrap());
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_up() {
    let server = with_maps(&[]).await;
    let mut events = Events::open(&server, &format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn tables_are_given_for_get_list_and_watch() {
    let server = with_maps(&["a"]).await;
    let accept = [("accept", TABLE)];
    let admin = crate::support::admin();
    for path in [MAPS.to_owned(), format!("{MAPS}/a")] {
        let table = server.send(&admin, "GET", &path, &accept, Vec::new()).await.expect(200);
        assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
        assert_eq!(table["columnDefinitions"][0]["name"], "Name");
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    }
    let mut events = Events::open_as(&server, &format!("{MAPS}?watch=1"), TABLE).await;
    let first = events.next().await.unwrap();
    assert!(first["object"]["columnDefinitions"].is_array(), "{first:#}");
    server.post(MAPS, &config_map("b", &json!({}))).await.expect(201);
    let second = events.next().await.unwrap();
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    assert!(second["object"]["columnDefinitions"].is_null());
    let metadata = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let list = server.send(&admin, "GET", MAPS, &metadata, Vec::new()).await.expect(200);
    assert_eq!((&list["kind"], &list["items"][0]["data"]), (&json!("PartialObjectMetadataList"), &Value::Null));
    let other = [("accept", "application/cbor")];
    assert_eq!(server.send(&admin, "GET", MAPS, &other, Vec::new()).await.status, 406);
}

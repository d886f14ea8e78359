//! Answers in protobuf, read by an independent reader.

use crate::support::{Server, admin, config_map, pod, quick};
use http_body_util::BodyExt;
use k8s_pb::{
    api::core::v1::{ConfigMap, ConfigMapList, Pod},
    apimachinery::pkg::{
        apis::meta::v1::{PartialObjectMetadata, PartialObjectMetadataList, Status, WatchEvent},
        runtime::Unknown,
    },
};
use orrery_machinery::descriptor::Storage;
use orrery_protobuf::Kind;
use orrery_store::EmbeddedOptions;
use prost::Message;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/demo/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const METADATA: &str =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

async fn with_maps(names: &[&str]) -> Server {
    let server = Server::with(EmbeddedOptions::default(), |config| quick(&mut config.limits)).await;
    server.namespace("demo").await;
    for name in names {
        server.post(MAPS, &config_map(name, &json!({"b": "2", "a": name}))).await.expect(201);
    }
    server
}

/// Status, media type and body of a request that says what it accepts.
async fn ask(server: &Server, method: &str, path: &str, accept: &str, body: Vec<u8>) -> (u16, String, Vec<u8>) {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let kind = if body.starts_with(b"k8s\0") { PROTOBUF } else { kind };
    let headers = [("accept", accept), ("content-type", kind)];
    let response = server.open(&admin(), method, path, &headers, body).await;
    let (parts, body) = response.into_parts();
    let media = parts.headers["content-type"].to_str().unwrap().to_owned();
    (parts.status.as_u16(), media, body.collect().await.unwrap().to_bytes().to_vec())
}

/// Apiversion and kind of an envelope, and its object.
fn open<T: Message + Default>(body: &[u8]) -> (String, T) {
    let envelope = Unknown::decode(body.strip_prefix(b"k8s\0").expect("an envelope")).unwrap();
    let types = envelope.type_meta.clone().unwrap();
    (format!("{} {}", types.api_version(), types.kind()), T::decode(envelope.raw()).unwrap())
}

async fn get<T: Message + Default>(server: &Server, path: &str, accept: &str) -> (String, T) {
    let (status, media, body) = ask(server, "GET", path, accept, Vec::new()).await;
    assert_eq!((status, media.as_str()), (200, PROTOBUF), "{}", String::from_utf8_lossy(&body));
    open(&body)
}

#[test]
fn every_built_in_kind_that_is_served_has_a_message() {
    for resource in orrery_kinds::resources() {
        let api_version = resource.api_version();
        assert!(Kind::find(&api_version, &resource.kind).is_some(), "{api_version} {}", resource.kind);
        let listed = resource.storage == Storage::Review || Kind::find(&api_version, &resource.list_kind).is_some();
        assert!(listed, "{api_version} {}", resource.list_kind);
    }
    let others = [("autoscaling/v1", "Scale"), ("policy/v1", "Eviction"), ("v1", "Binding"), ("v1", "Status")];
    let reviews = [("authentication.k8s.io/v1", "TokenRequest"), ("meta.k8s.io/v1", "PartialObjectMetadata")];
    for (api_version, kind) in others.into_iter().chain(reviews) {
        assert!(Kind::find(api_version, kind).is_some(), "{api_version} {kind}");
    }
}

#[tokio::test]
async fn objects_and_lists_are_read_as_protobuf() {
    let server = with_maps(&["x", "y"]).await;
    let (types, map): (_, ConfigMap) =
        get(&server, &format!("{MAPS}/x"), "application/vnd.kubernetes.protobuf,*/*").await;
    assert_eq!((types.as_str(), map.data["a"].as_str(), map.data["b"].as_str()), ("v1 ConfigMap", "x", "2"));
    let json = server.get(&format!("{MAPS}/x")).await.expect(200);
    let metadata = map.metadata.unwrap();
    assert_eq!(metadata.resource_version(), json["metadata"]["resourceVersion"]);
    assert_eq!(metadata.uid(), json["metadata"]["uid"]);

    let (types, list): (_, ConfigMapList) = get(&server, &format!("{MAPS}?limit=1"), PROTOBUF).await;
    assert_eq!((types.as_str(), list.items.len()), ("v1 ConfigMapList", 1));
    let head = list.metadata.unwrap();
    assert_eq!(head.remaining_item_count(), 1);
    let rest = format!("{MAPS}?limit=1&continue={}", head.r#continue());
    let (_, list): (_, ConfigMapList) = get(&server, &rest, PROTOBUF).await;
    assert_eq!(list.items[0].metadata.as_ref().unwrap().name(), "y");

    let (types, object): (_, PartialObjectMetadata) = get(&server, &format!("{MAPS}/x"), METADATA).await;
    assert_eq!((types.as_str(), object.metadata.unwrap().name()), ("meta.k8s.io/v1 PartialObjectMetadata", "x"));
    let (types, list): (_, PartialObjectMetadataList) = get(&server, MAPS, METADATA).await;
    assert_eq!((types.as_str(), list.items.len()), ("meta.k8s.io/v1 PartialObjectMetadataList", 2));

    let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1");
    let (_, media, body) = ask(&server, "GET", MAPS, &table, Vec::new()).await;
    let table: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((media.as_str(), table["kind"].as_str()), ("application/json", Some("Table")));
}

#[tokio::test]
async fn long_lists_are_whole() {
    let server = with_maps(&[]).await;
    let large = "x".repeat(100_000);
    for number in 0..9 {
        let map = config_map(&format!("m{number}"), &json!({"text": large}));
        server.post(MAPS, &map).await.expect(201);
    }
    let (_, list): (_, ConfigMapList) = get(&server, MAPS, PROTOBUF).await;
    assert!(list.items.len() == 9 && list.items.iter().all(|map| map.data["text"] == large));
}

#[tokio::test]
async fn writes_and_errors_are_answered_in_protobuf() {
    let server = with_maps(&[]).await;
    let pods = "/api/v1/namespaces/demo/pods";
    let body = orrery_protobuf::encode(pod("p").to_string().as_bytes()).unwrap();
    let (status, media, answer) = ask(&server, "POST", pods, PROTOBUF, body.clone()).await;
    assert_eq!((status, media.as_str()), (201, PROTOBUF));
    let (types, created): (_, Pod) = open(&answer);
    assert_eq!((types.as_str(), created.metadata.unwrap().name()), ("v1 Pod", "p"));
    assert_eq!(created.spec.unwrap().containers[0].image(), "registry.local/app:1");

    let (status, _, answer) = ask(&server, "POST", pods, PROTOBUF, body).await;
    let (types, error): (_, Status) = open(&answer);
    assert_eq!((status, types.as_str(), error.reason(), error.code()), (409, "v1 Status", "AlreadyExists", 409));
    assert_eq!(error.details.unwrap().name(), "p");
    let patch = br#"{"metadata": {"labels": {"k": "v"}}}"#.to_vec();
    let (_, _, answer) = ask(&server, "PATCH", &format!("{pods}/p"), PROTOBUF, patch).await;
    assert_eq!(open::<Pod>(&answer).1.metadata.unwrap().labels["k"], "v");
    let (status, _, answer) = ask(&server, "GET", &format!("{pods}/none"), PROTOBUF, Vec::new()).await;
    assert_eq!((status, open::<Status>(&answer).1.reason()), (404, "NotFound"));
    server.post(MAPS, &config_map("m", &json!({}))).await.expect(201);
    let (status, _, answer) = ask(&server, "DELETE", &format!("{MAPS}/m"), PROTOBUF, Vec::new()).await;
    assert_eq!((status, open::<Status>(&answer).1.status()), (200, "Success"));
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (status, _, answer) = ask(&server, "POST", path, PROTOBUF, review.to_string().into_bytes()).await;
    let (_, review): (_, k8s_pb::api::authorization::v1::SelfSubjectAccessReview) = open(&answer);
    assert!(status == 201 && review.status.unwrap().allowed());
}

/// The frames of a watch that ends by itself.
async fn watch(server: &Server, path: &str, accept: &str) -> Vec<(String, Vec<u8>)> {
    let (status, media, body) = ask(server, "GET", path, accept, Vec::new()).await;
    assert_eq!((status, media), (200, format!("{PROTOBUF};stream=watch")));
    let (mut rest, mut events) = (&body[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (frame, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        let event = WatchEvent::decode(frame).unwrap();
        events.push((event.r#type().to_owned(), event.object.unwrap().raw().to_owned()));
        rest = tail;
    }
    assert!(rest.is_empty());
    events
}

#[tokio::test]
async fn watches_are_frames() {
    let server = with_maps(&["x", "y"]).await;
    let accept = format!("{PROTOBUF};stream=watch");
    let path = format!(
        "{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    let events = watch(&server, &path, &accept).await;
    let added: Vec<String> =
        events[..2].iter().map(|(_, object)| open::<ConfigMap>(object).1.data["a"].clone()).collect();
    assert_eq!(added, ["x", "y"]);
    assert_eq!((events[0].0.as_str(), events[2].0.as_str()), ("ADDED", "BOOKMARK"));
    let bookmark = open::<ConfigMap>(&events[2].1).1.metadata.unwrap();
    assert_eq!(bookmark.annotations["k8s.io/initial-events-end"], "true");
    let events = watch(&server, &format!("{MAPS}?watch=1&timeoutSeconds=1"), METADATA).await;
    assert_eq!(open::<PartialObjectMetadata>(&events[0].1).1.metadata.unwrap().name(), "x");
    let events = watch(&server, &format!("{MAPS}?watch=1&resourceVersion=999999"), PROTOBUF).await;
    let (types, error): (_, Status) = open(&events[0].1);
    assert_eq!((events[0].0.as_str(), types.as_str(), error.code()), ("ERROR", "v1 Status", 504));
}

#[tokio::test]
async fn custom_resources_are_json_or_metadata() {
    let server = with_maps(&[]).await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.apps.test.io"}, "spec": {"group": "apps.test.io", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"}, "versions": [version]}});
    server.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await.expect(201);
    let things = "/apis/apps.test.io/v1/namespaces/demo/things";
    let until = async {
        while server.get(things).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), until).await.expect("the definition is served");
    let thing =
        json!({"apiVersion": "apps.test.io/v1", "kind": "Thing", "metadata": {"name": "t"}}).to_string().into_bytes();
    let (status, _, answer) = ask(&server, "POST", things, PROTOBUF, thing.clone()).await;
    assert_eq!((status, open::<Status>(&answer).1.reason()), (406, "NotAcceptable"));
    let both = format!("{PROTOBUF},application/json");
    let (status, media, _) = ask(&server, "POST", things, &both, thing).await;
    assert_eq!((status, media.as_str()), (201, "application/json"));
    for path in [things.to_owned(), format!("{things}/t")] {
        assert_eq!(ask(&server, "GET", &path, &both, Vec::new()).await.1, "application/json");
        assert_eq!(ask(&server, "GET", &path, PROTOBUF, Vec::new()).await.0, 406);
    }
    let (_, metadata): (_, PartialObjectMetadata) = get(&server, &format!("{things}/t"), METADATA).await;
    assert_eq!(metadata.metadata.unwrap().name(), "t");
}

#[tokio::test]
async fn the_openapi_document_has_a_protobuf_form() {
    let server = Server::start().await;
    let asked = orrery_protobuf::OPENAPI_V2_ASKED_AS;
    let (_, media, protobuf) = ask(&server, "GET", "/openapi/v2", asked, Vec::new()).await;
    assert_eq!(media, orrery_protobuf::OPENAPI_V2_MEDIA_TYPE);
    let (_, media, text) = ask(&server, "GET", "/openapi/v2", "application/json", Vec::new()).await;
    assert_eq!(media, "application/json");
    assert_eq!(protobuf, orrery_protobuf::openapi_v2(&serde_json::from_slice(&text).unwrap()));
}

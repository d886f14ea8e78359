//! The end in order: SIGTERM.

use crate::server::{LONG, MAPS, Server};
use http::Method;
use orrery_harness::Form;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_cleanly_and_requests_are_answered_when_told_to_end() {
    let server = Server::start().await;
    let path = format!("{MAPS}?watch=1&resourceVersion=0&allowWatchBookmarks=1");
    let watch = server.api.open(Method::GET, &path, Form::Json, Vec::new()).await.unwrap();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "last"}});
    server.api.post(MAPS, &object).await.unwrap().expect(201).unwrap();
    server.control_plane.terminate();
    // The body ends as a body ends; a connection that is cut is an error here.
    let body = http_body_util::BodyExt::collect(watch.into_body());
    let bytes = tokio::time::timeout(LONG, body).await.unwrap().unwrap().to_bytes();
    let last = bytes.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
    let last: serde_json::Value = serde_json::from_slice(last).unwrap();
    assert!(matches!(last["type"].as_str(), Some("ADDED" | "BOOKMARK")), "{last}");
    // It ends by itself; whether it has yet is not told here.
    drop(server.control_plane.stop().await);
}

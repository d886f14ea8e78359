//! Plugins: what they change, refuse, and write along with an object.

use crate::support::{Server, config_map};
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::status::{ApiError, Target};
use orrery_store::EmbeddedOptions;
use serde_json::{Value, json};
use std::sync::Arc;

const MAPS: &str = "/api/v1/namespaces/demo/configmaps";

/// Adds an unknown field and a label, counts new maps in the map `count`, and keeps maps labelled `keep`.
struct Counting;

#[async_trait::async_trait]
impl Plugin for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.is("", "configmaps") && request.name != "count"
    }

    async fn change(
        &self,
        _: &AdmissionRequest<'_>,
        object: &mut Value,
        review: &mut Review,
    ) -> Result<bool, ApiError> {
        object["metadata"]["labels"]["seen"] = json!("yes");
        object["nonsense"] = json!(1);
        review.warnings.push("counted".into());
        Ok(true)
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        _: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        match request.operation {
            Operation::Delete if request.old.is_some_and(|old| old["metadata"]["labels"]["keep"].is_string()) => {
                let target = Target { group: "", resource: "configmaps", name: request.name };
                return Err(ApiError::forbidden(target, "it is to be kept"));
            }
            Operation::Create => {}
            Operation::Delete | Operation::Update | Operation::Connect => return Ok(()),
        }
        let Some(mut count) = request.reader.get("", "configmaps", "demo", "count").await? else { return Ok(()) };
        let before: u64 = count["data"]["count"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        count["data"]["count"] = json!((before + 1).to_string());
        review.also.push(count);
        Ok(())
    }
}

async fn server() -> Server {
    let server = Server::with(EmbeddedOptions::default(), |config| config.admission = vec![Arc::new(Counting)]).await;
    server.namespace("demo").await;
    server
}

#[tokio::test]
async fn a_plugin_changes_objects_and_what_it_does_is_checked_like_a_clients_body() {
    let server = server().await;
    let answer = server.post(MAPS, &config_map("a", &json!({}))).await;
    assert_eq!(answer.headers["warning"], "299 - \"counted\"");
    let map = answer.expect(201);
    assert_eq!((&map["metadata"]["labels"]["seen"], map.get("nonsense")), (&json!("yes"), None));
    let changed = server.patch(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"seen": "no"}}})).await;
    assert_eq!(changed.expect(200)["metadata"]["labels"]["seen"], "yes");
}

#[tokio::test]
async fn a_plugin_refuses_deletions_also_of_a_collection() {
    let server = server().await;
    let mut map = config_map("a", &json!({}));
    map["metadata"]["labels"] = json!({"keep": "me"});
    server.post(MAPS, &map).await.expect(201);
    let refused = server.delete(&format!("{MAPS}/a")).await;
    assert!(refused.message().contains("it is to be kept"), "{}", refused.message());
    refused.expect(403);
    server.delete(MAPS).await.expect(403);
    server.get(&format!("{MAPS}/a")).await.expect(200);
}

#[tokio::test]
async fn what_a_plugin_writes_along_is_never_lost_to_a_concurrent_write() {
    let server = server().await;
    server.post(MAPS, &config_map("count", &json!({"count": "0"}))).await.expect(201);
    let names: Vec<String> = (0..12).map(|n| format!("m{n}")).collect();
    let create = |name: String| {
        let server = &server;
        async move { server.post(MAPS, &config_map(&name, &json!({}))).await.expect(201) }
    };
    futures::future::join_all(names.into_iter().map(create)).await;
    let dry = server.post(&format!("{MAPS}?dryRun=All"), &config_map("dry", &json!({}))).await;
    dry.expect(201);
    let count = server.get(&format!("{MAPS}/count")).await.expect(200);
    assert_eq!(count["data"]["count"], "12");
}

//! What the webhooks of these tests answer.

use crate::harness::{allow, deny, patch_with};
use serde_json::{Value, json};
use std::time::Duration;

/// The key and the value of what is not to pass.
pub(super) const KEY: &str = "webhook-e2e-test";
pub(super) const DISALLOWED: &str = "webhook-disallow";
/// The value of what makes a hook hang.
pub(super) const HANG: &str = "wait-forever";
/// How long the slow hook takes.
pub(super) const SLOW: Duration = Duration::from_secs(5);
/// The words of refusals.
pub(super) const DENIES_ALL: &str = "this webhook denies all requests";
pub(super) const UNWANTED: &str = "the object contains unwanted data";
pub(super) const NO_ATTACH: &str = "attaching to pod 'to-be-attached-pod' is not allowed";
/// The init container that a hook adds.
pub(super) const INIT: &str = "webhook-added-init-container";

/// Answers an `AdmissionReview` that came at a path.
pub(super) async fn answer(path: String, review: Value) -> Value {
    let request = &review["request"];
    // A deletion shows what is deleted as the old object.
    let object = if request["operation"] == "DELETE" { &request["oldObject"] } else { &request["object"] };
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (hook, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match hook {
        "marker-deny" => deny(&review, rest),
        "marker-mutate" => patch_with(&review, &add_data(object, "marker", rest)),
        "deny" => deny(&review, DENIES_ALL),
        "deny-attach" => deny(&review, NO_ATTACH),
        "deny-unwanted" => {
            if is_marked(object, HANG) {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            if is_marked(object, DISALLOWED) { deny(&review, UNWANTED) } else { allow(&review) }
        }
        "slow" => {
            tokio::time::sleep(SLOW).await;
            allow(&review)
        }
        "stage-1" => stage(&review, object, "mutation-start", "mutation-stage-1"),
        "stage-2" => stage(&review, object, "mutation-stage-1", "mutation-stage-2"),
        "mutate" => patch_with(&review, &add_data(object, "mutated", "yes")),
        "add-label" => patch_with(&review, &add_label(object)),
        "add-init-container" => patch_with(&review, &init_container(object)),
        _ => Value::Null,
    }
}

/// Whether data, a label or a container's name says this value.
fn is_marked(object: &Value, value: &str) -> bool {
    let containers = object["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    object["data"][KEY] == value
        || object["metadata"]["labels"][KEY] == value
        || containers.iter().any(|container| container["name"] == value)
}

/// A JSON patch that adds a key to `data`, which may not be there.
fn add_data(object: &Value, key: &str, value: &str) -> Value {
    if object["data"].is_object() {
        json!([{"op": "add", "path": format!("/data/{key}"), "value": value}])
    } else {
        json!([{"op": "add", "path": "/data", "value": {key: value}}])
    }
}

fn stage(review: &Value, object: &Value, wanted: &str, added: &str) -> Value {
    if object["data"][wanted] == "yes" { patch_with(review, &add_data(object, added, "yes")) } else { allow(review) }
}

fn add_label(object: &Value) -> Value {
    if object["metadata"]["labels"].is_object() {
        json!([{"op": "add", "path": "/metadata/labels/mutated", "value": "yes"}])
    } else {
        json!([{"op": "add", "path": "/metadata/labels", "value": {"mutated": "yes"}}])
    }
}

fn init_container(object: &Value) -> Value {
    let container = json!({"name": INIT, "image": "registry.local/init:1", "resources": {}});
    if object["spec"]["initContainers"].is_array() {
        json!([{"op": "add", "path": "/spec/initContainers/-", "value": container}])
    } else {
        json!([{"op": "add", "path": "/spec/initContainers", "value": [container]}])
    }
}

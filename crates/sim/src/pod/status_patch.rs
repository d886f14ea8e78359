//! The difference between the published status and the decided one, as a JSON merge patch.

use orrery_api::k8s::api::core::v1::PodStatus;
use orrery_lifecycle::pod::PodView;
use serde_json::{Map, Value, json};

/// The fields that a kubelet publishes. All others belong to somebody else.
const OWN: [&str; 12] = [
    "phase",
    "reason",
    "message",
    "conditions",
    "startTime",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "initContainerStatuses",
    "containerStatuses",
    "observedGeneration",
];

/// The patch that makes the published status of `pod` the wanted one; none when it is. It names the version that it was
/// made from: lists are replaced whole, and a condition that somebody else has set since must not be lost.
pub(super) fn status_patch(pod: &PodView, wanted: &PodStatus) -> Option<Value> {
    let fields = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    let (published, wanted) = (fields(&pod.status), fields(wanted));
    let mut changed = Map::new();
    for field in OWN {
        if published.get(field) != wanted.get(field) {
            changed.insert(field.to_owned(), wanted.get(field).cloned().unwrap_or(Value::Null));
        }
    }
    let metadata = json!({ "uid": pod.uid, "resourceVersion": pod.resource_version });
    (!changed.is_empty()).then(|| json!({ "metadata": metadata, "status": changed }))
}

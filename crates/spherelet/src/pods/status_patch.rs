//! The difference between the published status and the wanted one, as a JSON merge patch.

use k8s_openapi::api::core::v1::PodStatus;
use orrery_lifecycle::pod::PodView;
use serde_json::{Map, Value, json};

/// The fields that the Spherelet publishes. All others belong to somebody else.
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

/// The patch that makes the published status of `pod` the wanted one; none when it is already. It names the version that
/// it was made from: lists are replaced whole, and a condition that somebody else has set since must not be lost.
pub(super) fn status_patch(pod: &PodView, wanted: &PodStatus) -> Option<Value> {
    let object = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    let (published, wanted) = (object(&pod.status), object(wanted));
    let changed: Map<String, Value> = OWN
        .into_iter()
        .filter(|field| published.get(*field) != wanted.get(*field))
        .map(|field| (field.to_owned(), wanted.get(field).cloned().unwrap_or(Value::Null)))
        .collect();
    if changed.is_empty() {
        return None;
    }
    let metadata = json!({ "uid": pod.uid, "resourceVersion": pod.resource_version });
    Some(json!({ "metadata": metadata, "status": changed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &Value) -> PodView {
        let pod = json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e", "resourceVersion": "7" },
            "spec": { "containers": [] },
            "status": status,
        });
        PodView::project(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    #[test]
    fn only_what_changed_is_sent_and_what_is_gone_is_removed() {
        let pod = pod(&json!({ "phase": "Pending", "message": "held", "qosClass": "BestEffort" }));
        let wanted = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
        let patch = status_patch(&pod, &wanted).unwrap();
        assert_eq!(patch["status"], json!({ "phase": "Running", "message": null }));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(status_patch(&pod, &pod.status), None);
    }
}

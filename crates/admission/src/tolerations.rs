//! `DefaultTolerationSeconds`: pods may stay five minutes on a node that is not ready or not reachable.

use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::status::ApiError;
use serde_json::{Value, json};

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The plugin.
pub(crate) struct DefaultTolerationSeconds;

#[async_trait::async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "pods")
    }

    async fn change(&self, _: &AdmissionRequest<'_>, pod: &mut Value, _: &mut Review) -> Result<bool, ApiError> {
        add(pod);
        Ok(false)
    }
}

fn add(pod: &mut Value) -> bool {
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let before = tolerations.len();
    for taint in TAINTS {
        let tolerates = |toleration: &Value| {
            let key = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
        };
        if !tolerations[..before].iter().any(tolerates) {
            tolerations.push(json!({"key": taint, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": SECONDS}));
        }
    }
    let added = tolerations.len() > before;
    if added {
        pod["spec"]["tolerations"] = tolerations.into();
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_tolerates_already_is_left_alone() {
        let mut plain = json!({"spec": {}});
        assert!(add(&mut plain));
        assert_eq!(plain["spec"]["tolerations"].as_array().unwrap().len(), 2);
        assert!(!add(&mut plain));
        let mut all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        assert!(!add(&mut all));
        let mut one =
            json!({"spec": {"tolerations": [{"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute"}]}});
        assert!(add(&mut one));
        assert_eq!(one["spec"]["tolerations"][1]["key"], TAINTS[1]);
    }
}

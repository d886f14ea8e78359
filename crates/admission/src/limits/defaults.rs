//! What a container without requests and limits gets.

use super::items;
use serde_json::{Value, json};

/// Says on the pod what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in what the ranges have defaults for; whether there was anything.
pub(super) fn fill_in(pod: &mut Value, ranges: &[Value]) -> bool {
    let mut told = Vec::new();
    for item in items(ranges, "Container") {
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                for (defaults, place, what) in
                    [("defaultRequest", "requests", "request"), ("default", "limits", "limit")]
                {
                    let set = merge(container, place, &item[defaults]);
                    if !set.is_empty() {
                        let name = container["name"].as_str().unwrap_or_default();
                        told.push(format!("{} {what} for {word} {name}", set.join(", ")));
                    }
                }
            }
        }
    }
    if told.is_empty() {
        return false;
    }
    pod["metadata"]["annotations"][ANNOTATION] = json!(format!("LimitRanger plugin set: {}", told.join("; ")));
    true
}

/// Sets the amounts that are missing; their names.
fn merge(container: &mut Value, place: &str, defaults: &Value) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults.as_object().into_iter().flatten() {
        if container["resources"][place].get(name).is_none() {
            container["resources"][place][name] = amount.clone();
            set.push(name.clone());
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_filled_in_and_told() {
        let range = json!({"spec": {"limits": [{"type": "Container",
            "default": {"cpu": "500m", "memory": "500Mi"}, "defaultRequest": {"cpu": "100m"}}]}});
        let mut pod = json!({"metadata": {}, "spec": {"containers": [
            {"name": "a", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}, {"name": "b"}]}});
        assert!(fill_in(&mut pod, &[range]));
        assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"], json!({"cpu": "1", "memory": "500Mi"}));
        assert_eq!(pod["spec"]["containers"][1]["resources"]["requests"], json!({"cpu": "100m"}));
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: memory limit for container a; cpu request for container b; \
             cpu, memory limit for container b"
        );
        assert!(!fill_in(&mut pod, &[]));
    }
}

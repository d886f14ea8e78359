//! What a pod asks for (`k8s.io/component-helpers/resource`).

use crate::Amounts;
use serde_json::Value;

fn elements<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    spec[list].as_array().into_iter().flatten()
}

/// The requests of all of a pod's containers at their highest, with the overhead of its runtime class.
#[must_use]
pub fn requests(pod: &Value) -> Amounts {
    highest(pod, "requests")
}

/// The limits of all of a pod's containers at their highest, with the overhead where there is a limit at all.
#[must_use]
pub fn limits(pod: &Value) -> Amounts {
    highest(pod, "limits")
}

/// Init containers run one after the other, before the others and beside the sidecars that were started before them.
fn highest(pod: &Value, what: &str) -> Amounts {
    let spec = &pod["spec"];
    let of = |container: &Value| Amounts::read(&container["resources"][what]);
    let mut sum = elements(spec, "containers").map(of).fold(Amounts::default(), |sum, one| sum.plus(&one));
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in elements(spec, "initContainers") {
        let own = of(container);
        let at_once = if container["restartPolicy"] == "Always" {
            sidecars = sidecars.plus(&own);
            sidecars.clone()
        } else {
            sidecars.plus(&own)
        };
        at_once.names().for_each(|name| peak.raise_milli(name, at_once.milli(name)));
    }
    sum = sum.plus(&sidecars);
    peak.names().for_each(|name| sum.raise_milli(name, peak.milli(name)));
    let overhead = Amounts::read(&spec["overhead"]);
    if what == "limits" { sum.plus(&overhead.only(&sum)) } else { sum.plus(&overhead) }
}

/// Whether a pod will not run any more, so that it uses nothing but its name.
#[must_use]
pub fn is_terminal(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Whether a pod asks for no CPU and memory at all.
#[must_use]
pub fn is_best_effort(pod: &Value) -> bool {
    let all = requests(pod).plus(&limits(pod));
    ["cpu", "memory"].iter().all(|name| all.milli(name) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}})
    }

    #[test]
    fn a_pod_asks_for_what_it_needs_at_its_highest() {
        let mut sidecar = container("300m");
        sidecar["restartPolicy"] = json!("Always");
        let pod = json!({"spec": {
            "containers": [container("1"), container("500m")],
            "initContainers": [container("4"), sidecar, container("1")],
            "overhead": {"cpu": "100m", "memory": "64Mi"},
        }});
        assert_eq!(requests(&pod).write(), json!({"cpu": "4100m", "memory": "64Mi"}));
        assert_eq!(limits(&pod).write(), json!({"cpu": "4100m"}));
        let plain = json!({"spec": {"containers": [container("1")], "initContainers": [container("500m")]}});
        assert_eq!(requests(&plain).write(), json!({"cpu": "1"}));
        assert!(!is_best_effort(&plain));
        assert!(is_best_effort(&json!({"spec": {"containers": [{}]}})));
    }
}

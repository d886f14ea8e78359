//! What the author of a pod or a template should know although it is taken (`k8s.io/kubernetes/pkg/api/pod/warnings.go`).

use crate::{
    fields::{elements, is_set, text},
    quantity,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Labels of nodes that have other names now, with the version since when.
const OLD_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// Volumes that are on their way out.
const OLD_VOLUMES: [(&str, &str); 7] = [
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("gitRepo", "deprecated in v1.11"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
];

/// Of a pod; of a change only when the spec changed.
pub(super) fn of_pod(pod: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| old["spec"] == pod["spec"]) {
        return Vec::new();
    }
    of_spec(&pod["spec"], "spec")
}

/// Of a template that stands at `at`; of a change only when the template changed.
#[must_use]
pub fn of_template(template: &Value, old: Option<&Value>, at: &str) -> Vec<String> {
    if old == Some(template) {
        return Vec::new();
    }
    of_spec(&template["spec"], &format!("{at}.spec"))
}

fn of_spec(spec: &Value, at: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (label, since, instead) in OLD_LABELS {
        if is_set(&spec["nodeSelector"][label]) {
            warnings.push(format!("{at}.nodeSelector[{label}]: deprecated since {since}; use \"{instead}\" instead"));
        }
    }
    for (index, volume) in elements(&spec["volumes"]).enumerate() {
        let old = OLD_VOLUMES.into_iter().filter(|(kind, _)| is_set(&volume[*kind]));
        warnings.extend(old.map(|(kind, why)| format!("{at}.volumes[{index}].{kind}: {why}")));
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{at}.terminationGracePeriodSeconds: {why}"));
    }
    let mut ports = BTreeMap::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in elements(&spec[list]).enumerate() {
            let field = format!("{at}.{list}[{index}]");
            variables(container, &field, &mut warnings);
            amounts(container, &field, &mut warnings);
            if list == "containers" {
                self::ports(container, &field, &mut ports, &mut warnings);
            }
        }
    }
    warnings
}

fn variables(container: &Value, field: &str, warnings: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, variable) in elements(&container["env"]).enumerate() {
        let name = text(&variable["name"]);
        // One that is made out of its former self is meant.
        let grows = text(&variable["value"]).contains(&format!("$({name})"));
        if seen.contains(&name) && !grows {
            warnings.push(format!(
                "{field}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
        seen.push(name);
    }
}

fn amounts(container: &Value, field: &str, warnings: &mut Vec<String>) {
    for list in ["limits", "requests"] {
        for name in ["memory", "ephemeral-storage"] {
            let amount = &container["resources"][list][name];
            if quantity::milli(amount).is_some_and(|milli| !milli.is_multiple_of(1000)) {
                let shown = quantity::plain(amount);
                warnings.push(format!(
                    "{field}.resources.{list}[{name}]: fractional byte value {shown:?} is invalid, must be an integer"
                ));
            }
        }
    }
}

fn ports(container: &Value, field: &str, names: &mut BTreeMap<String, String>, warnings: &mut Vec<String>) {
    let mut seen: Vec<(&Value, &Value, &Value)> = Vec::new();
    for (index, port) in elements(&container["ports"]).enumerate() {
        let at = format!("{field}.ports[{index}]");
        let key = (&port["containerPort"], &port["protocol"], &port["hostPort"]);
        if let Some(first) = seen.iter().position(|known| *known == key) {
            warnings.push(format!("{at}: duplicate port definition with {field}.ports[{first}]"));
        }
        seen.push(key);
        let name = text(&port["name"]);
        match names.get(name).filter(|_| !name.is_empty()) {
            Some(first) => warnings.push(format!(
                "{at}: duplicate port name {name:?} with {first}, services and probes that select ports by name will use \
                 {first}"
            )),
            None => drop(names.insert(name.to_owned(), at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_will_surprise_its_author_is_said() {
        let port = json!({"containerPort": 80, "protocol": "TCP", "name": "web"});
        let pod = json!({"spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "volumes": [{"name": "v", "gitRepo": {}}],
            "containers": [
                {"env": [{"name": "A"}, {"name": "A"}, {"name": "A", "value": "$(A):x"}], "ports": [port]},
                {"ports": [port, {"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"memory": "1500m"}}},
            ],
        }});
        let expected = [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.volumes[0].gitRepo: deprecated in v1.11",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[1].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
            "spec.containers[1].ports[0]: duplicate port name \"web\" with spec.containers[0].ports[0], services and probes \
             that select ports by name will use spec.containers[0].ports[0]",
            "spec.containers[1].ports[1]: duplicate port definition with spec.containers[1].ports[0]",
        ];
        assert_eq!(of_pod(&pod, None), expected);
        assert_eq!(of_pod(&pod, Some(&pod)), [""; 0]);
        assert_eq!(of_template(&pod, None, "spec.template").len(), expected.len());
    }
}

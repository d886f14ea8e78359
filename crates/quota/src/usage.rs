//! What one object uses.

use crate::{Amounts, pods};
use serde_json::Value;

/// Resources that may also be counted by their plain name.
const BY_NAME: &[&str] =
    &["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];
/// Resources of containers that may be named without `requests.` before them.
const PLAIN: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// What an object of the resource `plural` of `group` uses, by every name that a quota may know it by.
#[must_use]
pub fn usage(group: &str, plural: &str, object: &Value) -> Amounts {
    let mut used = Amounts::default();
    let count = if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") };
    used.add(&count, 1);
    if group.is_empty() && BY_NAME.contains(&plural) {
        used.add(plural, 1);
    }
    match (group, plural) {
        ("", "pods") if !pods::is_terminal(object) => pod(object, &mut used),
        ("", "services") => service(object, &mut used),
        ("", "persistentvolumeclaims") => claim(object, &mut used),
        _ => {}
    }
    used
}

fn pod(pod: &Value, used: &mut Amounts) {
    used.add("pods", 1);
    let requests = pods::requests(pod);
    for name in requests.names() {
        let milli = requests.milli(name);
        if PLAIN.contains(&name) || name.starts_with("hugepages-") {
            used.add_milli(name, milli);
        }
        used.add_milli(&format!("requests.{name}"), milli);
    }
    let limits = pods::limits(pod);
    for name in limits.names().filter(|name| PLAIN.contains(name)) {
        used.add_milli(&format!("limits.{name}"), limits.milli(name));
    }
}

fn service(service: &Value, used: &mut Amounts) {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().map_or(0, Vec::len);
    let ports = i128::try_from(ports).unwrap_or(i128::MAX);
    let (balanced, has_node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (false, true),
        Some("LoadBalancer") => (true, spec["allocateLoadBalancerNodePorts"] != false),
        _ => (false, false),
    };
    used.add("services.loadbalancers", balanced.into());
    used.add("services.nodeports", if has_node_ports { ports } else { 0 });
}

fn claim(claim: &Value, used: &mut Amounts) {
    let asked = Amounts::read(&claim["spec"]["resources"]["requests"]).milli("storage");
    used.add_milli("requests.storage", asked);
    if let Some(class) = claim["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty()) {
        used.add(&format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), 1);
        used.add_milli(&format!("{class}.storageclass.storage.k8s.io/requests.storage"), asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_is_counted_and_some_are_measured() {
        let pod = json!({"spec": {"containers": [{"resources": {
            "requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "2"}, "limits": {"cpu": "2"}}}]}});
        let table = [
            ("apps", "deployments", json!({}), json!({"count/deployments.apps": "1"})),
            ("", "secrets", json!({}), json!({"count/secrets": "1", "secrets": "1"})),
            (
                "",
                "pods",
                pod.clone(),
                json!({"count/pods": "1", "pods": "1", "cpu": "1", "requests.cpu": "1", "limits.cpu": "2",
                    "memory": "1Gi", "requests.memory": "1Gi", "requests.example.com/gpu": "2"}),
            ),
            ("", "pods", json!({"status": {"phase": "Failed"}, "spec": pod["spec"]}), json!({"count/pods": "1"})),
            (
                "",
                "services",
                json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}}),
                json!({"count/services": "1", "services": "1", "services.loadbalancers": "1", "services.nodeports": "2"}),
            ),
            (
                "",
                "persistentvolumeclaims",
                json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "5Gi"}}}}),
                json!({"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "5Gi",
                    "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                    "gold.storageclass.storage.k8s.io/requests.storage": "5Gi"}),
            ),
        ];
        for (group, plural, object, expected) in table {
            assert_eq!(usage(group, plural, &object).write(), expected, "{group}/{plural}");
        }
    }
}

//! What stays and what follows when a service is changed.

use crate::fields::{is_set, size, text};
use orrery_machinery::status::FieldError;
use serde_json::{Map, Value, json};

/// `clusterIP` is the first of `clusterIPs`: who sets the one means both.
pub(super) fn both_address_fields(service: &mut Value) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let one = spec.get("clusterIP").filter(|one| !text(one).is_empty()).cloned();
    if let Some(one) = one
        && spec.get("clusterIPs").is_none_or(|all| size(all) == 0)
    {
        spec.insert("clusterIPs".into(), json!([one]));
    }
}

/// Prepares a change: what the author leaves out of what was allocated stays, and what the new type cannot have goes.
pub(super) fn prepare(old: &Value, new: &mut Value) {
    let before = &old["spec"];
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    same_addresses(before, spec);
    drop_what_the_type_has_not(before, spec);
    keep_what_was_allocated(before, spec);
}

fn field<'a>(spec: &'a Map<String, Value>, name: &str) -> &'a Value {
    spec.get(name).unwrap_or(&Value::Null)
}

/// Follows in `clusterIPs` what a client that knows only `clusterIP` did.
fn same_addresses(before: &Value, spec: &mut Map<String, Value>) {
    let (one, all) = (field(spec, "clusterIP").clone(), field(spec, "clusterIPs").clone());
    if text(&one) == text(&before["clusterIP"]) || all != before["clusterIPs"] {
        return;
    }
    if text(&one).is_empty() {
        spec.remove("clusterIPs");
    } else if let Some(first) = spec.get_mut("clusterIPs").and_then(|all| all.get_mut(0)) {
        *first = one;
    } else {
        spec.insert("clusterIPs".into(), json!([one]));
    }
}

fn has_cluster_address(kind: &Value) -> bool {
    matches!(text(kind), "" | "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(kind: &Value, allocates: &Value) -> bool {
    text(kind) == "NodePort" || (text(kind) == "LoadBalancer" && *allocates != json!(false))
}

fn drop_what_the_type_has_not(before: &Value, spec: &mut Map<String, Value>) {
    let kind = field(spec, "type").clone();
    let unchanged = |spec: &Map<String, Value>, name: &str| *field(spec, name) == before[name];
    if has_cluster_address(&before["type"]) && !has_cluster_address(&kind) && unchanged(spec, "clusterIPs") {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            spec.remove(name);
        }
    }
    let node_ports = |value: &Value| -> Vec<Value> {
        value.as_array().into_iter().flatten().map(|port| port["nodePort"].clone()).collect()
    };
    let had = has_node_ports(&before["type"], &before["allocateLoadBalancerNodePorts"]);
    let has = has_node_ports(&kind, field(spec, "allocateLoadBalancerNodePorts"));
    if had && !has && text(&kind) != "LoadBalancer" && node_ports(&before["ports"]) == node_ports(field(spec, "ports"))
    {
        for port in crate::fields::maps_in(spec, "ports") {
            port.remove("nodePort");
        }
    }
    let checked = |kind: &Value, policy: &Value| text(kind) == "LoadBalancer" && policy == "Local";
    if checked(&before["type"], &before["externalTrafficPolicy"])
        && !checked(&kind, field(spec, "externalTrafficPolicy"))
        && unchanged(spec, "healthCheckNodePort")
    {
        spec.remove("healthCheckNodePort");
    }
    if text(&before["type"]) == "LoadBalancer" && text(&kind) != "LoadBalancer" {
        for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if unchanged(spec, name) {
                spec.remove(name);
            }
        }
    }
    let external = super::is_external(&Value::Object(spec.clone()));
    if super::is_external(before) && !external && unchanged(spec, "externalTrafficPolicy") {
        spec.remove("externalTrafficPolicy");
    }
}

fn keep_what_was_allocated(before: &Value, spec: &mut Map<String, Value>) {
    let kind = field(spec, "type").clone();
    if has_cluster_address(&before["type"]) && has_cluster_address(&kind) {
        if text(field(spec, "clusterIP")).is_empty() && size(field(spec, "clusterIPs")) == 0 {
            for name in ["clusterIP", "clusterIPs"] {
                if is_set(&before[name]) {
                    spec.insert(name.into(), before[name].clone());
                }
            }
        }
        for name in ["ipFamilies", "ipFamilyPolicy"] {
            if !is_set(field(spec, name)) && is_set(&before[name]) {
                spec.insert(name.into(), before[name].clone());
            }
        }
    }
    let has = has_node_ports(&kind, field(spec, "allocateLoadBalancerNodePorts"));
    if has_node_ports(&before["type"], &before["allocateLoadBalancerNodePorts"]) && has {
        let key = |port: &Value| (text(&port["protocol"]).to_owned(), port["port"].as_i64());
        for port in crate::fields::maps_in(spec, "ports") {
            let this = key(&Value::Object(port.clone()));
            let this = (if this.0.is_empty() { "TCP".to_owned() } else { this.0 }, this.1);
            let known = crate::fields::elements(&before["ports"]).find(|old| key(old) == this);
            if let Some(number) = known.map(|old| &old["nodePort"]).filter(|number| is_set(number))
                && port.get("nodePort").is_none_or(|number| number.as_i64().unwrap_or_default() == 0)
            {
                port.insert("nodePort".into(), number.clone());
            }
        }
    }
    let checked = text(&kind) == "LoadBalancer" && field(spec, "externalTrafficPolicy") == "Local";
    let number = &before["healthCheckNodePort"];
    if checked && is_set(number) && field(spec, "healthCheckNodePort").as_i64().unwrap_or_default() == 0 {
        spec.insert("healthCheckNodePort".into(), number.clone());
    }
}

/// Adds an error for what may not change: the first address and its family, and a load balancer's class.
pub(super) fn check(spec: &Value, before: &Value, errors: &mut Vec<FieldError>) {
    const WHY: &str = "may not change once set";
    if spec["type"] == "LoadBalancer"
        && before["type"] == "LoadBalancer"
        && spec["loadBalancerClass"] != before["loadBalancerClass"]
    {
        errors.push(FieldError::invalid("spec.loadBalancerClass", &spec["loadBalancerClass"], WHY));
    }
    if spec["type"] == "ExternalName" || before["type"] == "ExternalName" {
        return;
    }
    for name in ["clusterIPs", "ipFamilies"] {
        let (now, then) = (&spec[name], &before[name]);
        if !text(&then[0]).is_empty() && now[0] != then[0] {
            errors.push(FieldError::invalid(format!("spec.{name}[0]"), now, WHY));
        }
    }
}

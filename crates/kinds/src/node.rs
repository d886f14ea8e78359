//! `v1 Node`.

use super::columns::column;
use super::fields::{elements, map_at, one_of, selectable_flag, text, text_or};
use orrery_api::k8s::api::core::v1::Node;
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField, Subresource},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::{Value, json};

const SUBRESOURCES: &[Subresource] =
    &[Subresource::handled("proxy", ("", "v1", "NodeProxyOptions"), &["create", "delete", "get", "patch", "update"])];

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["no"],
        has_status: true,
        subresources: SUBRESOURCES,
        default: |node| {
            // Clients look for taints in it without asking whether it is there.
            node.as_object_mut().and_then(|node| map_at(node, "spec"));
        },
        validate,
        columns: COLUMNS,
        selectable_fields: SELECTABLE,
        ..super::cluster_wide::<Node>("node")
    }
}

const SELECTABLE: &[SelectableField] = &[selectable_flag("spec.unschedulable", |object| {
    object["spec"]["unschedulable"].as_bool().unwrap_or_default().to_string()
})];

/// In full, because `Version` stands after `Age`.
const COLUMNS: &[Column] = &[
    table::NAME,
    column("Status", 0, "The status of the node", |node, _| status(node).into()),
    column("Roles", 0, "The roles of the node", |node, _| roles(node).into()),
    table::AGE,
    column("Version", 0, "Kubelet version reported by the node", |node, _| {
        text(&node["status"]["nodeInfo"]["kubeletVersion"]).into()
    }),
    column("Internal-IP", 1, "The first address of type InternalIP", |node, _| address(node, "InternalIP")),
    column("External-IP", 1, "The first address of type ExternalIP", |node, _| address(node, "ExternalIP")),
    column("OS-Image", 1, "OS image reported by the node", |node, _| info(node, "osImage")),
    column("Kernel-Version", 1, "Kernel version reported by the node", |node, _| info(node, "kernelVersion")),
    column("Container-Runtime", 1, "Container runtime reported by the node", |node, _| {
        info(node, "containerRuntimeVersion")
    }),
];

fn status(node: &Value) -> String {
    let ready = elements(&node["status"]["conditions"]).find(|condition| condition["type"] == "Ready");
    let mut words = vec![match ready.map(|condition| text(&condition["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if node["spec"]["unschedulable"] == json!(true) {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in meta::labels(node).into_iter().flatten() {
        match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.push(role),
            _ if key == "kubernetes.io/role" && !text(value).is_empty() => roles.push(text(value)),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn address(node: &Value, kind: &str) -> Value {
    let found = elements(&node["status"]["addresses"]).find(|address| address["type"] == kind);
    text_or(&found.map(|address| address["address"].clone()).unwrap_or_default(), "<none>")
}

fn info(node: &Value, field: &str) -> Value {
    text_or(&node["status"]["nodeInfo"][field], "<unknown>")
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in elements(&object["spec"]["taints"]).enumerate() {
        let field = format!("metadata.taints[{index}]");
        let (key, effect) = (text(&taint["key"]), text(&taint["effect"]));
        super::fields::report(&mut errors, &format!("{field}.key"), &taint["key"], &meta::qualified_name_problems(key));
        super::fields::report(
            &mut errors,
            &format!("{field}.value"),
            &taint["value"],
            &meta::label_value_problems(text(&taint["value"])),
        );
        if effect.is_empty() {
            errors.push(FieldError::required(format!("{field}.effect"), ""));
        } else {
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            one_of(&mut errors, &format!("{field}.effect"), &taint["effect"], &effects);
        }
        if seen.contains(&(key, effect)) {
            errors.push(FieldError::duplicate(field, taint));
        }
        seen.push((key, effect));
    }
    if let Some(old) = old {
        for (field, at, words) in [("podCIDR", "podCIDRs", "podCIDR"), ("providerID", "providerID", "providerID")] {
            let before = text(&old["spec"][field]);
            if !before.is_empty() && object["spec"][field] != old["spec"][field] {
                let why = format!("node updates may not change {words} except from \"\" to valid");
                errors.push(FieldError::forbidden(format!("spec.{at}"), &why));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_always_has_a_spec() {
        let mut node = json!({"metadata": {"name": "host-1"}});
        (descriptor().default)(&mut node);
        assert_eq!(node["spec"], json!({}));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let node = json!({
            "metadata": {
                "name": "host-1", "creationTimestamp": "1970-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/agent": "", "node-role.kubernetes.io/": "", "kubernetes.io/role": "x"},
            },
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian"},
            },
        });
        let row = table::row(&descriptor().into(), &node, table::IncludeObject::None, 60);
        let expected = json!([
            "host-1",
            "Ready,SchedulingDisabled",
            "agent,x",
            "60s",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "Debian",
            "<unknown>",
            "<unknown>",
        ]);
        assert_eq!(row["cells"], expected);
        let bare = table::row(&descriptor().into(), &json!({"metadata": {"name": "a"}}), table::IncludeObject::None, 0);
        assert_eq!(bare["cells"][1], "Unknown");
        assert_eq!(bare["cells"][2], "<none>");
    }

    #[test]
    fn what_a_node_has_got_once_stays() {
        let node = |id: &str| json!({"metadata": {"name": "a"}, "spec": {"providerID": id}});
        assert_eq!(validate(&node("x"), Some(&node(""))), []);
        let found = validate(&node("y"), Some(&node("x")));
        assert_eq!(found[0].message, "Forbidden: node updates may not change providerID except from \"\" to valid");
    }

    #[test]
    fn taints_are_checked_and_stand_once() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        let node =
            json!({"metadata": {"name": "a"}, "spec": {"taints": [taint, taint, {"key": "", "effect": "Never"}]}});
        let fields: Vec<String> = validate(&node, None).into_iter().map(|e| e.field).collect();
        let expected =
            ["metadata.taints[1]", "metadata.taints[2].key", "metadata.taints[2].key", "metadata.taints[2].effect"];
        assert_eq!(fields, expected);
    }
}

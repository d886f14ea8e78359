//! Nodes.

use super::{amounts, effect};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::api::resource::Quantity};
use kube::ResourceExt;
use orrery_api::{
    names::HostName,
    units::{InvalidQuantity, parse_quantity_milli},
};
use orrery_drs::{
    amounts::Amounts,
    view::{NodeView, Taint},
};
use std::collections::BTreeMap;

/// The node as the filters see it, without pods yet. None, with a line in the log, for one that no pod can go to because
/// its name is no host's or its amounts are malformed.
pub(crate) fn node_view(node: &Node) -> Option<NodeView> {
    let name = match HostName::new(node.name_any()) {
        Ok(name) => name,
        Err(error) => {
            tracing::warn!(node = node.name_any(), %error, "the node is passed over: its name is no host's");
            return None;
        }
    };
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    match (amounts(allocatable), pods(allocatable)) {
        (Ok(amounts), Ok(pods)) => Some(view(node, name, amounts, pods)),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(node = %name, %error, "the node is passed over: status.allocatable is malformed");
            None
        }
    }
}

fn pods(list: Option<&BTreeMap<String, Quantity>>) -> Result<u64, InvalidQuantity> {
    let Some(Quantity(text)) = list.and_then(|list| list.get("pods")) else { return Ok(0) };
    Ok(u64::try_from(parse_quantity_milli(text)? / 1000).unwrap_or(u64::MAX))
}

fn view(node: &Node, name: HostName, allocatable: Amounts, allocatable_pods: u64) -> NodeView {
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten().filter_map(|taint| {
        let value = taint.value.clone().unwrap_or_default();
        Some(Taint { key: taint.key.clone(), value, effect: effect(&taint.effect)? })
    });
    NodeView {
        name,
        labels: node.labels().clone(),
        taints: taints.collect(),
        unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
        allocatable,
        allocatable_pods,
        requested: Amounts::default(),
        pods: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::units::{Bytes, MilliCpu};
    use serde_json::json;

    fn read(object: serde_json::Value) -> Option<NodeView> {
        node_view(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_node_shows_its_room_its_labels_and_its_taints() {
        let view = read(json!({
            "metadata": {"name": "host-1", "labels": {"disk": "ssd"}},
            "spec": {"unschedulable": true, "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "3500m", "memory": "1Gi", "pods": "64", "example.com/card": "2"}},
        }))
        .unwrap();
        assert_eq!(view.name.as_str(), "host-1");
        assert_eq!((view.allocatable.cpu, view.allocatable.memory), (MilliCpu(3500), Bytes::mebibytes(1024)));
        assert_eq!((view.allocatable_pods, view.allocatable.other["example.com/card"]), (64, 2));
        assert!(view.unschedulable && view.taints.len() == 1 && view.labels.contains_key("disk"));
    }

    #[test]
    fn a_node_that_is_no_host_or_malformed_is_passed_over() {
        assert_eq!(read(json!({"metadata": {"name": "not.a.host"}})), None);
        let malformed = json!({"metadata": {"name": "host-1"}, "status": {"allocatable": {"cpu": "much"}}});
        assert_eq!(read(malformed), None);
    }
}

//! Pods.

use super::{amounts, effect};
use k8s_openapi::api::core::v1::{self as core, NodeSelectorRequirement, Pod, PodSpec};
use orrery_api::{
    names::{HostName, InvalidName},
    units::InvalidQuantity,
};
use orrery_drs::{
    amounts::{Amounts, InitRequests, effective_requests},
    view::{NodeTerm, Operator, PodView, Requirement, Toleration, Unsupported},
};

/// Why a pod cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPod {
    /// A request is no quantity.
    #[error("the pod's requests are malformed")]
    Quantity(#[from] InvalidQuantity),
    /// It names a node that is no host.
    #[error("the pod's spec.nodeName is malformed")]
    NodeName(#[from] InvalidName),
}

/// The pod as the filters see it.
///
/// # Errors
/// When the API server let something malformed pass.
pub fn pod_view(pod: &Pod) -> Result<PodView, InvalidPod> {
    let Some(spec) = &pod.spec else { return Ok(PodView::default()) };
    let node_affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = node_affinity.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
    let gates = spec.scheduling_gates.as_ref();
    Ok(PodView {
        requests: requests(spec)?,
        node_name: spec.node_name.as_ref().filter(|name| !name.is_empty()).map(HostName::new).transpose()?,
        node_selector: spec.node_selector.clone().unwrap_or_default(),
        node_affinity: required.map(|selector| selector.node_selector_terms.iter().map(term).collect()),
        tolerations: spec.tolerations.as_ref().map(|list| list.iter().map(toleration).collect()).unwrap_or_default(),
        gates: gates.map(|list| list.iter().map(|gate| gate.name.clone()).collect()).unwrap_or_default(),
        unsupported: unsupported(spec),
    })
}

/// Whether the pod has ended and holds nothing any more.
pub(crate) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn requests(spec: &PodSpec) -> Result<Amounts, InvalidQuantity> {
    let of = |container: &core::Container| amounts(container.resources.as_ref().and_then(|r| r.requests.as_ref()));
    let containers: Vec<Amounts> = spec.containers.iter().map(of).collect::<Result<_, _>>()?;
    let mut init = Vec::new();
    for container in spec.init_containers.iter().flatten() {
        let keeps_running = container.restart_policy.as_deref() == Some("Always");
        init.push(InitRequests { requests: of(container)?, keeps_running });
    }
    let mut total = effective_requests(&containers, &init, &Amounts::default());
    // What is asked for the pod as a whole stands in for the sum.
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let of_pod = amounts(whole)?;
    if whole.is_some_and(|list| list.contains_key("cpu")) {
        total.cpu = of_pod.cpu;
    }
    if whole.is_some_and(|list| list.contains_key("memory")) {
        total.memory = of_pod.memory;
    }
    total.add(&amounts(spec.overhead.as_ref())?);
    Ok(total)
}

fn term(term: &core::NodeSelectorTerm) -> NodeTerm {
    let list = |list: &Option<Vec<NodeSelectorRequirement>>| list.iter().flatten().map(requirement).collect();
    NodeTerm { labels: list(&term.match_expressions), fields: list(&term.match_fields) }
}

fn requirement(requirement: &NodeSelectorRequirement) -> Requirement {
    let values = || requirement.values.clone().unwrap_or_default();
    let bound = || match values().as_slice() {
        [only] => only.parse::<i64>().ok(),
        _ => None,
    };
    let operator = match requirement.operator.as_str() {
        "In" => Operator::In(values()),
        "NotIn" => Operator::NotIn(values()),
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => bound().map_or(Operator::Malformed, Operator::Gt),
        "Lt" => bound().map_or(Operator::Malformed, Operator::Lt),
        _ => Operator::Malformed,
    };
    Requirement { key: requirement.key.clone(), operator }
}

fn toleration(toleration: &core::Toleration) -> Toleration {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let value = match toleration.operator.as_deref() {
        Some("Exists") => None,
        _ => Some(toleration.value.clone().unwrap_or_default()),
    };
    Toleration { key: text(&toleration.key), value, effect: text(&toleration.effect).and_then(|name| effect(&name)) }
}

fn unsupported(spec: &PodSpec) -> Vec<Unsupported> {
    let some = |list: Option<usize>| list.is_some_and(|length| length > 0);
    let affinity = spec.affinity.as_ref();
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let near = near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let far = far.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let mut spread = spec.topology_spread_constraints.iter().flatten();
    let mut ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let table = [
        (Unsupported::PodAffinity, some(near.map(Vec::len))),
        (Unsupported::PodAntiAffinity, some(far.map(Vec::len))),
        (Unsupported::TopologySpread, spread.any(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")),
        (Unsupported::ResourceClaims, some(spec.resource_claims.as_ref().map(Vec::len))),
        (Unsupported::SchedulingGroup, spec.scheduling_group.is_some()),
        (Unsupported::HostPort, ports.any(|port| port.host_port.is_some_and(|port| port != 0))),
    ];
    table.into_iter().filter_map(|(what, asked)| asked.then_some(what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::units::{Bytes, MilliCpu};
    use orrery_drs::view::Effect;
    use serde_json::{Value, json};

    fn view(spec: &Value) -> Result<PodView, InvalidPod> {
        pod_view(&serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    fn asks(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn requests_count_init_containers_overhead_and_the_pod_as_a_whole() {
        let spec = json!({
            "containers": [asks("100m", "64Mi"), asks("200m", "64Mi")],
            "initContainers": [asks("1", "16Mi")],
            "overhead": {"memory": "32Mi"},
        });
        assert_eq!(view(&spec).unwrap().requests, Amounts::new(MilliCpu(1000), Bytes::mebibytes(160)));
        let spec = json!({"containers": [asks("1", "1Gi")], "resources": {"requests": {"cpu": "2"}}});
        assert_eq!(view(&spec).unwrap().requests, Amounts::new(MilliCpu(2000), Bytes::mebibytes(1024)));
        assert!(matches!(view(&json!({"containers": [asks("much", "1")]})), Err(InvalidPod::Quantity(_))));
    }

    #[test]
    fn tolerations_and_affinity_keep_their_meaning() {
        let view = view(&json!({
            "containers": [],
            "tolerations": [{"operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoExecute"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}],
                 "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["host-1"]}]}]}}},
        }))
        .unwrap();
        assert_eq!(view.tolerations[0], Toleration::default());
        assert_eq!(view.tolerations[1].effect, Some(Effect::NoExecute));
        assert_eq!(view.tolerations[1].value.as_deref(), Some("v"));
        let terms = view.node_affinity.unwrap();
        assert_eq!(terms[0].labels[0].operator, Operator::Gt(4));
        assert_eq!(terms[0].fields[0].operator, Operator::In(vec!["host-1".into()]));
    }

    #[test]
    fn everything_that_cannot_be_honoured_is_listed() {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z"}]});
        let spread = |when: &str| json!([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": when}]);
        let table = [
            (json!({"containers": [], "affinity": {"podAffinity": required}}), vec![Unsupported::PodAffinity]),
            (json!({"containers": [], "affinity": {"podAntiAffinity": required}}), vec![Unsupported::PodAntiAffinity]),
            (
                json!({"containers": [], "topologySpreadConstraints": spread("DoNotSchedule")}),
                vec![Unsupported::TopologySpread],
            ),
            (json!({"containers": [], "topologySpreadConstraints": spread("ScheduleAnyway")}), vec![]),
            (
                json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
                vec![Unsupported::HostPort],
            ),
            (json!({"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}), vec![]),
        ];
        for (spec, expected) in table {
            assert_eq!(view(&spec).unwrap().unsupported, expected, "{spec}");
        }
    }
}

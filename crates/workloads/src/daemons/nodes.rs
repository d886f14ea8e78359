//! Which nodes a daemon may run on, and how its pod is bound to one. Pure.

use super::object::DaemonSet;
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration,
};
use orrery_api::names::HostName;
use orrery_drs::{
    amounts::Amounts,
    filter::{self, Reason},
    view::{Effect, NodeView, Taint},
};
use orrery_reconcile::objects::{Node, Pod};

const NAME_FIELD: &str = "metadata.name";
/// What daemons bear: they are often what makes a node well again.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// How a node stands to a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is to run there.
    Runs,
    /// It may stay if it is there, because of a taint that keeps only new pods away.
    Stays,
    /// It may not be there.
    Not,
}

/// Whether the pods of `set` may run on `node`. What room there is is the scheduler's business.
pub(super) fn fit(set: &DaemonSet, node: &Node) -> Fit {
    let (Some(pod), Ok(name)) = (&set.pod, HostName::new(&node.meta.key.name)) else { return Fit::Not };
    let taint = |taint: &k8s_openapi::api::core::v1::Taint| {
        let effect = match taint.effect.as_str() {
            "NoSchedule" => Effect::NoSchedule,
            "NoExecute" => Effect::NoExecute,
            _ => return None,
        };
        Some(Taint { key: taint.key.clone(), value: taint.value.clone().unwrap_or_default(), effect })
    };
    let taints: Vec<Taint> = node.taints.iter().filter_map(taint).collect();
    let mut view = NodeView {
        name,
        labels: node.meta.labels.clone(),
        taints: Vec::new(),
        // Daemons run on cordoned nodes, too; the taint that says so is borne.
        unschedulable: false,
        allocatable: pod.requests.clone(),
        allocatable_pods: u64::MAX,
        requested: Amounts::default(),
        pods: 0,
    };
    if filter::check(pod, &view).is_err() {
        return Fit::Not;
    }
    let mut with = |taints: Vec<Taint>| {
        view.taints = taints;
        let checked = filter::check(pod, &view);
        !checked.is_err_and(|reasons| reasons.iter().any(|reason| matches!(reason, Reason::Taint { .. })))
    };
    if with(taints.clone()) {
        return Fit::Runs;
    }
    if with(taints.into_iter().filter(|taint| taint.effect == Effect::NoExecute).collect()) {
        Fit::Stays
    } else {
        Fit::Not
    }
}

/// Adds what daemons bear.
pub(super) fn tolerations(spec: &mut PodSpec) {
    let network = spec.host_network.unwrap_or_default().then_some(NETWORK);
    let list = spec.tolerations.get_or_insert_default();
    for (key, effect) in BORNE.into_iter().chain(network) {
        let borne = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        list.retain(|one| !(one.key == borne.key && one.effect == borne.effect && one.operator == borne.operator));
        list.push(borne);
    }
}

/// Has the scheduler bind the pod to `node` and no other.
pub(super) fn bind(spec: &mut PodSpec, node: &str) {
    tolerations(spec);
    let here = NodeSelectorRequirement {
        key: NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let nodes: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    let required = nodes.required_during_scheduling_ignored_during_execution.get_or_insert_with(NodeSelector::default);
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![here.clone()]);
    }
}

/// The node that a pod is on or is to be bound to.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    pod.node.as_deref().or(pod.bound_to.as_deref())
}

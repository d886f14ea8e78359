//! The pure part of a scheduling cycle: filters before DRS is asked, checks after it has answered.

use super::{placer::Answers, pods::PendingPod};
use orrery_api::{
    inventory::{PlacementAnswer, PlacementRequest},
    names::HostName,
};
use orrery_drs::{
    filter::{Blocked, Reason, admissible, check, summary},
    view::NodeView,
};
use std::collections::BTreeMap;

/// A batch after the filters.
#[derive(Debug)]
pub(super) struct Filtered {
    /// Pods for which DRS has a choice to make, in order.
    pub(super) placeable: Vec<Placeable>,
    /// Pods for which there is none.
    pub(super) hopeless: Vec<(PendingPod, Outcome)>,
}

/// A pod that some nodes can take.
#[derive(Debug)]
pub(super) struct Placeable {
    pub(super) pod: PendingPod,
    pub(super) candidates: Vec<HostName>,
    /// Why each other node was rejected.
    pub(super) rejected: Vec<Vec<Reason>>,
}

/// What is to be done with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Bind it.
    Bind {
        /// To this host.
        host: HostName,
        /// Why DRS could not be asked, when the scheduler decided by itself, and why this host.
        alone: Option<DecidedAlone>,
    },
    /// It fits nowhere until something changes; the sentence says why.
    Unschedulable(String),
    /// Nodes would take it and DRS let none of their hosts; the sentence says why. What DRS knows changes without our
    /// seeing it.
    RejectedByDrs(String),
    /// Its gates hold it back.
    Gated(String),
    /// Others of its batch took the room that DRS saw: ask again.
    Stale,
}

/// A placement without DRS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecidedAlone {
    /// Why DRS was not asked.
    pub(super) why_alone: String,
    /// Why this host.
    pub(super) why_host: String,
}

/// Finds each pod's candidates.
pub(super) fn filter(nodes: &BTreeMap<HostName, NodeView>, batch: Vec<PendingPod>) -> Filtered {
    let mut filtered = Filtered { placeable: Vec::new(), hopeless: Vec::new() };
    for pod in batch {
        if let Err(blocked) = admissible(&pod.view) {
            let outcome = blocked_outcome(&blocked, nodes.len());
            filtered.hopeless.push((pod, outcome));
            continue;
        }
        let (mut candidates, mut rejected) = (Vec::new(), Vec::new());
        for (name, node) in nodes {
            match check(&pod.view, node) {
                Ok(()) => candidates.push(name.clone()),
                Err(reasons) => rejected.push(reasons),
            }
        }
        if candidates.is_empty() {
            let message = summary(rejected.iter().map(Vec::as_slice));
            filtered.hopeless.push((pod, Outcome::Unschedulable(message)));
        } else {
            filtered.placeable.push(Placeable { pod, candidates, rejected });
        }
    }
    filtered
}

fn blocked_outcome(blocked: &Blocked, nodes: usize) -> Outcome {
    match blocked {
        Blocked::Gated(_) => Outcome::Gated(blocked.to_string()),
        Blocked::Unsupported(_) => Outcome::Unschedulable(format!("0/{nodes} nodes are available: {blocked}.")),
    }
}

impl Placeable {
    /// The question to DRS.
    pub(super) fn request(&self) -> PlacementRequest {
        PlacementRequest {
            uid: self.pod.uid.clone(),
            name: format!("{}/{}", self.pod.namespace, self.pod.name),
            cpu_milli: self.pod.view.requests.cpu,
            memory_bytes: self.pod.view.requests.memory,
            candidates: self.candidates.iter().map(HostName::to_string).collect(),
        }
    }
}

/// Turns answers into outcomes. A host is taken only if the filters still agree once the pods before it have their room:
/// DRS knows hosts, not the limits of nodes. `answers` are those to `filtered.placeable`, in order.
pub(super) fn settle(
    filtered: Filtered,
    answers: Answers,
    mut nodes: BTreeMap<HostName, NodeView>,
) -> Vec<(PendingPod, Outcome)> {
    let mut settled = filtered.hopeless;
    for (placeable, answer) in filtered.placeable.into_iter().zip(answers.placements) {
        let outcome = settle_one(&placeable, &answer, answers.alone.as_deref(), &mut nodes);
        settled.push((placeable.pod, outcome));
    }
    settled
}

fn settle_one(
    placeable: &Placeable,
    answer: &PlacementAnswer,
    alone: Option<&str>,
    nodes: &mut BTreeMap<HostName, NodeView>,
) -> Outcome {
    let Some(host) = &answer.host else {
        let by_drs = [Reason::RejectedByDrs(answer.reason.clone())];
        let others = placeable.candidates.iter().map(|_| &by_drs[..]);
        return Outcome::RejectedByDrs(summary(placeable.rejected.iter().map(Vec::as_slice).chain(others)));
    };
    let Some(host) = placeable.candidates.iter().find(|name| name.as_str() == host) else { return Outcome::Stale };
    match nodes.get_mut(host) {
        Some(node) if check(&placeable.pod.view, node).is_ok() => {
            node.charge(&placeable.pod.view.requests);
            let alone = alone.map(|why| DecidedAlone { why_alone: why.to_owned(), why_host: answer.reason.clone() });
            Outcome::Bind { host: host.clone(), alone }
        }
        _ => Outcome::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::units::{Bytes, MilliCpu};
    use orrery_drs::{
        amounts::Amounts,
        view::{PodView, Unsupported},
    };

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn nodes(cpu: &[(&str, u64)]) -> BTreeMap<HostName, NodeView> {
        let node = |name: &str, cpu| NodeView {
            name: host(name),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            unschedulable: false,
            allocatable: Amounts::new(MilliCpu(cpu), Bytes(1000)),
            allocatable_pods: 10,
            requested: Amounts::default(),
            pods: 0,
        };
        cpu.iter().map(|(name, cpu)| (host(name), node(name, *cpu))).collect()
    }

    fn pod(uid: &str, cpu: u64) -> PendingPod {
        PendingPod {
            namespace: "demo".into(),
            name: uid.into(),
            uid: uid.into(),
            priority: 0,
            created: 0,
            view: PodView { requests: Amounts::new(MilliCpu(cpu), Bytes(1)), ..PodView::default() },
            scheduled: None,
        }
    }

    fn answer(uid: &str, host: Option<&str>) -> PlacementAnswer {
        PlacementAnswer { uid: uid.into(), host: host.map(str::to_owned), reason: "because".into() }
    }

    fn by_drs(placements: Vec<PlacementAnswer>) -> Answers {
        Answers { placements, alone: None }
    }

    fn outcomes(settled: Vec<(PendingPod, Outcome)>) -> Vec<Outcome> {
        settled.into_iter().map(|(_, outcome)| outcome).collect()
    }

    #[test]
    fn drs_is_asked_only_about_nodes_that_passed_and_a_pod_without_any_is_told_why() {
        let nodes = nodes(&[("a", 100), ("b", 1000)]);
        let filtered = filter(&nodes, vec![pod("small", 50), pod("big", 500), pod("huge", 5000)]);
        let candidates: Vec<_> = filtered.placeable.iter().map(|p| p.request().candidates).collect();
        assert_eq!(candidates, [vec!["a", "b"], vec!["b"]]);
        let message = "0/2 nodes are available: 2 Insufficient cpu.".to_owned();
        assert_eq!(outcomes(filtered.hopeless), [Outcome::Unschedulable(message)]);
    }

    #[test]
    fn what_drs_rejects_is_counted_beside_what_the_filters_rejected() {
        let nodes = nodes(&[("a", 100), ("b", 1000)]);
        let filtered = filter(&nodes, vec![pod("big", 500)]);
        let settled = settle(filtered, by_drs(vec![answer("big", None)]), nodes);
        let message = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were rejected by DRS (because).";
        assert_eq!(outcomes(settled), [Outcome::RejectedByDrs(message.to_owned())]);
    }

    #[test]
    fn an_answer_that_the_batch_has_used_up_or_that_is_no_candidate_is_asked_again() {
        let nodes = nodes(&[("a", 600)]);
        let filtered = filter(&nodes, vec![pod("p1", 500), pod("p2", 500), pod("p3", 50)]);
        let answers = vec![answer("p1", Some("a")), answer("p2", Some("a")), answer("p3", Some("elsewhere"))];
        let bound = Outcome::Bind { host: host("a"), alone: None };
        assert_eq!(outcomes(settle(filtered, by_drs(answers), nodes)), [bound, Outcome::Stale, Outcome::Stale]);
    }

    #[test]
    fn a_decision_without_drs_carries_both_reasons() {
        let nodes = nodes(&[("a", 600)]);
        let filtered = filter(&nodes, vec![pod("p1", 500)]);
        let answers = Answers { placements: vec![answer("p1", Some("a"))], alone: Some("no manager".into()) };
        let alone = DecidedAlone { why_alone: "no manager".into(), why_host: "because".into() };
        assert_eq!(outcomes(settle(filtered, answers, nodes)), [Outcome::Bind { host: host("a"), alone: Some(alone) }]);
    }

    #[test]
    fn a_blocked_pod_never_reaches_drs() {
        let nodes = nodes(&[("a", 600)]);
        let (mut gated, mut unsupported) = (pod("g", 1), pod("u", 1));
        gated.view.gates = vec!["wait".into()];
        unsupported.view.unsupported = vec![Unsupported::TopologySpread];
        let filtered = filter(&nodes, vec![gated, unsupported]);
        assert!(filtered.placeable.is_empty());
        let outcomes = outcomes(filtered.hopeless);
        assert!(matches!(&outcomes[0], Outcome::Gated(_)));
        let Outcome::Unschedulable(message) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert!(message.starts_with("0/1 nodes are available: the pod asks for topologySpread"), "{message}");
    }
}

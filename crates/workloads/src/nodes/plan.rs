//! Whether a node is silent and what follows from it. Pure.

use k8s_openapi::{
    api::core::v1::{NodeCondition, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// A node that did not renew its lease for so long is silent.
const SILENT_AFTER: Duration = Duration::from_secs(40);
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The conditions that only the node itself can know.
const NODES_OWN: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What is kept of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NodeState {
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) conditions: Vec<NodeCondition>,
    pub(super) taints: Vec<Taint>,
}

/// When each node was last heard of, by our clock.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    heard: BTreeMap<String, (Option<Timestamp>, Instant)>,
}

impl Hearing {
    /// The node's lease shows `renewed`; a change of it is a sign of life at `now`.
    pub(super) fn note(&mut self, node: &str, renewed: Option<Timestamp>, now: Instant) {
        match self.heard.get_mut(node) {
            Some((before, _)) if *before == renewed => {}
            Some(heard) => *heard = (renewed, now),
            None => drop(self.heard.insert(node.to_owned(), (renewed, now))),
        }
    }

    /// Whether nothing was heard of the node for too long.
    pub(super) fn is_silent(&self, node: &str, now: Instant) -> bool {
        self.heard.get(node).is_some_and(|(_, at)| now.duration_since(*at) >= SILENT_AFTER)
    }

    pub(super) fn keep_only(&mut self, known: impl Fn(&str) -> bool) {
        self.heard.retain(|node, _| known(node));
    }
}

/// What to write.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct NodePlan {
    /// All conditions, when some change.
    pub(super) conditions: Option<Vec<NodeCondition>>,
    /// All taints, when some change.
    pub(super) taints: Option<Vec<Taint>>,
}

/// A silent node's own conditions become unknown; the taints follow from `Ready`.
pub(super) fn plan(node: &NodeState, silent: bool, now: &Time) -> NodePlan {
    let mut conditions = node.conditions.clone();
    if silent {
        for type_ in NODES_OWN {
            make_unknown(&mut conditions, type_, now);
        }
    }
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").map(|c| c.status.as_str());
    let wanted = match ready {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    let mut taints = node.taints.clone();
    taints.retain(|taint| !is_ours(taint) || Some(taint.key.as_str()) == wanted);
    if let Some(key) = wanted.filter(|key| !taints.iter().any(|taint| is_ours(taint) && taint.key == *key)) {
        taints.push(Taint { key: key.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() });
    }
    NodePlan {
        conditions: (conditions != node.conditions).then_some(conditions),
        taints: (taints != node.taints).then_some(taints),
    }
}

fn is_ours(taint: &Taint) -> bool {
    taint.effect == "NoSchedule" && (taint.key == UNREACHABLE || taint.key == NOT_READY)
}

fn make_unknown(conditions: &mut Vec<NodeCondition>, type_: &str, now: &Time) {
    let present = conditions.iter_mut().find(|condition| condition.type_ == type_);
    let (reason, message) = match present {
        Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
    };
    let unknown = NodeCondition {
        type_: type_.to_owned(),
        status: "Unknown".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(now.clone()),
        last_heartbeat_time: None,
    };
    match present {
        Some(present) if present.status == "Unknown" => {}
        Some(present) => {
            *present = NodeCondition { last_heartbeat_time: present.last_heartbeat_time.clone(), ..unknown }
        }
        None => conditions.push(unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn node(ready: Option<&str>, taints: &[&str]) -> NodeState {
        let condition = |status: &str| NodeCondition {
            type_: "Ready".into(),
            status: status.into(),
            last_transition_time: Some(at(1)),
            ..NodeCondition::default()
        };
        let taint = |key: &&str| Taint { key: (*key).into(), effect: "NoSchedule".into(), ..Taint::default() };
        NodeState {
            uid: "u".into(),
            version: "1".into(),
            conditions: ready.map(condition).into_iter().collect(),
            taints: taints.iter().map(taint).collect(),
        }
    }

    fn keys(taints: Option<Vec<Taint>>) -> Option<Vec<String>> {
        taints.map(|list| list.into_iter().map(|taint| taint.key).collect())
    }

    #[test]
    fn taints_follow_ready_and_leave_those_of_others_alone() {
        let table: [(NodeState, Option<&[&str]>); 7] = [
            (node(Some("True"), &["dedicated"]), None),
            (node(Some("True"), &["dedicated", UNREACHABLE]), Some(&["dedicated"])),
            (node(Some("False"), &["dedicated"]), Some(&["dedicated", NOT_READY])),
            (node(Some("False"), &[NOT_READY, "dedicated"]), None),
            (node(Some("Unknown"), &[NOT_READY]), Some(&[UNREACHABLE])),
            (node(Some("Unknown"), &[UNREACHABLE]), None),
            (node(None, &[]), Some(&[UNREACHABLE])),
        ];
        for (state, expected) in table {
            let expected = expected.map(|list| list.iter().map(|key| (*key).to_owned()).collect());
            let plan = plan(&state, false, &at(2));
            assert_eq!(keys(plan.taints), expected, "{state:?}");
            assert_eq!(plan.conditions, None);
        }
    }

    #[test]
    fn a_silent_nodes_conditions_become_unknown_once() {
        let first = plan(&node(Some("True"), &[]), true, &at(2));
        let conditions = first.conditions.unwrap();
        assert_eq!(conditions.len(), 4);
        assert!(conditions.iter().all(|condition| condition.status == "Unknown"));
        assert_eq!(conditions[0].message.as_deref(), Some("Kubelet stopped posting node status."));
        assert_eq!(conditions[0].last_transition_time, Some(at(2)));
        assert_eq!(keys(first.taints), Some(vec![UNREACHABLE.to_owned()]));
        let again = NodeState { conditions, ..node(None, &[UNREACHABLE]) };
        assert_eq!(plan(&again, true, &at(3)), NodePlan::default());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_measured_from_when_a_renewal_was_seen() {
        let (mut hearing, start) = (Hearing::default(), Instant::now());
        let renewed = |second| Some(Timestamp::from_second(second).unwrap());
        hearing.note("a", renewed(1), start);
        let later = start + Duration::from_secs(39);
        assert!(!hearing.is_silent("a", later));
        hearing.note("a", renewed(1), later);
        assert!(hearing.is_silent("a", start + SILENT_AFTER), "the same renewal is no sign of life");
        hearing.note("a", renewed(2), later);
        assert!(!hearing.is_silent("a", start + SILENT_AFTER));
        hearing.keep_only(|_| false);
        assert!(!hearing.is_silent("a", start + SILENT_AFTER * 2), "an unknown node is not silent yet");
    }
}

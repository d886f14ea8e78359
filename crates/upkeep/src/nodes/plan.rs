//! Whether a node is silent and what follows from it. Pure.

use super::{NOT_READY, UNREACHABLE};
use k8s_openapi::{
    api::core::v1::{NodeCondition, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use orrery_reconcile::objects::{Node, Pod};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A node that did not renew its lease for so long is silent.
const SILENT_AFTER: Duration = Duration::from_secs(40);
/// How long it takes from one node that is made to lose its pods to the next.
const EXPEL_EVERY: Duration = Duration::from_secs(10);
/// The conditions that only the node itself can know.
const NODES_OWN: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// Conditions that keep pods away while they hold, and by which taint.
const PRESSURE: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

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

    /// Whether nothing was heard of the node for too long. One that was never heard of is not silent yet.
    pub(super) fn is_silent(&self, node: &str, now: Instant) -> bool {
        self.heard.contains_key(node) && self.silent_in(node, now).is_none()
    }

    /// How long until it counts as silent; none when it does.
    pub(super) fn silent_in(&self, node: &str, now: Instant) -> Option<Duration> {
        let (_, at) = self.heard.get(node)?;
        SILENT_AFTER.checked_sub(now.duration_since(*at)).filter(|left| !left.is_zero())
    }

    pub(super) fn forget(&mut self, node: &str) {
        self.heard.remove(node);
    }
}

/// Nodes lose their pods one after the other: if many seem ill at once, the fault may well be elsewhere.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.0.is_none_or(|last| now.duration_since(last) >= EXPEL_EVERY)
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.0 = Some(now);
    }
}

/// What to write.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct NodePlan {
    /// The conditions that change.
    pub(super) conditions: Option<Vec<NodeCondition>>,
    /// All taints, when some change.
    pub(super) taints: Option<Vec<Taint>>,
    /// Whether the taints make the node lose its pods.
    pub(super) expels: bool,
    /// Whether they are to, and may not yet.
    pub(super) waits: bool,
}

/// A silent node's own conditions become unknown; the taints follow from the conditions. A taint that makes pods go is
/// added only if `may_expel`.
pub(super) fn plan(node: &Node, silent: bool, may_expel: bool, now: &Time) -> NodePlan {
    let mut changed = Vec::new();
    if silent {
        changed.extend(NODES_OWN.iter().filter_map(|type_| unknown(node.condition(type_), type_, now)));
    }
    if !changed.is_empty() {
        return NodePlan { conditions: Some(changed), ..NodePlan::default() };
    }
    let ready = node.condition("Ready").map(|ready| ready.status.as_str());
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let mut waits = false;
    let unwell = match ready {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    if let Some(key) = unwell {
        wanted.push((key, "NoSchedule"));
        let expelled = node.taints.iter().any(|taint| taint.effect == "NoExecute" && is_ours(taint));
        // A node that never said anything has nothing to lose.
        if ready.is_some() && (may_expel || expelled) {
            wanted.push((key, "NoExecute"));
        }
        waits = ready.is_some() && !may_expel && !expelled;
    }
    let presses = |type_: &str| node.condition(type_).is_some_and(|condition| condition.status == "True");
    wanted.extend(PRESSURE.iter().filter(|(type_, _)| presses(type_)).map(|(_, key)| (*key, "NoSchedule")));
    if node.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let taints = with_taints(&node.taints, &wanted, now);
    let expels =
        taints.iter().any(|taint| taint.effect == "NoExecute" && is_ours(taint) && !node.taints.contains(taint));
    NodePlan { conditions: None, taints: (taints != node.taints).then_some(taints), expels, waits }
}

/// Those of others, and of ours exactly `wanted`.
fn with_taints(present: &[Taint], wanted: &[(&str, &str)], now: &Time) -> Vec<Taint> {
    let is = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let mut taints = present.to_vec();
    taints.retain(|taint| !is_ours(taint) || wanted.iter().any(|one| is(taint, one)));
    for one in wanted {
        if !taints.iter().any(|taint| is(taint, one)) {
            let time_added = (one.1 == "NoExecute").then(|| now.clone());
            taints.push(Taint { key: one.0.to_owned(), effect: one.1.to_owned(), value: None, time_added });
        }
    }
    taints
}

fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    let state = [NOT_READY, UNREACHABLE].contains(&key);
    match taint.effect.as_str() {
        "NoSchedule" => state || key == UNSCHEDULABLE || PRESSURE.iter().any(|(_, pressure)| *pressure == key),
        "NoExecute" => state,
        _ => false,
    }
}

/// The condition as it is to be, unless it is unknown already.
fn unknown(present: Option<&NodeCondition>, type_: &str, now: &Time) -> Option<NodeCondition> {
    let (reason, message) = match present {
        Some(present) if present.status == "Unknown" => return None,
        Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
    };
    Some(NodeCondition {
        type_: type_.to_owned(),
        status: "Unknown".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(now.clone()),
        last_heartbeat_time: None,
    })
}

/// The pods that say they are ready since before their node stopped being so.
pub(super) fn pods_to_mark<'a>(node: &Node, pods: &'a [Arc<Pod>]) -> Vec<&'a Pod> {
    let Some(ready) = node.condition("Ready").filter(|ready| ready.status != "True") else { return Vec::new() };
    let since = ready.last_transition_time.as_ref().map(|time| time.0);
    let before = |pod: &Pod| since.is_none_or(|since| pod.ready_since.is_none_or(|ready| ready <= since));
    pods.iter().map(|pod| &**pod).filter(|pod| pod.ready && pod.is_active() && before(pod)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::Meta;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn node(conditions: &[(&str, &str)], taints: &[(&str, &str)]) -> Node {
        let condition = |(type_, status): &(&str, &str)| NodeCondition {
            type_: (*type_).into(),
            status: (*status).into(),
            last_transition_time: Some(at(1)),
            ..NodeCondition::default()
        };
        let taint =
            |(key, effect): &(&str, &str)| Taint { key: (*key).into(), effect: (*effect).into(), ..Taint::default() };
        Node {
            meta: Meta::default(),
            unschedulable: false,
            taints: taints.iter().map(taint).collect(),
            conditions: conditions.iter().map(condition).collect(),
            heartbeat: None,
        }
    }

    fn keys(node: &Node, plan: &NodePlan) -> Vec<String> {
        let short = |taint: &Taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect);
        plan.taints.as_ref().unwrap_or(&node.taints).iter().map(short).collect()
    }

    #[test]
    fn taints_follow_conditions_and_leave_those_of_others_alone() {
        const AWAY: (&str, &str) = (UNREACHABLE, "NoSchedule");
        const OUT: (&str, &str) = (UNREACHABLE, "NoExecute");
        const OTHER: (&str, &str) = ("dedicated", "NoExecute");
        let (well, ill, gone) = (("Ready", "True"), ("Ready", "False"), ("Ready", "Unknown"));
        type Row<'a> = (Node, bool, &'a [&'a str]);
        let table: [Row<'_>; 8] = [
            (node(&[well], &[OTHER]), true, &["dedicated:NoExecute"]),
            (node(&[well], &[OTHER, AWAY, OUT]), true, &["dedicated:NoExecute"]),
            (node(&[ill], &[]), true, &["not-ready:NoSchedule", "not-ready:NoExecute"]),
            (node(&[ill], &[]), false, &["not-ready:NoSchedule"]),
            (node(&[gone], &[AWAY, OUT]), false, &["unreachable:NoSchedule", "unreachable:NoExecute"]),
            (node(&[ill], &[AWAY, OUT]), false, &["not-ready:NoSchedule", "not-ready:NoExecute"]),
            (node(&[], &[]), true, &["unreachable:NoSchedule"]),
            (node(&[well, ("DiskPressure", "True")], &[]), true, &["disk-pressure:NoSchedule"]),
        ];
        for (node, may_expel, expected) in table {
            let plan = plan(&node, false, may_expel, &at(2));
            assert_eq!(keys(&node, &plan), expected, "{node:?}");
            assert_eq!(plan.conditions, None);
        }
        let mut cordoned = node(&[well], &[]);
        cordoned.unschedulable = true;
        assert_eq!(keys(&cordoned, &plan(&cordoned, false, true, &at(2))), ["unschedulable:NoSchedule"]);
    }

    #[test]
    fn a_silent_nodes_conditions_become_unknown_once_and_then_it_is_tainted() {
        let first = plan(&node(&[("Ready", "True")], &[]), true, true, &at(2));
        let conditions = first.conditions.unwrap();
        assert_eq!((conditions.len(), first.taints), (4, None));
        assert!(conditions.iter().all(|condition| condition.status == "Unknown"));
        assert_eq!(conditions[0].message.as_deref(), Some("Kubelet stopped posting node status."));
        let next = Node { conditions, ..node(&[], &[]) };
        let second = plan(&next, true, true, &at(3));
        assert!(second.expels && second.conditions.is_none());
        assert_eq!(second.taints.as_ref().unwrap()[1].time_added, Some(at(3)));
        let settled = Node { taints: second.taints.unwrap(), ..next };
        assert_eq!(plan(&settled, true, false, &at(4)), NodePlan::default());
    }

    #[test]
    fn only_pods_that_were_ready_before_are_marked() {
        let pod = |ready, second| Arc::new(Pod { ready, ready_since: Some(at(second).0), ..Pod::default() });
        let pods = [pod(true, 0), pod(false, 0), pod(true, 5)];
        assert_eq!(pods_to_mark(&node(&[("Ready", "Unknown")], &[]), &pods), [&*pods[0]]);
        assert!(pods_to_mark(&node(&[("Ready", "True")], &[]), &pods).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_measured_from_when_a_renewal_was_seen() {
        let (mut hearing, start) = (Hearing::default(), Instant::now());
        let renewed = |second| Some(Timestamp::from_second(second).unwrap());
        hearing.note("a", renewed(1), start);
        let later = start + Duration::from_secs(39);
        assert_eq!(hearing.silent_in("a", later), Some(Duration::from_secs(1)));
        hearing.note("a", renewed(1), later);
        assert!(hearing.is_silent("a", start + SILENT_AFTER), "the same renewal is no sign of life");
        hearing.note("a", renewed(2), later);
        assert!(!hearing.is_silent("a", start + SILENT_AFTER));
        hearing.forget("a");
        assert!(!hearing.is_silent("a", start + SILENT_AFTER * 2), "an unknown node is not silent yet");
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_lose_their_pods_one_after_the_other() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert!(pace.is_free(start));
        pace.take(start);
        assert!(!pace.is_free(start + Duration::from_secs(9)));
        assert!(pace.is_free(start + EXPEL_EVERY));
    }
}

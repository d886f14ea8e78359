//! Which pods go first when there are too many. Pure.
//!
//! The order is upstream's (`pkg/controller/controller_utils.go`, `ActivePodsWithRanks`): what does no work goes before what
//! does, cheap before dear, crowded before lonely, young before old.

use k8s_openapi::jiff::Timestamp;
use orrery_reconcile::objects::Pod;
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// Set by people: pods of lower cost go first (<https://kubernetes.io/docs/reference/labels-annotations-taints/#pod-deletion-cost>).
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` of `pods` that are to be deleted at `now`. `related` are all pods of the same purpose (those of the other
/// replica sets of a deployment, too): of a crowded node rather one goes than of another.
pub(crate) fn to_delete(pods: &[Arc<Pod>], related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    if count >= pods.len() {
        return pods.to_vec();
    }
    let mut crowd: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.iter().filter(|pod| pod.is_active()) {
        *crowd.entry(pod.node.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let rank = |pod: &Pod| {
        (
            pod.node.is_some(),
            // Pending < Unknown < Running
            pod.phase,
            pod.ready,
            cost(pod),
            Reverse(crowd.get(pod.node.as_deref().unwrap_or_default()).copied().unwrap_or_default()),
            // Ready for a shorter time goes first, compared by orders of magnitude so that age alone decides little.
            pod.ready.then(|| magnitude(pod.ready_since, now)),
            Reverse(pod.most_restarts),
            magnitude(pod.meta.created, now),
        )
    };
    let mut sorted: Vec<&Arc<Pod>> = pods.iter().collect();
    sorted.sort_by_cached_key(|pod| (rank(pod), pod.meta.uid.clone()));
    sorted.into_iter().take(count).cloned().collect()
}

fn cost(pod: &Pod) -> i32 {
    pod.annotations.get(DELETION_COST).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// How long ago, as a power of two of seconds; what has no time is youngest.
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let seconds = since.map_or(0, |since| now.duration_since(since).as_secs());
    u64::try_from(seconds).map_or(0, |seconds| seconds.checked_ilog2().map_or(0, |log| log + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{ObjectKey, Uid, objects::Phase};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(name: &str, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
        let mut pod = Pod { node: Some("host-1".into()), phase: Phase::Running, ready: true, ..Pod::default() };
        pod.ready_since = Some(at(0));
        pod.meta.created = Some(at(0));
        pod.meta.key = ObjectKey::new("demo", name);
        pod.meta.uid = Uid(name.into());
        change(&mut pod);
        Arc::new(pod)
    }

    #[test]
    fn idle_before_working_cheap_before_dear_crowded_before_lonely_young_before_old() {
        let ranked = [
            pod("unbound", |pod| (pod.node, pod.phase, pod.ready) = (None, Phase::Pending, false)),
            pod("pending", |pod| (pod.phase, pod.ready) = (Phase::Pending, false)),
            pod("unknown", |pod| (pod.phase, pod.ready) = (Phase::Unknown, false)),
            pod("not-ready", |pod| pod.ready = false),
            pod("cheap", |pod| drop(pod.annotations.insert(DELETION_COST.into(), "-1".into()))),
            pod("lately-ready", |pod| pod.ready_since = Some(at(900))),
            pod("restarted", |pod| pod.most_restarts = 3),
            pod("young", |pod| pod.meta.created = Some(at(900))),
            pod("old", |_| {}),
            pod("lonely", |pod| pod.node = Some("host-2".into())),
            pod("dear", |pod| drop(pod.annotations.insert(DELETION_COST.into(), "1".into()))),
        ];
        let mut shuffled = ranked.to_vec();
        shuffled.reverse();
        for count in 0..=ranked.len() {
            let chosen = to_delete(&shuffled, &shuffled, count, at(1000));
            let mut names: Vec<&str> = chosen.iter().map(|pod| pod.meta.key.name.as_str()).collect();
            let mut expected: Vec<&str> = ranked[..count].iter().map(|pod| pod.meta.key.name.as_str()).collect();
            names.sort_unstable();
            expected.sort_unstable();
            assert_eq!(names, expected, "{count}");
        }
    }
}

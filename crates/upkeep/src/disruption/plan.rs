//! The numbers of a budget. Pure.

use super::object::{Bound, Budget, BudgetStatus};
use k8s_openapi::{
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
    jiff::Timestamp,
};
use orrery_reconcile::objects::Pod;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A pod that was to be evicted and is still there after so long is not going to be.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(120);

/// How many pods there are to be, and how many of them must be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Expected {
    pub(super) pods: i32,
    pub(super) healthy: i32,
}

/// Names of pods that nobody manages.
pub(super) fn unmanaged(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().filter(|pod| pod.meta.controller().is_none()).map(|pod| pod.meta.key.name.as_str()).collect()
}

/// `scales` says how many pods each of their controllers is to have.
pub(super) fn expected(budget: &Budget, pods: &[Arc<Pod>], scales: &BTreeMap<String, i32>) -> Expected {
    let total: i32 = scales.values().sum();
    let there = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    match &budget.bound {
        None => Expected { pods: there, healthy: 0 },
        Some(Bound::MinAvailable(IntOrString::Int(number))) => Expected { pods: there, healthy: *number },
        Some(Bound::MinAvailable(share)) => Expected { pods: total, healthy: scaled(share, total) },
        Some(Bound::MaxUnavailable(share)) => Expected { pods: total, healthy: (total - scaled(share, total)).max(0) },
    }
}

/// A share is rounded up.
fn scaled(value: &IntOrString, total: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or_default();
            let product = percent.saturating_mul(i64::from(total));
            i32::try_from(product.div_euclid(100) + i64::from(product.rem_euclid(100) > 0)).unwrap_or(i32::MAX)
        }
    }
}

/// The status, and when a pod that was to be evicted is to be looked at again.
pub(super) fn status(
    budget: &Budget,
    pods: &[Arc<Pod>],
    expected: &Expected,
    failure: Option<&str>,
    now: Timestamp,
) -> (BudgetStatus, Option<Duration>) {
    let old = &budget.status;
    let mut recheck: Option<Duration> = None;
    let mut disrupted = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.meta.deleting.is_none()) {
        let Some(since) = old.disrupted.get(&pod.meta.key.name) else { continue };
        let passed = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
        if let Some(left) = EVICTION_TIMEOUT.checked_sub(passed).filter(|left| !left.is_zero()) {
            disrupted.insert(pod.meta.key.name.clone(), *since);
            recheck = Some(recheck.map_or(left, |other| other.min(left)));
        }
    }
    let well =
        |pod: &&Arc<Pod>| pod.ready && pod.meta.deleting.is_none() && !disrupted.contains_key(&pod.meta.key.name);
    let mut status = BudgetStatus {
        healthy: i32::try_from(pods.iter().filter(well).count()).unwrap_or(i32::MAX),
        desired: expected.healthy,
        expected: expected.pods,
        allowed: 0,
        observed: budget.meta.generation,
        disrupted,
        conditions: old.conditions.clone(),
    };
    if expected.pods > 0 {
        status.allowed = (status.healthy - status.desired).max(0);
    }
    let (value, reason, message) = match failure {
        Some(failure) => {
            // What cannot be counted allows nothing; the rest is left as it was.
            let old = old.clone();
            status = BudgetStatus { allowed: 0, observed: budget.meta.generation, ..old };
            ("False", "SyncFailed", failure)
        }
        None if status.allowed > 0 => ("True", "SufficientPods", ""),
        None => ("False", "InsufficientPods", ""),
    };
    let before = old.conditions.iter().find(|condition| condition.type_ == "DisruptionAllowed");
    let since = before.filter(|before| before.status == value).map(|before| before.last_transition_time.clone());
    let said = Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(budget.meta.generation),
        last_transition_time: since.unwrap_or(Time(now)),
    };
    match status.conditions.iter_mut().find(|condition| condition.type_ == said.type_) {
        Some(present) => *present = said,
        None => status.conditions.push(said),
    }
    (status, recheck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{ObjectKey, Projected, Uid, owner_reference};
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "a literal reads best by value")]
    fn budget(spec: Value) -> Budget {
        let mut object = json!({"metadata": {"name": "b", "generation": 2}, "spec": {"selector": {}}});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Budget::project(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        let pod = |index: usize| {
            let mut pod = Pod { ready: index < ready, ..Pod::default() };
            pod.meta.key = ObjectKey::new("demo", format!("p{index}"));
            pod.meta.owners = vec![owner_reference("apps/v1", "ReplicaSet", "rs", &Uid("rs".into()))];
            Arc::new(pod)
        };
        (0..ready + unready).map(pod).collect()
    }

    #[test]
    fn what_may_go_is_what_is_well_above_what_must_be() {
        let scales = BTreeMap::from([("rs".to_owned(), 7)]);
        // (bound, ready, not ready) -> (expected, desired, allowed)
        let table = [
            (json!({"minAvailable": 2}), 3, 1, (4, 2, 1)),
            (json!({"minAvailable": 5}), 3, 1, (4, 5, 0)),
            (json!({"minAvailable": "50%"}), 7, 0, (7, 4, 3)),
            (json!({"maxUnavailable": 1}), 7, 0, (7, 6, 1)),
            (json!({"maxUnavailable": 1}), 6, 1, (7, 6, 0)),
            (json!({"maxUnavailable": "30%"}), 7, 0, (7, 4, 3)),
            (json!({"maxUnavailable": "100%"}), 2, 0, (7, 0, 2)),
            (json!({"minAvailable": 0}), 0, 0, (0, 0, 0)),
        ];
        for (spec, ready, unready, wanted) in table {
            let (budget, pods) = (budget(spec.clone()), pods(ready, unready));
            let counted = expected(&budget, &pods, &scales);
            let (status, _) = status(&budget, &pods, &counted, None, at(1));
            assert_eq!((status.expected, status.desired, status.allowed), wanted, "{spec}");
            assert_eq!(status.conditions[0].status, if wanted.2 > 0 { "True" } else { "False" }, "{spec}");
            assert_eq!(status.observed, 2);
        }
    }

    #[test]
    fn a_pod_that_is_being_evicted_is_not_well_until_it_is_given_up() {
        let mut budget = budget(json!({"minAvailable": 1}));
        budget.status.disrupted = BTreeMap::from([("p0".to_owned(), at(100)), ("gone".to_owned(), at(100))]);
        let (pods, counted) = (pods(2, 0), Expected { pods: 2, healthy: 1 });
        let (soon, recheck) = status(&budget, &pods, &counted, None, at(110));
        assert_eq!((soon.healthy, soon.allowed, recheck), (1, 0, Some(Duration::from_secs(110))));
        assert_eq!(soon.disrupted.len(), 1);
        let patch = soon.patch(Default::default(), &budget.status);
        assert_eq!(patch["status"]["disruptedPods"]["gone"], Value::Null);
        let (late, recheck) = status(&budget, &pods, &counted, None, at(300));
        assert_eq!((late.healthy, late.allowed, recheck, late.disrupted.len()), (2, 1, None, 0));
    }

    #[test]
    fn what_cannot_be_counted_allows_nothing() {
        let mut budget = budget(json!({"maxUnavailable": 1}));
        (budget.status.allowed, budget.status.healthy) = (3, 4);
        let (status, _) = status(&budget, &pods(4, 0), &Expected::default(), Some("no scale"), at(1));
        assert_eq!((status.allowed, status.healthy), (0, 4));
        assert_eq!(
            (status.conditions[0].reason.as_str(), status.conditions[0].message.as_str()),
            ("SyncFailed", "no scale")
        );
    }
}

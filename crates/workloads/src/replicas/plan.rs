//! How many pods to make, which to delete, and what to say. Pure.

use super::object::{ReplicaSet, ReplicaStatus};
use crate::pods::to_delete;
use k8s_openapi::{api::apps::v1::ReplicaSetCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use orrery_reconcile::{objects::Pod, set_condition};
use std::{sync::Arc, time::Duration};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// What could not be done, in the API's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    Create(String),
    Delete(String),
}

/// `pods` are those that the set owns; `related` those of its siblings, too.
pub(super) fn plan(set: &ReplicaSet, pods: &[Arc<Pod>], related: &[Arc<Pod>], burst: usize, now: Timestamp) -> Change {
    let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
    let wanted = usize::try_from(set.replicas).unwrap_or_default();
    match wanted.checked_sub(active.len()) {
        Some(0) => Change::Nothing,
        Some(missing) => Change::Create(missing.min(burst)),
        None => Change::Delete(to_delete(&active, related, (active.len() - wanted).min(burst), now)),
    }
}

/// The status of a set that owns `pods`. `controlled` are all pods with its reference, those that are going included.
pub(super) fn status(
    set: &ReplicaSet,
    pods: &[Arc<Pod>],
    controlled: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaStatus {
    let active: Vec<&Arc<Pod>> = pods.iter().filter(|pod| pod.is_active()).collect();
    let count =
        |is: &dyn Fn(&Pod) -> bool| i32::try_from(active.iter().filter(|pod| is(pod)).count()).unwrap_or(i32::MAX);
    let labels = |pod: &Pod| set.template_labels.iter().all(|(key, value)| pod.meta.labels.get(key) == Some(value));
    let going = controlled.iter().filter(|pod| pod.meta.deleting.is_some() && !pod.is_over()).count();
    let mut conditions = set.status.conditions.clone();
    match failure {
        Some(failure) => {
            let (reason, message) = match failure {
                Failure::Create(message) => ("FailedCreate", message),
                Failure::Delete(message) => ("FailedDelete", message),
            };
            // The first failure is told until it is over.
            if !conditions.iter().any(|condition| condition.type_ == REPLICA_FAILURE) {
                set_condition(&mut conditions, replica_failure(reason, message, now));
            }
        }
        None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
    }
    ReplicaStatus {
        replicas: count(&|_| true),
        fully_labeled: count(&labels),
        ready: count(&|pod| pod.ready),
        available: count(&|pod| pod.is_available(set.min_ready, now)),
        terminating: set.counts_terminating.then(|| i32::try_from(going).unwrap_or(i32::MAX)),
        observed: set.meta.generation,
        conditions,
    }
}

fn replica_failure(reason: &str, message: &str, now: Timestamp) -> ReplicaSetCondition {
    ReplicaSetCondition {
        type_: REPLICA_FAILURE.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(now)),
    }
}

/// When the next ready pod becomes available by time alone.
pub(super) fn next_available(set: &ReplicaSet, pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    pods.iter().filter(|pod| pod.is_active()).filter_map(|pod| pod.available_in(set.min_ready, now)).min()
}

#[cfg(test)]
mod tests;

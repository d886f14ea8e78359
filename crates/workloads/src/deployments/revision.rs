//! Revisions and the other annotations that a deployment writes on its sets. Pure.

use super::object::Deployment;
use crate::replicas::{LAST_APPLIED, ReplicaSet};
use std::collections::BTreeMap;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
/// The longest list of past revisions, in characters.
const MAX_HISTORY: usize = 2000;

/// The revision of a set; what bears none is oldest.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A number that was noted on a set.
pub(super) fn noted(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.annotations.get(annotation)?.parse().ok()
}

/// Has the set of the present template bear the deployment's annotations and `to` as its revision, if its own is lower.
/// An old revision that comes back, as by a rollback, is remembered.
pub(super) fn mark_newest(deployment: &Deployment, set: &mut ReplicaSet, to: i64) {
    for (key, value) in deployment.annotations.iter().filter(|(key, _)| !is_own(key)) {
        set.annotations.insert(key.clone(), value.clone());
    }
    let before = set.annotations.get(REVISION).cloned();
    if revision(set) >= to {
        return;
    }
    set.annotations.insert(REVISION.to_owned(), to.to_string());
    if let Some(before) = before {
        remember(&mut set.annotations, &before);
    }
}

fn remember(annotations: &mut BTreeMap<String, String>, revision: &str) {
    let mut past: Vec<&str> = annotations.get(HISTORY).map(|text| text.split(',').collect()).unwrap_or_default();
    past.retain(|one| !one.is_empty());
    past.push(revision);
    let length = |past: &[&str]| past.iter().map(|one| one.len() + 1).sum::<usize>() - 1;
    while past.len() > 1 && length(&past) > MAX_HISTORY {
        past.remove(0);
    }
    let text = past.join(",");
    annotations.insert(HISTORY.to_owned(), text);
}

/// Notes how many pods the deployment wants and how many there may be: proportional scaling compares with it later.
pub(super) fn note_size(deployment: &Deployment, set: &mut ReplicaSet) {
    set.annotations.insert(DESIRED.to_owned(), deployment.replicas.to_string());
    set.annotations.insert(MAX.to_owned(), (deployment.replicas + deployment.max_surge()).to_string());
}

/// Annotations that are the controller's or kubectl's and are not handed on.
fn is_own(key: &str) -> bool {
    [LAST_APPLIED, REVISION, HISTORY, DESIRED, MAX, ROLLBACK_TO].contains(&key)
}

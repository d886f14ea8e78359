//! The next step of a deployment. Pure.
//!
//! ```text
//! deleting            ──► publish counts
//! paused, or resized  ──► scale sets in proportion ──► publish counts
//! RollingUpdate       ──► set of the template there? no: make it
//!                         newest may grow?           yes: grow it
//!                         old may shrink?            yes: unhealthy ones first, then what availability allows
//!                         complete?                  yes: forget old history          ──► publish progress
//! Recreate            ──► shrink all old to nothing; wait for their pods; make and grow the newest ──► publish progress
//! ```

use super::{
    object::{Deployment, DeploymentStatus, Strategy},
    revision::{REVISION, revision},
    sets::{Draft, Sets},
    status::{self, PROGRESSING, condition, counts, during_rollout, is_complete, note_pause},
};
use crate::replicas::ReplicaSet;
use k8s_openapi::jiff::Timestamp;
use orrery_reconcile::{ObjectKey, Revision, Uid, find_condition, set_condition};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What to change on a set that is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SetChange {
    pub(super) key: ObjectKey,
    pub(super) uid: Uid,
    /// The change is refused when the set is not of this version any more.
    pub(super) version: Revision,
    /// From and to.
    pub(super) replicas: Option<(i32, i32)>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) min_ready_seconds: Option<i32>,
}

/// A set to make for the present template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewSet {
    pub(super) name: String,
    pub(super) hash: String,
    pub(super) replicas: i32,
    pub(super) annotations: BTreeMap<String, String>,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) create: Option<NewSet>,
    pub(super) change: Vec<SetChange>,
    pub(super) delete: Vec<(ObjectKey, Uid)>,
    /// The revision to write on the deployment, when it bears another.
    pub(super) revision: Option<String>,
    pub(super) status: DeploymentStatus,
    /// When to look again, if nothing happens until then.
    pub(super) again: Option<Duration>,
}

/// `sets` are those that the deployment owns; `old_pods` says of which of them pods are still there that have not ended.
pub(super) fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    has_pods: impl Fn(&Uid) -> bool,
    now: Timestamp,
) -> Plan {
    let mut sets = Sets::new(deployment, sets);
    let mut conditions = deployment.status.conditions.clone();
    if deployment.meta.deleting.is_some() {
        let status = counts(&sets, &conditions, now);
        return finish(&sets, status, now);
    }
    note_pause(deployment, &mut conditions, now);
    sets.sync_newest();
    if deployment.paused || sets.was_scaled() {
        sets.scale_all();
        if deployment.paused {
            sets.forget_history();
        }
        let status = counts(&sets, &conditions, now);
        return finish(&sets, status, now);
    }
    match deployment.strategy {
        Strategy::Rolling { .. } => {
            ensure_newest(&mut sets, &mut conditions, now);
            let moved = grow_newest(&mut sets) || shrink_old(&mut sets);
            if !moved && is_complete(deployment, &deployment.status) {
                sets.forget_history();
            }
        }
        Strategy::Recreate => recreate(&mut sets, &mut conditions, has_pods, now),
    }
    if deployment.progress_deadline.is_some()
        && find_condition(&conditions, PROGRESSING).is_none()
        && let Some(newest) = sets.newest()
    {
        let message = format!("Found new replica set {:?}", newest.meta.key.name);
        set_condition(&mut conditions, condition(PROGRESSING, "True", "FoundNewReplicaSet", &message, now));
    }
    let status = during_rollout(&sets, &conditions, now);
    finish(&sets, status, now)
}

fn ensure_newest(
    sets: &mut Sets<'_>,
    conditions: &mut Vec<k8s_openapi::api::apps::v1::DeploymentCondition>,
    now: Timestamp,
) {
    if sets.newest.is_some() {
        return;
    }
    sets.add_newest();
    if sets.deployment.progress_deadline.is_some() {
        let name = sets.newest().map_or("", |set| &set.meta.key.name);
        let message = format!("Created new replica set {name:?}");
        set_condition(conditions, condition(PROGRESSING, "True", "NewReplicaSetCreated", &message, now));
    }
}

/// Whether the newest set changed its size.
fn grow_newest(sets: &mut Sets<'_>) -> bool {
    let Some(index) = sets.newest else { return false };
    // One that is just being made has its first size.
    if sets.drafts[index].before.is_none() {
        return true;
    }
    let wanted = sets.deployment.replicas;
    let to = if sets.replicas(index) > wanted { wanted } else { sets.replicas_of_newest() };
    sets.scale(index, to)
}

/// Whether old sets changed their size.
fn shrink_old(sets: &mut Sets<'_>) -> bool {
    let old = sets.active_old();
    let Some(newest) = sets.newest.filter(|_| !old.is_empty()) else { return false };
    let min_available = sets.deployment.replicas - sets.deployment.max_unavailable();
    let newest_unavailable = sets.replicas(newest) - sets.available(newest);
    let may_go = sets.total() - min_available - newest_unavailable;
    if may_go <= 0 {
        return false;
    }
    let mut moved = shrink_unhealthy(sets, &old, may_go);
    let mut may_go = sets.total_available() - min_available;
    for index in old {
        let count = sets.replicas(index).min(may_go);
        if count > 0 {
            let to = sets.replicas(index) - count;
            moved |= sets.scale(index, to);
            may_go -= count;
        }
    }
    moved
}

/// Pods of old sets that are not available serve nobody: they go first.
fn shrink_unhealthy(sets: &mut Sets<'_>, old: &[usize], mut may_go: i32) -> bool {
    let mut moved = false;
    for index in old.iter().copied() {
        let unhealthy = sets.replicas(index) - sets.available(index);
        let count = unhealthy.min(may_go);
        if count > 0 {
            let to = sets.replicas(index) - count;
            moved |= sets.scale(index, to);
            may_go -= count;
        }
    }
    moved
}

fn recreate(
    sets: &mut Sets<'_>,
    conditions: &mut Vec<k8s_openapi::api::apps::v1::DeploymentCondition>,
    has_pods: impl Fn(&Uid) -> bool,
    now: Timestamp,
) {
    let active = sets.active_old();
    for index in &active {
        sets.scale(*index, 0);
    }
    let lingers = |index: &usize| {
        let set = &sets.drafts[*index].set;
        set.status.replicas > 0 || has_pods(&set.meta.uid)
    };
    if !active.is_empty() || sets.old().iter().any(lingers) {
        return;
    }
    ensure_newest(sets, conditions, now);
    if let Some(index) = sets.newest {
        sets.scale(index, sets.deployment.replicas);
    }
    if is_complete(sets.deployment, &sets.deployment.status) {
        sets.forget_history();
    }
}

/// From the working copy to what is to be written.
fn finish(sets: &Sets<'_>, status: DeploymentStatus, now: Timestamp) -> Plan {
    let deployment = sets.deployment;
    let bears = deployment.annotations.get(REVISION);
    let newest = sets.newest().map(|set| revision(set).to_string()).filter(|_| deployment.meta.deleting.is_none());
    Plan {
        create: sets.drafts.iter().find(|draft| draft.before.is_none()).map(|draft| NewSet {
            name: draft.name().to_owned(),
            hash: deployment.hash.clone(),
            replicas: draft.set.replicas,
            annotations: draft.set.annotations.clone(),
        }),
        change: sets.drafts.iter().filter(|draft| !draft.delete).filter_map(change).collect(),
        delete: sets
            .drafts
            .iter()
            .filter(|draft| draft.delete)
            .map(|draft| (draft.set.meta.key.clone(), draft.set.meta.uid.clone()))
            .collect(),
        revision: newest.filter(|newest| Some(newest) != bears),
        again: status::deadline_in(deployment, &status, now),
        status,
    }
}

fn change(draft: &Draft) -> Option<SetChange> {
    let before = draft.before.as_ref()?;
    let annotations = draft.set.annotations.iter().filter(|(key, value)| before.annotations.get(*key) != Some(value));
    let change = SetChange {
        key: draft.set.meta.key.clone(),
        uid: draft.set.meta.uid.clone(),
        version: before.meta.version,
        replicas: (before.replicas != draft.set.replicas).then_some((before.replicas, draft.set.replicas)),
        annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
        min_ready_seconds: draft.min_ready_seconds,
    };
    let something = change.replicas.is_some() || !change.annotations.is_empty() || change.min_ready_seconds.is_some();
    something.then_some(change)
}

#[cfg(test)]
mod tests;

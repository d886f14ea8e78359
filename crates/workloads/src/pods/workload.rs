//! What kinds of owners of pods have in common.

use super::Owner;
use orrery_reconcile::{Cache, ObjectKey, Projected, Queue, Selector, objects::Pod};
use std::sync::Arc;

/// A kind whose objects manage others by a selector.
pub(crate) trait Workload: Projected {
    const GROUP: &'static str;
    const API_VERSION: &'static str;
    const KIND: &'static str;

    /// What it claims.
    fn selector(&self) -> &Selector;

    /// Itself as an owner.
    fn owner(&self) -> Owner {
        let meta = self.meta();
        Owner { api_version: Self::API_VERSION, kind: Self::KIND, key: meta.key.clone(), uid: meta.uid.clone() }
    }
}

/// Has each workload looked at when it changes.
pub(crate) fn wake_on_own_change<W: Projected>(workloads: &Cache<W>, queue: &Arc<Queue>) {
    let queue = Arc::clone(queue);
    workloads.on_change(move |old, new| {
        if let Some(item) = new.or(old) {
            queue.add(item.meta().key.clone());
        }
    });
}

/// Has a workload looked at when one of its objects changes, or when one without controller appears that it may adopt.
pub(crate) fn wake_on_dependents<W: Workload, D: Projected>(
    dependents: &Cache<D>,
    workloads: &Cache<W>,
    queue: &Arc<Queue>,
) {
    let (queue, workloads) = (Arc::clone(queue), workloads.clone());
    dependents.on_change(move |old, new| {
        let owner = |item: Option<&D>| item.and_then(|item| item.meta().controller_key(W::GROUP, W::KIND));
        let (before, after) = (owner(old), owner(new));
        if let Some(key) = before.filter(|before| Some(before) != after.as_ref()) {
            queue.add(key);
        }
        if let Some(key) = after {
            queue.add(key);
        }
        let orphan = new.filter(|new| new.meta().controller().is_none() && new.meta().deleting.is_none());
        if let Some(orphan) = orphan {
            let meta = orphan.meta();
            for candidate in workloads.in_namespace(&meta.key.namespace) {
                if candidate.selector().matches_explicitly(&meta.labels) {
                    queue.add(candidate.meta().key.clone());
                }
            }
        }
    });
}

/// The pods that may be of interest to the workload: those it owns and those nobody does.
pub(crate) fn candidates(pods: &Cache<Pod>, owner: &Owner) -> Vec<Arc<Pod>> {
    dependents(pods, &owner.key, &owner.uid)
}

/// The dependents that may be of interest to an owner: those it owns and those nobody does.
pub(crate) fn dependents<D: Projected>(cache: &Cache<D>, key: &ObjectKey, uid: &orrery_reconcile::Uid) -> Vec<Arc<D>> {
    let mut all = cache.controlled_by(uid);
    all.extend(cache.without_controller(&key.namespace));
    all
}

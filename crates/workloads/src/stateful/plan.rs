//! The next steps of a stateful set. Pure.

use super::object::{StatefulSet, StatefulStatus, Strategy};
use crate::{deployments::of_total, history::REVISION_HASH};
use k8s_openapi::jiff::Timestamp;
use orrery_reconcile::objects::{Phase, Pod};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A pod to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewPod {
    pub(super) ordinal: i32,
    /// The name of the revision that it is of.
    pub(super) revision: String,
}

/// What to do.
#[derive(Debug, PartialEq, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<NewPod>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Those of the deleted that have ended and are made again.
    pub(super) recreate: Vec<Arc<Pod>>,
    pub(super) status: StatefulStatus,
    pub(super) again: Option<Duration>,
}

struct View<'a> {
    set: &'a StatefulSet,
    current: &'a str,
    update: &'a str,
    /// By number, those that are to be.
    wanted: BTreeMap<i32, Option<Arc<Pod>>>,
    /// Those whose number is not wanted, highest first.
    condemned: Vec<Arc<Pod>>,
    now: Timestamp,
}

fn is_well(pod: &Pod) -> bool {
    pod.phase == Phase::Running && pod.ready && pod.meta.deleting.is_none()
}

fn revision(pod: &Pod) -> &str {
    pod.meta.labels.get(REVISION_HASH).map_or("", String::as_str)
}

/// `current` and `update` are the names of the revisions that pods are of and become; `pods` those that the set owns.
pub(super) fn plan(set: &StatefulSet, current: &str, update: &str, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let mut wanted: BTreeMap<i32, Option<Arc<Pod>>> =
        (set.start..set.start + set.replicas).map(|n| (n, None)).collect();
    let mut condemned = BTreeMap::new();
    for pod in pods {
        let Some(ordinal) = set.ordinal_of(pod) else { continue };
        match wanted.get_mut(&ordinal) {
            Some(place) => *place = Some(Arc::clone(pod)),
            None => drop(condemned.insert(ordinal, Arc::clone(pod))),
        }
    }
    let condemned: Vec<Arc<Pod>> = condemned.into_values().rev().collect();
    let view = View { set, current, update, wanted, condemned, now };
    let mut plan = Plan { status: view.status(pods), ..Plan::default() };
    if set.meta.deleting.is_none() {
        let _done = view.fill(&mut plan) && view.shrink(&mut plan) && view.roll(&mut plan);
    }
    view.complete(&mut plan.status);
    let soon = pods.iter().filter(|pod| pod.is_active()).filter_map(|pod| pod.available_in(set.min_ready, now)).min();
    plan.again = soon;
    plan
}

impl View<'_> {
    fn is_available(&self, pod: &Pod) -> bool {
        is_well(pod) && pod.is_available(self.set.min_ready, self.now)
    }

    fn status(&self, pods: &[Arc<Pod>]) -> StatefulStatus {
        let count =
            |is: &dyn Fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|pod| is(pod)).count()).unwrap_or(i32::MAX);
        let of = |name: &str| count(&|pod| pod.meta.deleting.is_none() && revision(pod) == name);
        StatefulStatus {
            replicas: count(&|_| true),
            ready: count(&|pod| pod.phase == Phase::Running && pod.ready),
            available: count(&|pod| pod.phase == Phase::Running && pod.is_available(self.set.min_ready, self.now)),
            current: of(self.current),
            updated: of(self.update),
            current_revision: Some(self.current.to_owned()),
            update_revision: Some(self.update.to_owned()),
            observed: self.set.meta.generation,
            collisions: Some(self.set.status.collisions.unwrap_or_default()),
            conditions: self.set.status.conditions.clone(),
        }
    }

    /// Which revision a number that is missing gets.
    fn revision_for(&self, ordinal: i32) -> &str {
        let behind = match &self.set.strategy {
            Strategy::OnDelete => false,
            Strategy::Rolling { partition: Some(partition), .. } => ordinal < self.set.start + partition,
            Strategy::Rolling { partition: None, .. } => ordinal < self.set.start + self.set.status.current,
        };
        if behind { self.current } else { self.update }
    }

    /// Makes what is missing and replaces what has ended. Whether the rest may go on.
    fn fill(&self, plan: &mut Plan) -> bool {
        let ordered = !self.set.parallel;
        for (ordinal, pod) in &self.wanted {
            let waits = match pod {
                None => {
                    let revision = self.revision_for(*ordinal).to_owned();
                    plan.create.push(NewPod { ordinal: *ordinal, revision });
                    ordered
                }
                Some(pod) if pod.is_over() => {
                    if pod.meta.deleting.is_none() {
                        plan.delete.push(Arc::clone(pod));
                        plan.recreate.push(Arc::clone(pod));
                    }
                    ordered
                }
                Some(pod) => ordered && !self.is_available(pod),
            };
            if waits {
                return false;
            }
        }
        true
    }

    /// Deletes what is too much. Whether the rest may go on.
    fn shrink(&self, plan: &mut Plan) -> bool {
        let ordered = !self.set.parallel;
        let all = || self.wanted.values().flatten().chain(self.condemned.iter().rev());
        let first_unwell = all().find(|pod| !is_well(pod)).map(|pod| pod.meta.uid.clone());
        for pod in &self.condemned {
            if pod.meta.deleting.is_some() {
                if ordered {
                    return false;
                }
                continue;
            }
            // One that is not well may hold up the others, but not itself.
            if ordered && !self.is_available(pod) && first_unwell.as_ref() != Some(&pod.meta.uid) {
                return false;
            }
            plan.delete.push(Arc::clone(pod));
            if ordered {
                return false;
            }
        }
        true
    }

    /// Replaces pods of other revisions, highest number first.
    fn roll(&self, plan: &mut Plan) -> bool {
        let Strategy::Rolling { partition, unavailable } = &self.set.strategy else { return true };
        let least = self.set.start + partition.unwrap_or_default();
        let at_once = of_total(unavailable, self.set.replicas, true).max(1);
        let present = || self.wanted.iter().rev().filter_map(|(ordinal, pod)| Some((*ordinal, pod.as_ref()?)));
        let mut missing = i32::try_from(self.wanted.values().filter(|pod| pod.is_none()).count()).unwrap_or(i32::MAX);
        for (_, pod) in present().filter(|(ordinal, _)| *ordinal >= least) {
            if revision(pod) != self.update && pod.meta.deleting.is_none() && !pod.is_over() {
                plan.delete.push(Arc::clone(pod));
                plan.status.current -= i32::from(revision(pod) == self.current);
                missing += 1;
            } else if !self.is_available(pod) {
                missing += 1;
            }
            if missing >= at_once {
                return false;
            }
        }
        true
    }

    /// Once everything is of the newest revision and well, it is the current one.
    fn complete(&self, status: &mut StatefulStatus) {
        let wanted = self.set.replicas;
        let rolling = matches!(self.set.strategy, Strategy::Rolling { .. });
        if rolling && (status.updated, status.replicas, status.ready) == (wanted, wanted, wanted) {
            status.current_revision.clone_from(&status.update_revision);
            status.current = status.updated;
        }
    }
}

#[cfg(test)]
mod tests;

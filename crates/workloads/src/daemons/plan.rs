//! Which pods to make and to delete. Pure.

use super::{
    nodes::{Fit, fit, node_of},
    object::{DaemonSet, DaemonStatus, Strategy},
};
use crate::{deployments::of_total, history::REVISION_HASH};
use k8s_openapi::jiff::Timestamp;
use orrery_reconcile::objects::{Node, Phase, Pod};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The most pods that are made or deleted in one go.
const BURST: usize = 250;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(900);

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The nodes to make a pod for.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Those of the deleted that had failed, and on which node.
    pub(super) failed: Vec<(Arc<Pod>, String)>,
    pub(super) status: DaemonStatus,
    pub(super) again: Option<Duration>,
}

/// How long a set waits with the next pod on a node where `count` have failed.
pub(super) fn backoff(count: u32, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let wait = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(count.saturating_sub(1))).min(LONGEST_BACKOFF);
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    wait.checked_sub(passed).filter(|left| !left.is_zero())
}

/// `pods` are those that the set owns, `hash` says which of them are of the present template, and `waits` how long a node
/// is let alone because pods failed there.
pub(super) fn plan(
    set: &DaemonSet,
    hash: &str,
    nodes: &[Arc<Node>],
    pods: &[Arc<Pod>],
    waits: impl Fn(&str) -> Option<Duration>,
    now: Timestamp,
) -> Plan {
    let mut by_node: BTreeMap<&str, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        by_node.entry(node_of(pod).unwrap_or_default()).or_default().push(Arc::clone(pod));
    }
    for list in by_node.values_mut() {
        list.sort_by_key(|pod| (pod.meta.created, pod.meta.key.clone()));
    }
    let fits: BTreeMap<&str, Fit> = nodes.iter().map(|node| (node.meta.key.name.as_str(), fit(set, node))).collect();
    let status = status(set, hash, &fits, &by_node, now);
    let mut plan = Plan { create: Vec::new(), delete: Vec::new(), failed: Vec::new(), status, again: None };
    for (node, fit) in &fits {
        plan.look_at(set, hash, node, *fit, by_node.get(node).map_or(&[], Vec::as_slice), &waits);
    }
    // A pod that never was bound and whose node is gone will never be.
    let lost = pods.iter().filter(|pod| pod.node.is_none() && pod.meta.deleting.is_none());
    plan.delete.extend(lost.filter(|pod| node_of(pod).is_none_or(|node| !fits.contains_key(node))).cloned());
    if plan.create.is_empty() && plan.delete.is_empty() {
        roll(set, hash, &fits, &by_node, &mut plan, now);
    }
    plan.create.truncate(BURST);
    plan.delete.truncate(BURST);
    let soon = pods.iter().filter(|pod| pod.is_active()).filter_map(|pod| pod.available_in(set.min_ready, now)).min();
    plan.again = plan.again.into_iter().chain(soon).min();
    plan
}

impl Plan {
    /// What is wrong on one node.
    fn look_at(
        &mut self,
        set: &DaemonSet,
        hash: &str,
        node: &str,
        fit: Fit,
        pods: &[Arc<Pod>],
        waits: &impl Fn(&str) -> Option<Duration>,
    ) {
        let staying: Vec<&Arc<Pod>> = pods.iter().filter(|pod| pod.meta.deleting.is_none()).collect();
        match fit {
            Fit::Not => self.delete.extend(staying.into_iter().cloned()),
            Fit::Runs if pods.is_empty() => self.create.push(node.to_owned()),
            Fit::Runs | Fit::Stays => {
                let (over, running): (Vec<_>, Vec<_>) = staying.into_iter().partition(|pod| pod.is_over());
                for pod in over {
                    if pod.phase == Phase::Failed {
                        if let Some(wait) = waits(node) {
                            self.again = Some(self.again.map_or(wait, |again| again.min(wait)));
                            continue;
                        }
                        self.failed.push((Arc::clone(pod), node.to_owned()));
                    }
                    self.delete.push(Arc::clone(pod));
                }
                self.thin_out(set, hash, &running);
            }
        }
    }

    /// One pod on a node is enough; while surging one old and one new.
    fn thin_out(&mut self, set: &DaemonSet, hash: &str, running: &[&Arc<Pod>]) {
        let surges = matches!(&set.strategy, Strategy::Rolling { surge, .. } if of_total(surge, 100, true) > 0);
        if !surges {
            self.delete.extend(running.iter().skip(1).map(|pod| Arc::clone(pod)));
            return;
        }
        let (new, old): (Vec<_>, Vec<_>) = running.iter().partition(|pod| is_new(pod, hash));
        for list in [new, old] {
            self.delete.extend(list.into_iter().skip(1).map(Arc::clone));
        }
    }
}

fn is_new(pod: &Pod, hash: &str) -> bool {
    pod.meta.labels.get(REVISION_HASH).is_some_and(|own| own == hash)
}

/// Replaces pods of older templates, within the bounds.
fn roll(
    set: &DaemonSet,
    hash: &str,
    fits: &BTreeMap<&str, Fit>,
    by_node: &BTreeMap<&str, Vec<Arc<Pod>>>,
    plan: &mut Plan,
    now: Timestamp,
) {
    let Strategy::Rolling { surge, unavailable } = &set.strategy else { return };
    let desired = fits.values().filter(|fit| **fit == Fit::Runs).count();
    let desired = i32::try_from(desired).unwrap_or(i32::MAX);
    let surge = of_total(surge, desired, true);
    let unavailable = of_total(unavailable, desired, true);
    let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
    let (mut at_once, mut candidates, mut used) = (Vec::new(), Vec::new(), 0);
    for node in fits.iter().filter(|(_, fit)| **fit == Fit::Runs).map(|(node, _)| *node) {
        let pods = by_node.get(node).map_or(&[] as &[Arc<Pod>], Vec::as_slice);
        let alive = || pods.iter().filter(|pod| pod.is_active());
        let (new, old) = (alive().find(|pod| is_new(pod, hash)), alive().find(|pod| !is_new(pod, hash)));
        let well = |pod: &Arc<Pod>| pod.is_available(set.min_ready, now);
        match (new, old) {
            (Some(new), Some(old)) if surge > 0 => {
                if well(new) {
                    plan.delete.push(Arc::clone(old));
                } else {
                    used += 1;
                }
            }
            (None, Some(old)) if !well(old) => at_once.push((node, Arc::clone(old))),
            (None, Some(old)) => candidates.push((node, Arc::clone(old))),
            (Some(new), None) if well(new) || surge > 0 => {}
            (Some(_) | None, _) => used += 1,
        }
    }
    let room = usize::try_from((if surge > 0 { surge } else { unavailable }) - used).unwrap_or_default();
    let chosen = at_once.into_iter().chain(candidates.into_iter().take(room));
    for (node, old) in chosen {
        if surge > 0 { plan.create.push(node.to_owned()) } else { plan.delete.push(old) }
    }
}

fn status(
    set: &DaemonSet,
    hash: &str,
    fits: &BTreeMap<&str, Fit>,
    by_node: &BTreeMap<&str, Vec<Arc<Pod>>>,
    now: Timestamp,
) -> DaemonStatus {
    let mut status = DaemonStatus {
        observed: set.meta.generation,
        collisions: set.status.collisions,
        conditions: set.status.conditions.clone(),
        ..DaemonStatus::default()
    };
    for (node, fit) in fits {
        let pods = by_node.get(node).map_or(&[] as &[Arc<Pod>], Vec::as_slice);
        let oldest = pods.iter().find(|pod| pod.is_active()).or(pods.first());
        match (fit, oldest) {
            (Fit::Runs, Some(oldest)) => {
                status.desired += 1;
                status.current += 1;
                status.ready += i32::from(oldest.ready);
                status.available += i32::from(oldest.is_available(set.min_ready, now));
                status.updated += i32::from(is_new(oldest, hash));
            }
            (Fit::Runs, None) => status.desired += 1,
            (Fit::Stays | Fit::Not, Some(_)) => status.misscheduled += 1,
            (Fit::Stays | Fit::Not, None) => {}
        }
    }
    status.unavailable = status.desired - status.available;
    status
}

#[cfg(test)]
mod tests;

//! When a pod that could not be placed is tried again.
//!
//! Never before its back-off has passed, which doubles with each attempt; after that, when something changed that could
//! make room, when the pod itself changed, or when it was left alone for long.

use super::pods::PendingPod;
use orrery_drs::view::PodView;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A parked pod is looked at after this time even if nothing seems to have changed.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// The pods that were tried before.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tried: BTreeMap<String, Tried>,
}

#[derive(Debug)]
struct Tried {
    attempts: u32,
    /// The pod as it was tried.
    view: PodView,
    /// What the cluster was like then; none when the pod is to be tried again whatever happens.
    version: Option<u64>,
    not_before: Instant,
    at_latest: Instant,
}

impl Queue {
    /// Whether `pod` is to be tried at `now`, when the cluster is of `version`.
    pub(super) fn is_due(&self, pod: &PendingPod, version: u64, now: Instant) -> bool {
        let Some(tried) = self.tried.get(&pod.uid) else { return true };
        if tried.view != pod.view {
            return true;
        }
        now >= tried.not_before && (tried.version != Some(version) || now >= tried.at_latest)
    }

    /// The pod fits nowhere in a cluster of `version`.
    pub(super) fn park(&mut self, pod: &PendingPod, version: u64, now: Instant) {
        self.put(pod, Some(version), now);
    }

    /// The pod is to be tried again soon.
    pub(super) fn back_off(&mut self, pod: &PendingPod, now: Instant) {
        self.put(pod, None, now);
    }

    /// The pod is placed.
    pub(super) fn forget(&mut self, uid: &str) {
        self.tried.remove(uid);
    }

    /// Forgets all pods but these.
    pub(super) fn keep_only(&mut self, pods: &[&PendingPod]) {
        if self.tried.is_empty() {
            return;
        }
        let uids: BTreeSet<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        self.tried.retain(|uid, _| uids.contains(uid.as_str()));
    }

    /// When a pod could become due by time alone.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let now = Instant::now();
        // A parked pod whose back-off has passed waits for a change or for its last moment.
        let wake = |tried: &Tried| if now < tried.not_before { tried.not_before } else { tried.at_latest };
        self.tried.values().map(wake).min()
    }

    fn put(&mut self, pod: &PendingPod, version: Option<u64>, now: Instant) {
        let attempts = self.tried.get(&pod.uid).map_or(0, |tried| tried.attempts);
        let backoff = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(attempts)).min(LONGEST_BACKOFF);
        let tried = Tried {
            attempts: attempts.saturating_add(1),
            view: pod.view.clone(),
            version,
            not_before: now + backoff,
            at_latest: now + LEFT_ALONE,
        };
        self.tried.insert(pod.uid.clone(), tried);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> PendingPod {
        PendingPod {
            namespace: "demo".into(),
            name: uid.into(),
            uid: uid.into(),
            priority: 0,
            created: 0,
            view: PodView::default(),
            scheduled: None,
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_pod_waits_for_its_backoff_and_then_for_a_change() {
        let (mut queue, start, pod) = (Queue::default(), Instant::now(), pod("a"));
        assert!(queue.is_due(&pod, 1, start));
        queue.park(&pod, 1, start);
        assert!(!queue.is_due(&pod, 2, start), "the back-off holds although the cluster changed");
        assert!(queue.is_due(&pod, 2, start + seconds(1)));
        assert!(!queue.is_due(&pod, 1, start + seconds(59)), "nothing changed");
        assert!(queue.is_due(&pod, 1, start + seconds(60)), "long enough");
        assert_eq!(queue.next_wake(), Some(start + seconds(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_changed_is_due_at_once() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let mut gated = pod("a");
        gated.view.gates = vec!["wait".into()];
        queue.park(&gated, 1, start);
        assert!(!queue.is_due(&gated, 1, start));
        assert!(queue.is_due(&pod("a"), 1, start));
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_doubles_up_to_its_end_and_a_failed_binding_needs_no_change() {
        let (mut queue, start, pod) = (Queue::default(), Instant::now(), pod("a"));
        for expected in [1, 2, 4, 8, 10, 10] {
            queue.back_off(&pod, start);
            assert!(!queue.is_due(&pod, 1, start + seconds(expected) - Duration::from_millis(1)));
            assert!(queue.is_due(&pod, 1, start + seconds(expected)));
        }
        queue.keep_only(&[]);
        assert_eq!(queue.next_wake(), None);
    }
}

//! Counting a job's pods, each of them exactly once. Pure.
//!
//! ```text
//! pod ends, finalizer on ──► its UID in status.uncountedTerminatedPods ──► finalizer off ──► counted, UID out of the list
//! ```
//!
//! Whatever step a crash follows, the pod is found either with its finalizer or with its UID in the list, and is not
//! counted twice. Of indexed jobs the succeeded indexes are a set, which needs no list.

use super::{
    indexes::Indexes,
    object::{Job, JobStatus},
    policy::{Verdict, has_failed, verdict},
};
use orrery_reconcile::objects::{Phase, Pod};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Keeps a pod until it is counted.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(super) const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
/// The most UIDs that the list takes; what is beyond is counted in the next round.
const MAX_UNCOUNTED: usize = 500;

/// What the pods come to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) active: Vec<Arc<Pod>>,
    pub(super) ready: i32,
    /// Being deleted and not ended.
    pub(super) terminating: i32,
    /// All that succeeded, counted or not; of indexed jobs the indexes.
    pub(super) succeeded: i32,
    /// All that failed, counted or not.
    pub(super) failed: i32,
    pub(super) succeeded_indexes: Indexes,
    pub(super) failed_indexes: Indexes,
    /// Of each index that is to be tried again the pod that failed last.
    pub(super) to_replace: BTreeMap<i32, Arc<Pod>>,
    /// Pods that have ended and are not in the list yet.
    pub(super) new_succeeded: Vec<Arc<Pod>>,
    pub(super) new_failed: Vec<Arc<Pod>>,
    /// Why the job is to fail, by its policy.
    pub(super) fails_job: Option<String>,
}

pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations.get(INDEX)?.parse().ok()
}

pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.meta.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

fn number(pod: &Pod, annotation: &str) -> i32 {
    pod.annotations.get(annotation).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// How often the pod's index failed before it, counted and ignored failures.
pub(super) fn failures_before(pod: &Pod) -> (i32, i32) {
    (number(pod, FAILURES), number(pod, IGNORED_FAILURES))
}

/// The status with those counted whose finalizer is off.
pub(super) fn settle(job: &Job, pods: &[Arc<Pod>]) -> JobStatus {
    let tracked: BTreeSet<&str> = pods.iter().filter(|pod| is_tracked(pod)).map(|pod| pod.meta.uid.as_str()).collect();
    let mut status = job.status.clone();
    let take = |set: &mut BTreeSet<String>| {
        let before = set.len();
        set.retain(|uid| tracked.contains(uid.as_str()));
        i32::try_from(before - set.len()).unwrap_or(i32::MAX)
    };
    let (succeeded, failed) = (take(&mut status.uncounted_succeeded), take(&mut status.uncounted_failed));
    if !job.indexed {
        status.succeeded += succeeded;
    }
    status.failed += failed;
    status
}

/// Counts `pods`; `status` is what [`settle`] made.
pub(super) fn tally(job: &Job, status: &JobStatus, pods: &[Arc<Pod>]) -> Tally {
    let limit = job.completions.unwrap_or_default();
    let mut tally = Tally {
        succeeded_indexes: Indexes::parse(&status.completed_indexes, limit),
        failed_indexes: Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), limit),
        ..Tally::default()
    };
    for pod in pods {
        tally.take(job, status, pod, limit);
    }
    let number = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
    tally.succeeded = if job.indexed {
        tally.succeeded_indexes.total()
    } else {
        status.succeeded + number(status.uncounted_succeeded.len()) + number(tally.new_succeeded.len())
    };
    let counts = |pod: &&Arc<Pod>| verdict(job, pod) != Verdict::Ignored;
    let new_failed = tally.new_failed.iter().filter(counts).count();
    tally.failed = status.failed + number(status.uncounted_failed.len()) + number(new_failed);
    tally
}

impl Tally {
    fn take(&mut self, job: &Job, status: &JobStatus, pod: &Arc<Pod>, limit: i32) {
        if pod.is_active() {
            self.active.push(Arc::clone(pod));
            self.ready += i32::from(pod.ready);
        }
        if pod.meta.deleting.is_some() && !pod.is_over() {
            self.terminating += 1;
        }
        let index = index_of(pod).filter(|index| (0..limit).contains(index));
        let known = !is_tracked(pod) || (job.indexed && index.is_none());
        let uid = &pod.meta.uid.0;
        if pod.phase == Phase::Succeeded {
            if !known && job.indexed {
                self.succeeded_indexes.insert(index.unwrap_or_default());
            } else if !known && !status.uncounted_succeeded.contains(uid) && !status.uncounted_failed.contains(uid) {
                self.new_succeeded.push(Arc::clone(pod));
            }
            return;
        }
        if !has_failed(job, pod) {
            return;
        }
        let verdict = verdict(job, pod);
        if let Verdict::FailsJob(message) = &verdict {
            self.fails_job.get_or_insert_with(|| message.clone());
        }
        if !known && !status.uncounted_failed.contains(uid) {
            self.new_failed.push(Arc::clone(pod));
        }
        if let (Some(limit), Some(index)) = (job.backoff_limit_per_index, index) {
            self.take_failed_index(pod, index, limit, &verdict);
        }
    }

    fn take_failed_index(&mut self, pod: &Arc<Pod>, index: i32, limit: i32, verdict: &Verdict) {
        let (counted, ignored) = failures_before(pod);
        let exhausted = match verdict {
            Verdict::FailsIndex => true,
            Verdict::Ignored => false,
            Verdict::Counts | Verdict::FailsJob(_) => counted >= limit,
        };
        if exhausted {
            self.failed_indexes.insert(index);
            return;
        }
        let before = self.to_replace.get(&index).map(|other| failures_before(other));
        if before.is_none_or(|(c, i)| c + i <= counted + ignored) {
            self.to_replace.insert(index, Arc::clone(pod));
        }
    }

    /// Drops what to replace where something runs, or all is decided.
    pub(super) fn forget_replaced(&mut self) {
        let running: BTreeSet<i32> = self.active.iter().filter_map(|pod| index_of(pod)).collect();
        let (succeeded, failed) = (&self.succeeded_indexes, &self.failed_indexes);
        self.to_replace
            .retain(|index, _| !running.contains(index) && !succeeded.contains(*index) && !failed.contains(*index));
    }
}

/// Puts what has ended into the status, and returns the pods whose finalizer may go once it is written. When the job is
/// `over`, every pod is counted: one that did not succeed counts as failed unless the job `succeeded`.
pub(super) fn record(
    job: &Job,
    tally: &Tally,
    status: &mut JobStatus,
    pods: &[Arc<Pod>],
    over: bool,
    succeeded: bool,
) -> Vec<Arc<Pod>> {
    let mut free = Vec::new();
    let limit = job.completions.unwrap_or_default();
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = &pod.meta.uid.0;
        let failed = has_failed(job, pod);
        let kept = tally.to_replace.values().any(|kept| kept.meta.uid == pod.meta.uid);
        if kept && !over && pod.meta.deleting.is_none() && job.meta.deleting.is_none() {
            // It carries the count of its index's failures until its successor does.
            continue;
        }
        if !(pod.is_over() || failed || over || job.meta.deleting.is_some()) {
            continue;
        }
        let counted = status.uncounted_succeeded.len() + status.uncounted_failed.len();
        let in_range = !job.indexed || index_of(pod).is_some_and(|index| (0..limit).contains(&index));
        if pod.phase == Phase::Succeeded {
            if !job.indexed && !status.uncounted_failed.contains(uid) && !status.uncounted_succeeded.contains(uid) {
                if counted >= MAX_UNCOUNTED {
                    continue;
                }
                status.uncounted_succeeded.insert(uid.clone());
            }
        } else if (failed || (over && !succeeded))
            && in_range
            && !status.uncounted_failed.contains(uid)
            && (verdict(job, pod) != Verdict::Ignored || !failed)
        {
            if counted >= MAX_UNCOUNTED {
                continue;
            }
            status.uncounted_failed.insert(uid.clone());
        }
        free.push(Arc::clone(pod));
    }
    if job.indexed {
        status.completed_indexes = tally.succeeded_indexes.to_string();
        status.succeeded = tally.succeeded_indexes.total();
        if job.backoff_limit_per_index.is_some() {
            status.failed_indexes = Some(tally.failed_indexes.to_string());
        }
    }
    free
}

//! Which pods a running job makes and which it deletes. Pure.

use super::{
    object::Job,
    policy::{Verdict, verdict},
    tally::{Tally, failures_before, index_of},
};
use crate::pods::to_delete;
use k8s_openapi::jiff::Timestamp;
use orrery_reconcile::objects::{Phase, Pod};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The most pods that are made or deleted in one go.
const BURST: usize = 500;
/// After a failure nothing is made for so long; twice as long after each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);

/// A pod to make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NewPod {
    pub(super) index: Option<i32>,
    /// How often its index failed before, counted and ignored failures; none when they are not counted.
    pub(super) failures: Option<(i32, i32)>,
}

/// What to make, what to delete, and when to look again because a back-off is over then.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fill {
    pub(super) create: Vec<NewPod>,
    pub(super) delete: Vec<Arc<Pod>>,
    pub(super) again: Option<Duration>,
}

/// `pods` are all of the job's.
pub(super) fn fill(job: &Job, tally: &Tally, pods: &[Arc<Pod>], now: Timestamp) -> Fill {
    let active = tally.active.len();
    let wanted = if job.suspended { 0 } else { wanted(job, tally) };
    let mut delete = superfluous(job, tally, active.saturating_sub(wanted), now);
    if !delete.is_empty() {
        delete.truncate(BURST);
        return Fill { delete, ..Fill::default() };
    }
    let going = if job.replaces_failed_only { usize::try_from(tally.terminating).unwrap_or_default() } else { 0 };
    let missing = wanted.saturating_sub(active + going).min(BURST);
    if missing == 0 {
        return Fill::default();
    }
    if job.backoff_limit_per_index.is_some() {
        return fill_indexes(job, tally, pods, missing, now);
    }
    if let Some(wait) = backoff(pods, now) {
        return Fill { again: Some(wait), ..Fill::default() };
    }
    let create = if job.indexed {
        let free = free_indexes(job, tally, pods).take(missing);
        free.map(|index| NewPod { index: Some(index), failures: None }).collect()
    } else {
        vec![NewPod::default(); missing]
    };
    Fill { create, ..Fill::default() }
}

fn wanted(job: &Job, tally: &Tally) -> usize {
    let wanted = match job.completions {
        // Once one has succeeded, the others are left to end and nothing new begins.
        None if tally.succeeded > 0 => {
            return tally.active.len().min(usize::try_from(job.parallelism).unwrap_or_default());
        }
        None => job.parallelism,
        Some(completions) => (completions - tally.succeeded).min(job.parallelism),
    };
    usize::try_from(wanted).unwrap_or_default()
}

/// At least `count` of the active pods; of indexed jobs also those whose index is taken, too high or none.
fn superfluous(job: &Job, tally: &Tally, count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    let mut delete = Vec::new();
    let mut rest = tally.active.clone();
    if job.indexed {
        let mut by_index: BTreeMap<Option<i32>, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in &tally.active {
            let index = index_of(pod).filter(|index| (0..job.completions.unwrap_or_default()).contains(index));
            by_index.entry(index).or_default().push(Arc::clone(pod));
        }
        for (index, pods) in by_index {
            let surplus = pods.len() - usize::from(index.is_some());
            delete.extend(to_delete(&pods, &pods, surplus, now));
        }
        rest.retain(|pod| !delete.iter().any(|gone| gone.meta.uid == pod.meta.uid));
    }
    let more = count.saturating_sub(delete.len());
    delete.extend(to_delete(&rest, &rest, more, now));
    delete
}

/// The lowest indexes that have neither succeeded nor failed and have no pod.
fn free_indexes<'a>(job: &'a Job, tally: &'a Tally, pods: &'a [Arc<Pod>]) -> impl Iterator<Item = i32> + 'a {
    let waits = |pod: &&Arc<Pod>| job.replaces_failed_only && pod.meta.deleting.is_some() && !pod.is_over();
    let going = pods.iter().filter(waits);
    let taken: std::collections::BTreeSet<i32> =
        tally.active.iter().chain(going).filter_map(|pod| index_of(pod)).collect();
    (0..job.completions.unwrap_or_default()).filter(move |index| {
        !taken.contains(index) && !tally.succeeded_indexes.contains(*index) && !tally.failed_indexes.contains(*index)
    })
}

/// Each index waits for its own failures.
fn fill_indexes(job: &Job, tally: &Tally, pods: &[Arc<Pod>], missing: usize, now: Timestamp) -> Fill {
    let mut fill = Fill::default();
    for index in free_indexes(job, tally, pods).take(missing) {
        let Some(failed) = tally.to_replace.get(&index) else {
            fill.create.push(NewPod { index: Some(index), failures: Some((0, 0)) });
            continue;
        };
        let (mut counted, mut ignored) = failures_before(failed);
        match verdict(job, failed) {
            Verdict::Ignored => ignored += 1,
            Verdict::Counts | Verdict::FailsIndex | Verdict::FailsJob(_) => counted += 1,
        }
        match remaining(counted + ignored, ended(failed), now) {
            None => fill.create.push(NewPod { index: Some(index), failures: Some((counted, ignored)) }),
            Some(wait) => fill.again = Some(fill.again.map_or(wait, |other| other.min(wait))),
        }
    }
    fill
}

/// How long nothing may be made because of failures since the last success.
fn backoff(pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let ended_as = |phase| pods.iter().filter(move |pod| pod.phase == phase).map(|pod| ended(pod));
    let success = ended_as(Phase::Succeeded).max();
    let failures: Vec<Option<Timestamp>> =
        ended_as(Phase::Failed).filter(|at| success.is_none_or(|success| *at > success)).collect();
    let last = failures.iter().max().copied().flatten();
    remaining(i32::try_from(failures.len()).unwrap_or(i32::MAX), last, now)
}

fn ended(pod: &Pod) -> Option<Timestamp> {
    pod.finished.or(pod.ready_since).or(pod.meta.deleting).or(pod.meta.created)
}

fn remaining(failures: i32, last: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let exponent = u32::try_from(failures).ok()?.checked_sub(1)?;
    let wait = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(exponent)).min(LONGEST_BACKOFF);
    let passed = Duration::try_from(now.duration_since(last?)).unwrap_or_default();
    wait.checked_sub(passed).filter(|left| !left.is_zero())
}

//! The next step of a job. Pure.
//!
//! ```text
//!                        ┌── too many failures, deadline, policy ──► FailureTarget ──┐
//! running ◄──► suspended │                                                          ├─ pods deleted and counted ─► Failed
//!    └───────────────────┴── enough successes, policy ──────► SuccessCriteriaMet ───┴─ ..........................► Complete
//! ```

use super::{
    fill::{Fill, NewPod, fill},
    object::{Job, JobStatus},
    policy::success,
    tally::{Tally, is_tracked, record, settle, tally},
};
use k8s_openapi::{api::batch::v1::JobCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use orrery_reconcile::{
    Tone,
    objects::{Phase, Pod},
};
use std::{sync::Arc, time::Duration};

const SUCCESS: &str = "SuccessCriteriaMet";
const FAILURE: &str = "FailureTarget";
const SUSPENDED: &str = "Suspended";

/// What to say of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) tone: Tone,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What to do, in this order.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) delete: Vec<Arc<Pod>>,
    pub(super) create: Vec<NewPod>,
    pub(super) status: JobStatus,
    /// Pods whose finalizer goes once the status is written.
    pub(super) free: Vec<Arc<Pod>>,
    pub(super) notes: Vec<Note>,
    /// When to look again, if nothing happens until then.
    pub(super) again: Option<Duration>,
}

/// `pods` are those that the job owns.
pub(super) fn plan(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let mut status = settle(job, pods);
    if status.started.is_none() && !job.suspended && job.meta.deleting.is_none() {
        status.started = Some(now);
    }
    let mut counts = tally(job, &status, pods);
    counts.forget_replaced();
    let mut notes = Vec::new();
    let mut again = None;
    let mut decided = target(&status).or_else(|| decide(job, &status, &counts, pods, now));
    let mut work = Fill::default();
    if decided.is_some() {
        work.delete.clone_from(&counts.active);
    } else if job.meta.deleting.is_none() {
        work = fill(job, &counts, pods, now);
        again = work.again;
        if work.create.is_empty() && is_complete(job, &counts) {
            decided =
                Some(target_condition(SUCCESS, "CompletionsReached", "Reached expected number of succeeded pods", now));
        } else {
            suspend(job, &mut status, &mut notes, now);
        }
        again = again.into_iter().chain(deadline_in(job, &status, now)).min();
    }
    let over = decided.is_some();
    let succeeded = decided.as_ref().is_some_and(|condition| condition.type_ == SUCCESS);
    let free = record(job, &counts, &mut status, pods, over, succeeded);
    let left = counts.active.len() - work.delete.len() + work.create.len();
    let ready_gone = work.delete.iter().filter(|pod| pod.ready).count();
    status.active = i32::try_from(left).unwrap_or(i32::MAX);
    status.ready = Some(counts.ready - i32::try_from(ready_gone).unwrap_or_default());
    let going = counts.terminating + i32::try_from(work.delete.len()).unwrap_or_default();
    status.terminating = Some(going);
    if let Some(decided) = decided {
        finish(job, &mut status, decided, pods, &mut notes, now);
    }
    Plan { delete: work.delete, create: work.create, status, free, notes, again }
}

/// What was decided before.
fn target(status: &JobStatus) -> Option<JobCondition> {
    status.condition(SUCCESS).or_else(|| status.condition(FAILURE)).cloned()
}

fn target_condition(type_: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Whether the job fails now, or has succeeded by its policy.
fn decide(job: &Job, status: &JobStatus, counts: &Tally, pods: &[Arc<Pod>], now: Timestamp) -> Option<JobCondition> {
    let fails = |reason: &str, message: &str| Some(target_condition(FAILURE, reason, message, now));
    if let Some(message) = &counts.fails_job {
        return fails("PodFailurePolicy", message);
    }
    if counts.failed > job.backoff_limit || restarts_too_often(job, pods) {
        return fails("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if !job.suspended && deadline_left(job, status, now).is_some_and(|left| left.is_zero()) {
        return fails("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    if !job.indexed {
        return None;
    }
    let completions = job.completions.unwrap_or_default();
    if job.backoff_limit_per_index.is_some() {
        let failed = counts.failed_indexes.total();
        if job.max_failed_indexes.is_some_and(|limit| failed > limit) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return fails("MaxFailedIndexesExceeded", message);
        }
        if failed > 0 && failed + counts.succeeded_indexes.total() >= completions {
            return fails("FailedIndexes", "Job has failed indexes");
        }
    }
    let message = success(job.success_policy.as_ref(), completions, &counts.succeeded_indexes)?;
    Some(target_condition(SUCCESS, "SuccessPolicy", &message, now))
}

/// Containers that are started again in place count against the limit as failed pods do.
fn restarts_too_often(job: &Job, pods: &[Arc<Pod>]) -> bool {
    if !job.restarts_on_failure {
        return false;
    }
    let alive = pods.iter().filter(|pod| matches!(pod.phase, Phase::Running | Phase::Pending));
    let restarts: i32 = alive.map(|pod| pod.restarts).sum();
    if job.backoff_limit == 0 { restarts > 0 } else { restarts >= job.backoff_limit }
}

fn deadline_left(job: &Job, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let (deadline, started) = (job.active_deadline?, status.started?);
    let passed = Duration::try_from(now.duration_since(started)).unwrap_or_default();
    Some(deadline.saturating_sub(passed))
}

fn deadline_in(job: &Job, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    deadline_left(job, status, now).filter(|_| !job.suspended)
}

fn is_complete(job: &Job, counts: &Tally) -> bool {
    let enough = job.completions.map_or(counts.succeeded > 0, |completions| counts.succeeded >= completions);
    enough && counts.active.is_empty()
}

/// Says that the job was suspended or resumed; time begins anew then.
fn suspend(job: &Job, status: &mut JobStatus, notes: &mut Vec<Note>, now: Timestamp) {
    let is = status.condition(SUSPENDED).is_some();
    if is == job.suspended {
        return;
    }
    let (value, reason, event, message) = if job.suspended {
        ("True", "JobSuspended", "Suspended", "Job suspended")
    } else {
        ("False", "JobResumed", "Resumed", "Job resumed")
    };
    let said = JobCondition { status: value.to_owned(), ..target_condition(SUSPENDED, reason, message, now) };
    status.conditions.retain(|condition| condition.type_ != SUSPENDED);
    status.conditions.push(said);
    notes.push(Note { tone: Tone::Normal, reason: event, message: message.to_owned() });
    if !job.suspended {
        status.started = Some(now);
    }
}

/// Puts what was decided into the conditions, and the end as soon as every pod has ended and is counted.
fn finish(
    job: &Job,
    status: &mut JobStatus,
    decided: JobCondition,
    pods: &[Arc<Pod>],
    notes: &mut Vec<Note>,
    now: Timestamp,
) {
    if status.condition(&decided.type_).is_none() {
        status.conditions.push(decided.clone());
    }
    let counted = status.uncounted_succeeded.is_empty() && status.uncounted_failed.is_empty();
    let ended = pods.iter().all(|pod| !is_tracked(pod) && pod.is_over()) || pods.is_empty();
    if !counted || !ended || job.finished().is_some() {
        return;
    }
    let success = decided.type_ == SUCCESS;
    let (reason, message) = (decided.reason.unwrap_or_default(), decided.message.unwrap_or_default());
    status.conditions.push(target_condition(if success { "Complete" } else { "Failed" }, &reason, &message, now));
    if success {
        status.completed = Some(now);
        notes.push(Note { tone: Tone::Normal, reason: "Completed", message: "Job completed".to_owned() });
    } else {
        notes.push(Note { tone: Tone::Warning, reason: known_reason(&reason), message });
    }
}

fn known_reason(reason: &str) -> &'static str {
    ["PodFailurePolicy", "BackoffLimitExceeded", "DeadlineExceeded", "MaxFailedIndexesExceeded", "FailedIndexes"]
        .into_iter()
        .find(|known| *known == reason)
        .unwrap_or("Failed")
}

#[cfg(test)]
mod tests;

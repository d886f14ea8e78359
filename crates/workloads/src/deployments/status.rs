//! What a deployment says about itself. Pure.

use super::{
    object::{Deployment, DeploymentStatus},
    sets::Sets,
};
use k8s_openapi::{api::apps::v1::DeploymentCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use orrery_reconcile::{find_condition, set_condition};
use std::time::Duration;

pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const AVAILABLE: &str = "Available";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";
const COMPLETE_REASON: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// A condition that changed now.
pub(super) fn condition(type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The counts and the condition `Available`.
pub(super) fn counts(sets: &Sets<'_>, conditions: &[DeploymentCondition], now: Timestamp) -> DeploymentStatus {
    let deployment = sets.deployment;
    let sum =
        |of: fn(&crate::replicas::ReplicaStatus) -> i32| sets.drafts.iter().map(|draft| of(&draft.set.status)).sum();
    let available: i32 = sum(|status| status.available);
    let mut status = DeploymentStatus {
        replicas: sum(|status| status.replicas),
        updated: sets.newest().map_or(0, |set| set.status.replicas),
        ready: sum(|status| status.ready),
        available,
        unavailable: (sets.total() - available).max(0),
        terminating: Some(sum(|status| status.terminating.unwrap_or_default())),
        observed: deployment.meta.generation,
        collisions: deployment.status.collisions,
        conditions: conditions.to_vec(),
    };
    let enough = available >= deployment.replicas - deployment.max_unavailable();
    let said = if enough {
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    } else {
        condition(
            AVAILABLE,
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        )
    };
    set_condition(&mut status.conditions, said);
    status
}

/// Everything has been replaced, and all of it is available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.replicas;
    (status.updated, status.replicas, status.available) == (wanted, wanted, wanted)
        && status.observed >= deployment.meta.generation
}

/// Something came closer to the end since the status was written last.
fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    new.updated > old.updated
        || new.replicas - new.updated < old.replicas - old.updated
        || new.ready > old.ready
        || new.available > old.available
}

/// Counts, `Available`, `Progressing` and `ReplicaFailure` while an update goes on. `conditions` are those so far.
pub(super) fn during_rollout(sets: &Sets<'_>, conditions: &[DeploymentCondition], now: Timestamp) -> DeploymentStatus {
    let mut status = counts(sets, conditions, now);
    progress(sets, &mut status, now);
    let failures = sets.newest().into_iter().chain(sets.drafts.iter().map(|draft| &draft.set));
    let failure = failures.flat_map(|set| &set.status.conditions).find(|condition| condition.type_ == REPLICA_FAILURE);
    match failure {
        Some(failure) => drop(set_condition(
            &mut status.conditions,
            DeploymentCondition {
                type_: REPLICA_FAILURE.to_owned(),
                status: failure.status.clone(),
                reason: failure.reason.clone(),
                message: failure.message.clone(),
                last_update_time: failure.last_transition_time.clone(),
                last_transition_time: failure.last_transition_time.clone(),
            },
        )),
        None => status.conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
    }
    status
}

fn progress(sets: &Sets<'_>, status: &mut DeploymentStatus, now: Timestamp) {
    let deployment = sets.deployment;
    let Some(deadline) = deployment.progress_deadline else {
        status.conditions.retain(|condition| condition.type_ != PROGRESSING);
        return;
    };
    let current = find_condition(&status.conditions, PROGRESSING).cloned();
    let was_complete = current.as_ref().is_some_and(|condition| condition.reason.as_deref() == Some(COMPLETE_REASON));
    if status.replicas == status.updated && was_complete {
        return;
    }
    let subject = sets.newest().map_or_else(
        || format!("Deployment {:?}", deployment.meta.key.name),
        |set| format!("ReplicaSet {:?}", set.meta.key.name),
    );
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        set_condition(&mut status.conditions, condition(PROGRESSING, "True", COMPLETE_REASON, &message, now));
    } else if has_progressed(&deployment.status, status) {
        let message = format!("{subject} is progressing.");
        let mut said = condition(PROGRESSING, "True", "ReplicaSetUpdated", &message, now);
        if let Some(current) = current.filter(|current| current.status == "True") {
            said.last_transition_time = current.last_transition_time;
        }
        // Put in place whatever it said before: its update time is what the deadline counts from.
        status.conditions.retain(|condition| condition.type_ != PROGRESSING);
        status.conditions.push(said);
    } else if has_timed_out(current.as_ref(), deadline, now) {
        let message = format!("{subject} has timed out progressing.");
        set_condition(&mut status.conditions, condition(PROGRESSING, "False", TIMED_OUT, &message, now));
    }
}

fn has_timed_out(current: Option<&DeploymentCondition>, deadline: Duration, now: Timestamp) -> bool {
    match current.map(|condition| (condition, condition.reason.as_deref())) {
        None | Some((_, Some(COMPLETE_REASON))) => false,
        Some((_, Some(TIMED_OUT))) => true,
        Some((condition, _)) => since_update(condition, now) > deadline,
    }
}

fn since_update(condition: &DeploymentCondition, now: Timestamp) -> Duration {
    let updated = condition.last_update_time.as_ref().map_or(now, |time| time.0);
    Duration::try_from(now.duration_since(updated)).unwrap_or_default()
}

/// When the deadline is to be looked at, if nothing happens until then.
pub(super) fn deadline_in(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = deployment.progress_deadline?;
    let current = find_condition(&status.conditions, PROGRESSING)?;
    let over = [COMPLETE_REASON, TIMED_OUT, PAUSED].iter().any(|reason| current.reason.as_deref() == Some(reason));
    if over || is_complete(deployment, status) {
        return None;
    }
    Some(deadline.saturating_sub(since_update(current, now)) + Duration::from_secs(1))
}

pub(super) const PAUSED: &str = "DeploymentPaused";

/// Says that the deployment was paused or resumed, so that the time between does not count as lack of progress.
pub(super) fn note_pause(deployment: &Deployment, conditions: &mut Vec<DeploymentCondition>, now: Timestamp) {
    if deployment.progress_deadline.is_none() {
        return;
    }
    let reason = find_condition(conditions, PROGRESSING).and_then(|condition| condition.reason.as_deref());
    let said = match (deployment.paused, reason) {
        (_, Some(TIMED_OUT)) | (true, Some(PAUSED)) => return,
        (true, _) => condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now),
        (false, Some(PAUSED)) => condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now),
        (false, _) => return,
    };
    set_condition(conditions, said);
}

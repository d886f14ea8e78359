//! Jobs that ended are deleted when their time to live is over
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/>).

use super::object::Job;
use k8s_openapi::{api::batch::v1 as batch, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use orrery_reconcile::{ControllerError, Outcome};
use std::time::Duration;

/// How long the job still has; none when it is not to be deleted.
fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    let ttl = job.ttl.filter(|_| job.meta.deleting.is_none())?;
    let ended = job.finished()?.last_transition_time.as_ref().map_or(now, |time| time.0);
    let passed = Duration::try_from(now.duration_since(ended)).unwrap_or_default();
    Some(ttl.saturating_sub(passed))
}

/// Deletes the job, or says when to.
pub(super) async fn expire(client: &kube::Client, job: &Job) -> Result<Outcome, ControllerError> {
    match left(job, Timestamp::now()) {
        None => Ok(Outcome::Done),
        Some(left) if !left.is_zero() => Ok(Outcome::After(left)),
        Some(_) => {
            let api: Api<batch::Job> = Api::namespaced(client.clone(), &job.meta.key.namespace);
            // The version guards against a time to live that was made longer meanwhile.
            let version = Some(job.meta.version.to_string());
            let precondition = Preconditions { uid: Some(job.meta.uid.0.clone()), resource_version: version };
            let params = DeleteParams::foreground().preconditions(precondition);
            match api.delete(&job.meta.key.name, &params).await {
                Ok(_) => Ok(Outcome::Done),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(Outcome::Done),
                Err(error) => Err(ControllerError::api("delete a job whose time is over")(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::Projected;
    use serde_json::json;

    #[test]
    fn only_a_job_that_ended_and_has_a_time_to_live_expires() {
        let job = |ttl: Option<i32>, condition: &str| {
            let value = json!({"spec": {"ttlSecondsAfterFinished": ttl, "template": {}}, "status": {"conditions": [
                {"type": condition, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
            Job::project(serde_json::from_value(value).unwrap()).unwrap()
        };
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        assert_eq!(left(&job(Some(30), "Complete"), now), Some(Duration::from_secs(20)));
        assert_eq!(left(&job(Some(5), "Failed"), now), Some(Duration::ZERO));
        assert_eq!(left(&job(None, "Complete"), now), None);
        assert_eq!(left(&job(Some(5), "Suspended"), now), None);
    }
}

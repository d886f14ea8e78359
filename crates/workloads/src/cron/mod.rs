//! CronJobs: a job at each time that a schedule names.
//!
//! ```text
//! time due ──► last one still runs? Forbid: nothing, Replace: it is deleted ──► job made, named by the minute ──► noted
//! ```
//!
//! The job's name is made of the time that it is for, so that a crash between making and noting it makes no second one.

mod object;
mod plan;
mod schedule;

pub(crate) use object::CronJob;

use crate::{
    jobs::Job,
    pods::{Owner, Workload, wake_on_dependents, wake_on_own_change},
};
use k8s_openapi::{
    api::{
        batch::v1::{self as batch, JobSpec},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Metrics, ObjectKey, Outcome, OwnWrites, Queue, Reconcile, Recorder, Revision,
    Tone, Uid,
};
use plan::{ActiveJob, Plan, plan};
use serde_json::json;
use std::sync::Arc;

const NAME: &str = "cronjob-controller";
const WORKERS: usize = 5;
/// Says on a job which time it is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The controller of cron jobs.
pub(crate) struct Cron {
    client: kube::Client,
    crons: Cache<CronJob>,
    jobs: Cache<Job>,
    events: Recorder,
    written: OwnWrites,
    own: OwnWrites,
}

/// Makes the controller and has it told of changes.
pub(crate) fn controller(
    client: kube::Client,
    crons: &Cache<CronJob>,
    jobs: &Cache<Job>,
    events: &Recorder,
    metrics: &Metrics,
) -> Controller<Cron> {
    let queue = Arc::new(Queue::default());
    wake_on_own_change(crons, &queue);
    wake_on_dependents(jobs, crons, &queue);
    let reconciler = Cron {
        client,
        crons: crons.clone(),
        jobs: jobs.clone(),
        events: events.signed(NAME),
        written: OwnWrites::default(),
        own: OwnWrites::default(),
    };
    Controller { name: NAME, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics: metrics.clone() }
}

impl Reconcile for Cron {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(cron) = self.crons.get(key) else {
            self.written.forget(key);
            self.own.forget(key);
            return Ok(Outcome::Done);
        };
        if !self.written.are_seen(key, &self.jobs) || !self.own.are_seen(key, &self.crons) {
            return Ok(Outcome::BEHIND);
        }
        let jobs = self.jobs.controlled_by(&cron.meta.uid);
        let plan = plan(&cron, &jobs, Timestamp::now());
        self.apply(&cron, plan).await
    }
}

impl Cron {
    fn jobs_api(&self, key: &ObjectKey) -> Api<batch::Job> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn apply(&self, cron: &CronJob, plan: Plan) -> Result<Outcome, ControllerError> {
        let owner = cron.owner();
        for note in &plan.notes {
            self.events.record(&owner.object(), note.tone, note.reason, &note.message);
        }
        for key in &plan.delete {
            self.delete(&owner, key).await?;
        }
        let mut active = plan.active;
        let mut scheduled = cron.last_scheduled;
        if let Some((name, due)) = plan.create {
            match self.create(cron, &owner, &name, due).await {
                Ok(job) => active.push(job),
                Err(error) if error.is_namespace_terminating() => return Ok(Outcome::Done),
                Err(error) => {
                    let message = format!("Error creating job: {}", error.told());
                    self.events.record(&owner.object(), Tone::Warning, "FailedCreate", &message);
                    return Err(error);
                }
            }
            scheduled = Some(due);
        }
        active.sort();
        if (&active, scheduled, plan.last_successful) != (&cron.active, cron.last_scheduled, cron.last_successful) {
            self.publish(cron, &active, scheduled, plan.last_successful).await?;
        }
        Ok(Outcome::maybe_after(plan.again))
    }

    async fn delete(&self, owner: &Owner, key: &ObjectKey) -> Result<(), ControllerError> {
        match self.jobs_api(key).delete(&key.name, &DeleteParams::background()).await {
            Ok(_) => {
                if let Some(job) = self.jobs.get(key) {
                    self.written.removed(&owner.key, key.clone(), job.meta().uid.clone());
                }
                let message = format!("Deleted job {}", key.name);
                self.events.record(&owner.object(), Tone::Normal, "SuccessfulDelete", &message);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ControllerError::api("delete a job")(error)),
        }
    }

    async fn create(
        &self,
        cron: &CronJob,
        owner: &Owner,
        name: &str,
        due: Timestamp,
    ) -> Result<ActiveJob, ControllerError> {
        let api: Api<batch::CronJob> = Api::namespaced(self.client.clone(), &owner.key.namespace);
        let fresh = api.get(&owner.key.name).await.map_err(ControllerError::api("read a cron job"))?;
        if fresh.metadata.uid.as_deref() != Some(cron.meta.uid.as_str()) {
            return Err(ControllerError::Changed("the cron job"));
        }
        let template = fresh.spec.job_template;
        let metadata = template.metadata.unwrap_or_default();
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.insert(SCHEDULED.to_owned(), due.to_string());
        let job = batch::Job {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(owner.key.namespace.clone()),
                labels: metadata.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![owner.reference()]),
                ..ObjectMeta::default()
            },
            spec: Some(template.spec.unwrap_or_else(JobSpec::default)),
            status: None,
        };
        let made = match self.jobs_api(&owner.key).create(&PostParams::default(), &job).await {
            Ok(made) => {
                self.events.record(&owner.object(), Tone::Normal, "SuccessfulCreate", &format!("Created job {name}"));
                made
            }
            // Made before a crash, and not seen yet; or somebody else's, which then stands for this time.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.jobs_api(&owner.key).get(name).await.map_err(ControllerError::api("read a job"))?
            }
            Err(error) => return Err(ControllerError::api("create a job")(error)),
        };
        self.written.wrote(&owner.key, Revision::parse(made.metadata.resource_version.as_deref()));
        Ok(ActiveJob { name: name.to_owned(), uid: Uid(made.metadata.uid.unwrap_or_default()) })
    }

    async fn publish(
        &self,
        cron: &CronJob,
        active: &[ActiveJob],
        scheduled: Option<Timestamp>,
        successful: Option<Timestamp>,
    ) -> Result<(), ControllerError> {
        let namespace = &cron.meta.key.namespace;
        let reference = |job: &ActiveJob| ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(job.name.clone()),
            uid: Some(job.uid.0.clone()),
            ..ObjectReference::default()
        };
        let active: Vec<ObjectReference> = active.iter().map(reference).collect();
        let patch = json!({
            "metadata": {"resourceVersion": cron.meta.version.to_string()},
            "status": {
                "active": Some(active).filter(|active| !active.is_empty()),
                "lastScheduleTime": scheduled.map(Time), "lastSuccessfulTime": successful.map(Time),
            },
        });
        let api: Api<batch::CronJob> = Api::namespaced(self.client.clone(), namespace);
        match api.patch_status(&cron.meta.key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(written) => {
                let version = Revision::parse(written.metadata.resource_version.as_deref());
                self.own.wrote(&cron.meta.key, version);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ControllerError::api("write the status of a cron job")(error)),
        }
    }
}

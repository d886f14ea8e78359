//! Jobs: pods that are to end.
//!
//! A look reads the job and its pods from the caches, makes a [`plan`], and carries it out in the order that keeps every
//! pod counted exactly once whatever step a crash follows: delete, make, write the status, and only then take the
//! finalizers off ([`tally`]). Jobs that ended are deleted when their time to live is over ([`ttl`]).

mod fill;
mod indexes;
mod make;
mod object;
mod plan;
mod policy;
mod tally;
mod ttl;

pub(crate) use object::Job;

use crate::pods::{
    Claimant, Owner, PodControl, Workload, candidates, claim, slow_start, wake_on_dependents, wake_on_own_change,
};
use fill::NewPod;
use futures::{StreamExt, stream};
use k8s_openapi::{api::batch::v1 as batch, jiff::Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Meta, Metrics, ObjectKey, Outcome, OwnWrites, Queue, Reconcile, Recorder,
    Revision, objects::Pod,
};
use plan::plan;
use serde_json::json;
use std::sync::Arc;
use tally::{FINALIZER, is_tracked};

const NAME: &str = "job-controller";
const WORKERS: usize = 5;
/// How many pods are written at a time.
const AT_ONCE: usize = 64;

/// The controller of jobs.
pub(crate) struct Jobs {
    client: kube::Client,
    jobs: Cache<Job>,
    pods: Cache<Pod>,
    control: PodControl,
    /// What was written to jobs themselves.
    own: OwnWrites,
}

/// Makes the controller and has it told of changes.
pub(crate) fn controller(
    client: kube::Client,
    jobs: &Cache<Job>,
    pods: &Cache<Pod>,
    events: &Recorder,
    metrics: &Metrics,
) -> Controller<Jobs> {
    let queue = Arc::new(Queue::default());
    wake_on_own_change(jobs, &queue);
    wake_on_dependents(pods, jobs, &queue);
    let control = PodControl::new(client.clone(), events.signed(NAME));
    let reconciler = Jobs { client, jobs: jobs.clone(), pods: pods.clone(), control, own: OwnWrites::default() };
    Controller { name: NAME, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics: metrics.clone() }
}

impl Reconcile for Jobs {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        if !self.control.written().are_seen(key, &self.pods) || !self.own.are_seen(key, &self.jobs) {
            return Ok(Outcome::BEHIND);
        }
        let Some(job) = self.jobs.get(key) else {
            return self.let_go(key).await;
        };
        if job.foreign {
            return Ok(Outcome::Done);
        }
        if job.finished().is_some() {
            let left: Vec<Arc<Pod>> = self.pods.controlled_by(&job.meta.uid);
            self.free(&job.owner(), left.into_iter().filter(|pod| is_tracked(pod)).collect()).await?;
            return ttl::expire(&self.client, &job).await;
        }
        let pods = self.claim(&job).await?;
        let mut plan = plan(&job, &pods, Timestamp::now());
        let owner = job.owner();
        self.delete(&owner, &plan.delete).await?;
        let (made, failed) = self.create(&job, &plan.create).await;
        plan.status.active -= i32::try_from(plan.create.len() - made).unwrap_or_default();
        self.publish(&job, &plan.status).await?;
        self.free(&owner, plan.free).await?;
        for note in &plan.notes {
            self.control.events().record(&owner.object(), note.tone, note.reason, &note.message);
        }
        match failed {
            Some(error) if error.is_namespace_terminating() => Ok(Outcome::Done),
            Some(error) => Err(error),
            None => Ok(Outcome::maybe_after(plan.again)),
        }
    }
}

impl Jobs {
    /// The job is gone: nobody counts its pods any more.
    async fn let_go(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        self.own.forget(key);
        let pods = self.pods.in_namespace(&key.namespace);
        let orphan =
            |pod: &Arc<Pod>| is_tracked(pod) && pod.meta.controller_key(Job::GROUP, Job::KIND).as_ref() == Some(key);
        for pod in pods.into_iter().filter(orphan) {
            let uid = pod.meta.controller().map(|owner| owner.uid.clone()).unwrap_or_default();
            let owner = Owner {
                api_version: Job::API_VERSION,
                kind: Job::KIND,
                key: key.clone(),
                uid: orrery_reconcile::Uid(uid),
            };
            self.control.remove_finalizer(&owner, &pod, FINALIZER).await?;
        }
        Ok(Outcome::Done)
    }

    /// The pods that are the job's, after adopting and releasing. Adopted pods get the finalizer, released ones lose it.
    async fn claim(&self, job: &Job) -> Result<Vec<Arc<Pod>>, ControllerError> {
        let (meta, owner) = (&job.meta, job.owner());
        let by = Claimant { uid: &meta.uid, deleting: meta.deleting.is_some(), selector: &job.selector };
        let claim = claim(&by, candidates(&self.pods, &owner), |_| true);
        for pod in &claim.release {
            let patch = json!({"metadata": {
                "uid": pod.meta.uid.0,
                "ownerReferences": [{"$patch": "delete", "uid": meta.uid.0}],
                "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
            self.control.patch(&owner, &pod.meta, &patch, "release a pod").await?;
        }
        if !claim.adopt.is_empty() {
            self.read(meta).await?;
        }
        let mut adopted = false;
        for pod in &claim.adopt {
            let patch = json!({"metadata": {
                "uid": pod.meta.uid.0, "ownerReferences": [owner.reference()], "finalizers": [FINALIZER]}});
            adopted |= self.control.patch(&owner, &pod.meta, &patch, "adopt a pod").await?;
        }
        // What is counted has to bear the finalizer: look again once the cache shows it.
        if adopted { Err(ControllerError::Changed("the pods of a job")) } else { Ok(claim.owned) }
    }

    fn api(&self, meta: &Meta) -> Api<batch::Job> {
        Api::namespaced(self.client.clone(), &meta.key.namespace)
    }

    /// The job as it is now, when it is still the one that was planned for.
    async fn read(&self, meta: &Meta) -> Result<batch::Job, ControllerError> {
        let fresh = self.api(meta).get(&meta.key.name).await.map_err(ControllerError::api("read a job"))?;
        let same = fresh.metadata.uid.as_deref() == Some(meta.uid.as_str());
        if same && fresh.metadata.deletion_timestamp.is_none() {
            Ok(fresh)
        } else {
            Err(ControllerError::Changed("the job"))
        }
    }

    async fn delete(&self, owner: &Owner, pods: &[Arc<Pod>]) -> Result<(), ControllerError> {
        let pods = pods.to_vec();
        let deletions = stream::iter(pods).map(|pod| async move { self.control.delete(owner, &pod.meta).await });
        let results: Vec<Result<(), ControllerError>> = deletions.buffer_unordered(AT_ONCE).collect().await;
        results.into_iter().collect()
    }

    /// How many were made, and why not all.
    async fn create(&self, job: &Job, new: &[NewPod]) -> (usize, Option<ControllerError>) {
        if new.is_empty() {
            return (0, None);
        }
        let template = match self.read(&job.meta).await {
            Ok(fresh) => fresh.spec.unwrap_or_default().template,
            Err(error) => return (0, Some(error)),
        };
        let owner = &job.owner();
        let made = slow_start(new.len(), |at| {
            let pod = make::pod(owner, template.clone(), &new[at]);
            async move { self.control.create(owner, pod).await.map(drop) }
        })
        .await;
        (made.done, made.error)
    }

    async fn publish(&self, job: &Job, status: &object::JobStatus) -> Result<(), ControllerError> {
        if *status == job.status {
            return Ok(());
        }
        let patch = Patch::Merge(status.patch(job.meta.version));
        match self.api(&job.meta).patch_status(&job.meta.key.name, &PatchParams::default(), &patch).await {
            Ok(written) => {
                let version = Revision::parse(written.metadata.resource_version.as_deref());
                self.own.wrote(&job.meta.key, version);
                Ok(())
            }
            Err(error) => Err(ControllerError::api("write the status of a job")(error)),
        }
    }

    async fn free(&self, owner: &Owner, pods: Vec<Arc<Pod>>) -> Result<(), ControllerError> {
        let work =
            stream::iter(pods).map(|pod| async move { self.control.remove_finalizer(owner, &pod, FINALIZER).await });
        let results: Vec<Result<(), ControllerError>> = work.buffer_unordered(AT_ONCE).collect().await;
        results.into_iter().collect()
    }
}

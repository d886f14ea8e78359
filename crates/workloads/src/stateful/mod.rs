//! StatefulSets: pods with names, numbers and claims of their own, one after the other.
//!
//! ```text
//! lowest number missing ──► made; the next waits until it is ready (OrderedReady)
//! number too high       ──► deleted, highest first, each when the others are well
//! template changed      ──► replaced, highest first, down to the partition, each when the one before is well
//! ended                 ──► deleted and made again
//! ```
//!
//! Which template a pod is of says its label `controller-revision-hash`, the name of a revision ([`crate::history`]).
//! What is not here: `persistentVolumeClaimRetentionPolicy` (claims are always kept).

mod make;
mod object;
mod plan;

pub(crate) use object::StatefulSet;

use crate::{
    history::{self, History, REVISION_HASH, TemplateRevision},
    pods::{Claimant, Owner, PodControl, Workload, candidates, claim, wake_on_dependents, wake_on_own_change},
};
use k8s_openapi::{
    api::{
        apps::v1 as apps,
        core::v1::{PersistentVolumeClaim, PodTemplateSpec},
    },
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Meta, Metrics, ObjectKey, Outcome, OwnWrites, Queue, Reconcile, Recorder,
    Revision, Tone, objects::Pod,
};
use plan::{NewPod, Plan, plan};
use serde_json::{Value, json};
use std::sync::Arc;

const NAME: &str = "statefulset-controller";
const WORKERS: usize = 5;

/// The controller of stateful sets.
pub(crate) struct Stateful {
    client: kube::Client,
    sets: Cache<StatefulSet>,
    pods: Cache<Pod>,
    history: History,
    control: PodControl,
    own: OwnWrites,
}

/// Makes the controller and has it told of changes.
pub(crate) fn controller(
    client: kube::Client,
    sets: &Cache<StatefulSet>,
    pods: &Cache<Pod>,
    revisions: &Cache<TemplateRevision>,
    events: &Recorder,
    metrics: &Metrics,
) -> Controller<Stateful> {
    let queue = Arc::new(Queue::default());
    wake_on_own_change(sets, &queue);
    wake_on_dependents(pods, sets, &queue);
    wake_on_dependents(revisions, sets, &queue);
    let reconciler = Stateful {
        history: History::new(client.clone(), revisions.clone()),
        control: PodControl::new(client.clone(), events.signed(NAME)).worded(make::wording),
        client,
        sets: sets.clone(),
        pods: pods.clone(),
        own: OwnWrites::default(),
    };
    Controller { name: NAME, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics: metrics.clone() }
}

/// The revisions that matter: what pods are, and what they become.
struct Revisions {
    current: String,
    update: String,
}

impl Reconcile for Stateful {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(set) = self.sets.get(key) else {
            self.control.written().forget(key);
            self.own.forget(key);
            return Ok(Outcome::Done);
        };
        let seen = self.control.written().are_seen(key, &self.pods) && self.own.are_seen(key, &self.sets);
        if !seen || !self.history.is_seen(key) {
            return Ok(Outcome::BEHIND);
        }
        let pods = self.claim(&set).await?;
        let Some(revisions) = self.revisions(&set, &pods).await? else { return Ok(Outcome::BEHIND) };
        let plan = plan(&set, &revisions.current, &revisions.update, &pods, Timestamp::now());
        self.apply(&set, plan).await
    }
}

impl Stateful {
    fn api(&self, meta: &Meta) -> Api<apps::StatefulSet> {
        Api::namespaced(self.client.clone(), &meta.key.namespace)
    }

    async fn read(&self, set: &StatefulSet) -> Result<apps::StatefulSet, ControllerError> {
        let fresh = self.api(&set.meta).get(&set.meta.key.name).await;
        let fresh = fresh.map_err(ControllerError::api("read a stateful set"))?;
        let same = fresh.metadata.uid.as_deref() == Some(set.meta.uid.as_str())
            && fresh.metadata.generation.unwrap_or_default() == set.meta.generation
            && fresh.metadata.deletion_timestamp.is_none();
        if same { Ok(fresh) } else { Err(ControllerError::Changed("the stateful set")) }
    }

    async fn claim(&self, set: &StatefulSet) -> Result<Vec<Arc<Pod>>, ControllerError> {
        let owner = set.owner();
        let by = Claimant { uid: &set.meta.uid, deleting: set.meta.deleting.is_some(), selector: &set.selector };
        // Only pods that are called like ours can be ours.
        let named = |pod: &Pod| set.ordinal_of(pod).is_some();
        let mut claim = claim(&by, candidates(&self.pods, &owner), named);
        for pod in &claim.release {
            self.control.release(&owner, &pod.meta).await?;
        }
        if !claim.adopt.is_empty() {
            self.read(set).await?;
        }
        for pod in claim.adopt {
            if self.control.adopt(&owner, &pod.meta).await? {
                claim.owned.push(pod);
            }
        }
        Ok(claim.owned)
    }

    /// None when one was just made and has to be seen first.
    async fn revisions(&self, set: &StatefulSet, pods: &[Arc<Pod>]) -> Result<Option<Revisions>, ControllerError> {
        let owner = set.owner();
        let by = Claimant { uid: &set.meta.uid, deleting: set.meta.deleting.is_some(), selector: &set.selector };
        let revisions = self.history.claim(&owner, &by).await?;
        let in_use = |revision: &TemplateRevision| {
            let name = &revision.meta.key.name;
            set.status.current_revision.as_ref() == Some(name)
                || pods.iter().any(|pod| pod.meta.labels.get(REVISION_HASH) == Some(name))
        };
        let plan = history::plan(&revisions, set.template, set.history_limit, in_use);
        if set.meta.deleting.is_none() {
            self.history.apply(&owner, &plan).await?;
        }
        match plan.current {
            Some(update) => {
                let update = update.meta.key.name.clone();
                let known = |name: &&String| revisions.iter().any(|revision| revision.meta.key.name == **name);
                let current = set.status.current_revision.as_ref().filter(known).cloned();
                Ok(Some(Revisions { current: current.unwrap_or_else(|| update.clone()), update }))
            }
            None if set.meta.deleting.is_some() => {
                let name = set.status.update_revision.clone().unwrap_or_default();
                Ok(Some(Revisions { current: name.clone(), update: name }))
            }
            None => {
                let spec = self.read(set).await?.spec.unwrap_or_default();
                let labels = spec.selector.match_labels.unwrap_or_default();
                if !self.history.create(&owner, plan.next, &set.hash, &spec.template, &labels).await? {
                    let collisions = set.status.collisions.unwrap_or_default() + 1;
                    self.patch_status(set, &json!({"collisionCount": collisions})).await?;
                }
                Ok(None)
            }
        }
    }

    async fn apply(&self, set: &StatefulSet, plan: Plan) -> Result<Outcome, ControllerError> {
        let owner = set.owner();
        for pod in &plan.recreate {
            let message = format!("StatefulSet {} is recreating failed Pod {}", set.meta.key, pod.meta.key.name);
            self.control.events().record(&owner.object(), Tone::Warning, "RecreatingFailedPod", &message);
        }
        for pod in &plan.delete {
            self.control.delete(&owner, &pod.meta).await?;
        }
        let mut failed = None;
        for new in &plan.create {
            if let Err(error) = self.create(set, &owner, new).await {
                failed = Some(error);
                break;
            }
        }
        if plan.status != set.status {
            self.patch_status(set, &plan.status.to_value()).await?;
        }
        match failed {
            Some(error) if error.is_namespace_terminating() => Ok(Outcome::Done),
            // Its predecessor of the same name is not gone yet.
            Some(error) if error.code() == Some(409) => Ok(Outcome::BEHIND),
            Some(error) => Err(error),
            None => Ok(Outcome::maybe_after(plan.again)),
        }
    }

    async fn create(&self, set: &StatefulSet, owner: &Owner, new: &NewPod) -> Result<(), ControllerError> {
        let spec = self.read(set).await?.spec.unwrap_or_default();
        let template = self.template(set, &new.revision, &spec.template).await?;
        for claim in make::claims(set, &spec, new.ordinal) {
            self.ensure_claim(owner, claim).await?;
        }
        let pod = make::pod(owner, &spec, template, new);
        self.control.create(owner, pod).await.map(drop)
    }

    /// The template of a revision; `present` if it is of the newest.
    async fn template(
        &self,
        set: &StatefulSet,
        revision: &str,
        present: &PodTemplateSpec,
    ) -> Result<PodTemplateSpec, ControllerError> {
        match self.history.template(&set.owner(), revision).await? {
            Some(template) => Ok(template),
            // The revision of the present template, which is seen before it is used.
            None => Ok(present.clone()),
        }
    }

    async fn ensure_claim(&self, owner: &Owner, claim: PersistentVolumeClaim) -> Result<(), ControllerError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &owner.key.namespace);
        let name = claim.metadata.name.clone().unwrap_or_default();
        if api.get_opt(&name).await.map_err(ControllerError::api("read a volume claim"))?.is_some() {
            return Ok(());
        }
        match api.create(&PostParams::default(), &claim).await {
            Ok(_) => {
                let message = format!("create Claim {name} in StatefulSet {} success", owner.key.name);
                self.control.events().record(&owner.object(), Tone::Normal, "SuccessfulCreate", &message);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(ControllerError::api("create a volume claim")(error)),
        }
    }

    async fn patch_status(&self, set: &StatefulSet, status: &Value) -> Result<(), ControllerError> {
        let patch = json!({"metadata": {"resourceVersion": set.meta.version.to_string()}, "status": status});
        let api = self.api(&set.meta);
        match api.patch_status(&set.meta.key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(written) => {
                let version = Revision::parse(written.metadata.resource_version.as_deref());
                self.own.wrote(&set.meta.key, version);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ControllerError::api("write the status of a stateful set")(error)),
        }
    }
}

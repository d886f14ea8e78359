//! Deployments: replica sets that follow each other.
//!
//! Each template has a set of its own, named by the template's hash. An update makes a set for the new template and moves
//! the pods over within the bounds of the strategy; the old sets stay, empty, as the history that a rollback goes back to.
//! What to do is one pure function ([`plan::plan`]); a look reads the sets and pods from the caches, plans, and writes the
//! sets, the revision and the status. Every write names the version that it was planned for, so that a look that was late
//! changes nothing and is done again.

mod bounds;
mod object;
mod plan;
mod revision;
mod sets;
mod status;

pub(crate) use bounds::of_total;
pub(crate) use object::Deployment;

use crate::{
    pods::{
        Claimant, Owner, TEMPLATE_HASH, Workload, claim, dependents, digest, wake_on_dependents, wake_on_own_change,
    },
    replicas::ReplicaSet,
};
use k8s_openapi::{
    api::apps::v1::{self as apps, ReplicaSetSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Metrics, ObjectKey, Outcome, OwnWrites, Projected, Queue, Reconcile, Recorder,
    Revision, Tone, objects::Pod, set_condition,
};
use plan::{NewSet, Plan, SetChange, plan};
use revision::REVISION;
use serde_json::{Value, json};
use std::sync::Arc;

const NAME: &str = "deployment-controller";
const WORKERS: usize = 5;

/// The controller of deployments.
pub(crate) struct Deployments {
    client: kube::Client,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    events: Recorder,
    /// What was written to replica sets.
    written: OwnWrites,
    /// What was written to deployments themselves.
    own: OwnWrites,
}

/// Makes the controller and has it told of changes.
pub(crate) fn controller(
    client: kube::Client,
    deployments: &Cache<Deployment>,
    sets: &Cache<ReplicaSet>,
    pods: &Cache<Pod>,
    events: &Recorder,
    metrics: &Metrics,
) -> Controller<Deployments> {
    let queue = Arc::new(Queue::default());
    wake_on_own_change(deployments, &queue);
    wake_on_dependents(sets, deployments, &queue);
    wake_when_pods_are_gone(pods, sets, &queue);
    let reconciler = Deployments {
        client,
        deployments: deployments.clone(),
        sets: sets.clone(),
        pods: pods.clone(),
        events: events.signed(NAME),
        written: OwnWrites::default(),
        own: OwnWrites::default(),
    };
    Controller { name: NAME, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics: metrics.clone() }
}

/// `Recreate` waits for the last old pod; no set changes when it goes.
fn wake_when_pods_are_gone(pods: &Cache<Pod>, sets: &Cache<ReplicaSet>, queue: &Arc<Queue>) {
    let (sets, queue) = (sets.clone(), Arc::clone(queue));
    pods.on_change(move |old, new| {
        let Some(old) = old.filter(|_| new.is_none_or(Pod::is_over)) else { return };
        let set = old.meta.controller_key(ReplicaSet::GROUP, ReplicaSet::KIND).and_then(|key| sets.get(&key));
        let deployment = set.and_then(|set| set.meta.controller_key(Deployment::GROUP, Deployment::KIND));
        if let Some(key) = deployment {
            queue.add(key);
        }
    });
}

impl Reconcile for Deployments {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(deployment) = self.deployments.get(key) else {
            self.written.forget(key);
            self.own.forget(key);
            return Ok(Outcome::Done);
        };
        if !self.written.are_seen(key, &self.sets) || !self.own.are_seen(key, &self.deployments) {
            return Ok(Outcome::BEHIND);
        }
        if deployment.selects_all {
            return self.refuse(&deployment).await;
        }
        let sets = self.claim(&deployment).await?;
        let has_pods = |uid: &_| self.pods.controlled_by(uid).iter().any(|pod| !pod.is_over());
        let plan = plan(&deployment, &sets, has_pods, Timestamp::now());
        self.apply(&deployment, plan).await
    }
}

impl Deployments {
    async fn refuse(&self, deployment: &Deployment) -> Result<Outcome, ControllerError> {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        self.events.record(&deployment.owner().object(), Tone::Warning, "SelectingAll", message);
        let mut status = deployment.status.clone();
        status.observed = deployment.meta.generation;
        self.publish(deployment, deployment.meta.version, &status).await?;
        Ok(Outcome::Done)
    }

    fn api(&self, deployment: &Deployment) -> Api<apps::Deployment> {
        Api::namespaced(self.client.clone(), &deployment.meta.key.namespace)
    }

    fn sets_api(&self, key: &ObjectKey) -> Api<apps::ReplicaSet> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// The sets that are the deployment's, after adopting and releasing.
    async fn claim(&self, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>, ControllerError> {
        let (meta, owner) = (&deployment.meta, deployment.owner());
        let by = Claimant { uid: &meta.uid, deleting: meta.deleting.is_some(), selector: &deployment.selector };
        let mut claim = claim(&by, dependents(&self.sets, &meta.key, &meta.uid), |_| true);
        for set in &claim.release {
            let off = json!([{"$patch": "delete", "uid": meta.uid.0}]);
            self.patch_owners(&owner, set, &off, "release a replica set").await?;
        }
        if !claim.adopt.is_empty() {
            self.read(deployment).await?;
        }
        for set in claim.adopt {
            if self.patch_owners(&owner, &set, &json!([owner.reference()]), "adopt a replica set").await? {
                // What follows has to name the version that this made: look again.
                return Err(ControllerError::Changed("a replica set"));
            }
        }
        claim.owned.sort_by(|a, b| a.meta.key.cmp(&b.meta.key));
        Ok(claim.owned)
    }

    async fn patch_owners(
        &self,
        owner: &Owner,
        set: &ReplicaSet,
        owners: &Value,
        doing: &'static str,
    ) -> Result<bool, ControllerError> {
        let patch = Patch::Strategic(json!({"metadata": {"uid": set.meta.uid.0, "ownerReferences": owners}}));
        let key = &set.meta.key;
        match self.sets_api(key).patch(&key.name, &PatchParams::default(), &patch).await {
            Ok(set) => {
                self.written.wrote(&owner.key, Revision::parse(set.metadata.resource_version.as_deref()));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => Ok(false),
            Err(error) => Err(ControllerError::api(doing)(error)),
        }
    }

    /// The deployment as it is now, when it is still the one that was planned for.
    async fn read(&self, deployment: &Deployment) -> Result<apps::Deployment, ControllerError> {
        let fresh = self.api(deployment).get(&deployment.meta.key.name).await;
        let fresh = fresh.map_err(ControllerError::api("read a deployment"))?;
        let same = fresh.metadata.uid.as_deref() == Some(deployment.meta.uid.as_str())
            && fresh.metadata.generation.unwrap_or_default() == deployment.meta.generation
            && fresh.metadata.deletion_timestamp.is_none();
        if same { Ok(fresh) } else { Err(ControllerError::Changed("the deployment")) }
    }

    async fn apply(&self, deployment: &Deployment, mut plan: Plan) -> Result<Outcome, ControllerError> {
        let mut version = deployment.meta.version;
        if let Some(new) = &plan.create
            && let Err(error) = self.create(deployment, new).await
        {
            return self.not_created(deployment, &mut plan, error).await;
        }
        for change in &plan.change {
            self.change(deployment, change).await?;
        }
        for (key, uid) in plan.delete {
            let precondition = Preconditions { uid: Some(uid.0.clone()), resource_version: None };
            let params = DeleteParams::background().preconditions(precondition);
            match self.sets_api(&key).delete(&key.name, &params).await {
                Ok(_) => self.written.removed(&deployment.meta.key, key, uid),
                Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
                Err(error) => return Err(ControllerError::api("delete an old replica set")(error)),
            }
        }
        if let Some(revision) = plan.revision {
            version = self.write_revision(deployment, &revision).await?;
        }
        self.publish(deployment, version, &plan.status).await?;
        Ok(Outcome::maybe_after(plan.again))
    }

    async fn create(&self, deployment: &Deployment, new: &NewSet) -> Result<(), ControllerError> {
        let spec = self.read(deployment).await?.spec.unwrap_or_default();
        let (mut template, mut selector) = (spec.template, spec.selector);
        let labels = &mut template.metadata.get_or_insert_default().labels;
        labels.get_or_insert_default().insert(TEMPLATE_HASH.to_owned(), new.hash.clone());
        selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.to_owned(), new.hash.clone());
        let owner = deployment.owner();
        let set = apps::ReplicaSet {
            metadata: ObjectMeta {
                name: Some(new.name.clone()),
                namespace: Some(deployment.meta.key.namespace.clone()),
                labels: labels.clone(),
                annotations: Some(new.annotations.clone()),
                owner_references: Some(vec![owner.reference()]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(new.replicas),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        };
        let made = self.sets_api(&deployment.meta.key).create(&PostParams::default(), &set).await;
        let made = made.map_err(ControllerError::api("create a replica set"))?;
        self.written.wrote(&owner.key, Revision::parse(made.metadata.resource_version.as_deref()));
        if new.replicas > 0 {
            let message = format!("Scaled up replica set {} from 0 to {}", new.name, new.replicas);
            self.events.record(&owner.object(), Tone::Normal, "ScalingReplicaSet", &message);
        }
        Ok(())
    }

    /// The name is taken, or the API refused.
    async fn not_created(
        &self,
        deployment: &Deployment,
        plan: &mut Plan,
        error: ControllerError,
    ) -> Result<Outcome, ControllerError> {
        let name = plan.create.as_ref().map(|new| new.name.clone()).unwrap_or_default();
        let exists = error.code() == Some(409);
        if error.is_namespace_terminating() {
            return Ok(Outcome::Done);
        }
        let mut status = deployment.status.clone();
        if exists {
            let taken = self.sets_api(&deployment.meta.key).get(&name).await;
            let taken = taken.map_err(ControllerError::api("read a replica set"))?;
            let template = taken.spec.as_ref().and_then(|spec| spec.template.as_ref()).map(digest);
            let own = ReplicaSet::project(taken).is_some_and(|set| set.meta.is_controlled_by(&deployment.meta.uid));
            if own && template == Some(deployment.template) {
                // Ours, and not seen yet.
                return Ok(Outcome::BEHIND);
            }
            // Two templates with one hash: the next name is another.
            status.collisions = Some(status.collisions.unwrap_or_default() + 1);
            self.publish(deployment, deployment.meta.version, &status).await?;
            return Ok(Outcome::BEHIND);
        }
        if error.is_conflict() {
            return Err(error);
        }
        let message = format!("Failed to create new replica set {name:?}: {}", error.told());
        if deployment.progress_deadline.is_some() {
            let now = Timestamp::now();
            let said = status::condition(status::PROGRESSING, "False", "ReplicaSetCreateError", &message, now);
            set_condition(&mut status.conditions, said);
            self.publish(deployment, deployment.meta.version, &status).await?;
        }
        self.events.record(&deployment.owner().object(), Tone::Warning, "ReplicaSetCreateError", &message);
        Err(error)
    }

    async fn change(&self, deployment: &Deployment, change: &SetChange) -> Result<(), ControllerError> {
        let mut patch = json!({"metadata": {
            "uid": change.uid.0, "resourceVersion": change.version.to_string(), "annotations": change.annotations}});
        if let Some((_, to)) = change.replicas {
            patch["spec"]["replicas"] = to.into();
        }
        if let Some(seconds) = change.min_ready_seconds {
            patch["spec"]["minReadySeconds"] = seconds.into();
        }
        let api = self.sets_api(&change.key);
        let changed = api.patch(&change.key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let changed = changed.map_err(ControllerError::api("change a replica set"))?;
        self.written.wrote(&deployment.meta.key, Revision::parse(changed.metadata.resource_version.as_deref()));
        if let Some((from, to)) = change.replicas {
            let way = if to > from { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {} from {from} to {to}", change.key.name);
            self.events.record(&deployment.owner().object(), Tone::Normal, "ScalingReplicaSet", &message);
        }
        Ok(())
    }

    async fn write_revision(&self, deployment: &Deployment, revision: &str) -> Result<Revision, ControllerError> {
        let meta = &deployment.meta;
        let patch = json!({"metadata": {
            "resourceVersion": meta.version.to_string(), "annotations": {REVISION: revision}}});
        let api = self.api(deployment);
        let changed = api.patch(&meta.key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let changed = changed.map_err(ControllerError::api("write a deployment's revision"))?;
        let version = Revision::parse(changed.metadata.resource_version.as_deref());
        self.own.wrote(&meta.key, version);
        Ok(version)
    }

    async fn publish(
        &self,
        deployment: &Deployment,
        version: Revision,
        status: &object::DeploymentStatus,
    ) -> Result<(), ControllerError> {
        if *status == deployment.status {
            return Ok(());
        }
        let patch = Patch::Merge(status.patch(version));
        let api = self.api(deployment);
        match api.patch_status(&deployment.meta.key.name, &PatchParams::default(), &patch).await {
            Ok(written) => {
                let version = Revision::parse(written.metadata.resource_version.as_deref());
                self.own.wrote(&deployment.meta.key, version);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ControllerError::api("write the status of a deployment")(error)),
        }
    }
}

//! ReplicaSets and ReplicationControllers: as many pods of one template as asked for.
//!
//! ```text
//!          too few: create, carefully at first           echo of the own writes seen
//!   ┌──► claim pods ──► compare ──────────────────► wait ─────────────┐
//!   │                      │ too many: delete the least useful        │
//!   │                      │ as asked for                             │
//!   └──────────────────────┴──► publish status ◄──────────────────────┘
//! ```
//!
//! Both kinds are one controller over [`ReplicaKind`]. A key is not planned again before the cache of pods shows what was
//! written for it, so that no pod is made twice.

mod object;
mod plan;

pub(crate) use object::{
    LAST_APPLIED, ReplicaKind, ReplicaSet, ReplicaStatus, ReplicationController, annotations, seconds,
};

use crate::pods::{
    Claimant, PodControl, candidates, claim, pod_from, slow_start, wake_on_dependents, wake_on_own_change,
};
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Metrics, ObjectKey, Outcome, Queue, Reconcile, Recorder, Uid, objects::Pod,
};
use plan::{Change, Failure, plan, status};
use std::sync::Arc;

/// The most pods that are made or deleted in one go.
const BURST: usize = 500;
/// How many deletions are under way at once.
const DELETIONS_AT_ONCE: usize = 64;
const WORKERS: usize = 5;

/// The controller of one of both kinds.
pub(crate) struct Replicas<K> {
    client: kube::Client,
    sets: Cache<K>,
    pods: Cache<Pod>,
    control: PodControl,
}

/// Makes the controller and has it told of changes.
pub(crate) fn controller<K: ReplicaKind>(
    client: kube::Client,
    sets: &Cache<K>,
    pods: &Cache<Pod>,
    events: &Recorder,
    metrics: &Metrics,
) -> Controller<Replicas<K>> {
    let queue = Arc::new(Queue::default());
    wake_on_own_change(sets, &queue);
    wake_on_dependents(pods, sets, &queue);
    let control = PodControl::new(client.clone(), events.signed(K::COMPONENT));
    let reconciler = Replicas { client, sets: sets.clone(), pods: pods.clone(), control };
    Controller {
        name: K::COMPONENT,
        reconciler: Arc::new(reconciler),
        queue,
        workers: WORKERS,
        metrics: metrics.clone(),
    }
}

impl<K: ReplicaKind> Reconcile for Replicas<K> {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(set) = self.sets.get(key) else {
            self.control.written().forget(key);
            return Ok(Outcome::Done);
        };
        if !self.control.written().are_seen(key, &self.pods) {
            return Ok(Outcome::BEHIND);
        }
        let pods = self.claim(&set).await?;
        let now = Timestamp::now();
        let (mut failure, mut failed) = (None, None);
        if set.core().meta.deleting.is_none() {
            let change = plan(set.core(), &pods, &self.related(&set, &pods), BURST, now);
            if let Err((why, error)) = self.apply(&set, change).await {
                (failure, failed) = (Some(why), Some(error));
            }
        }
        self.publish(&set, &pods, failure.as_ref(), now).await?;
        match failed {
            Some(error) if error.is_namespace_terminating() => Ok(Outcome::Done),
            Some(error) => Err(error),
            None => Ok(Outcome::maybe_after(plan::next_available(set.core(), &pods, now))),
        }
    }
}

impl<K: ReplicaKind> Replicas<K> {
    /// The pods that are the set's, after adopting and releasing.
    async fn claim(&self, set: &K) -> Result<Vec<Arc<Pod>>, ControllerError> {
        let (core, owner) = (set.core(), set.owner());
        let by = Claimant { uid: &core.meta.uid, deleting: core.meta.deleting.is_some(), selector: &core.selector };
        let mut claim = claim(&by, candidates(&self.pods, &owner), |pod| !pod.is_over());
        for pod in &claim.release {
            self.control.release(&owner, &pod.meta).await?;
        }
        if !claim.adopt.is_empty() {
            self.check_alive(set).await?;
        }
        for pod in claim.adopt {
            if self.control.adopt(&owner, &pod.meta).await? {
                claim.owned.push(pod);
            }
        }
        Ok(claim.owned)
    }

    /// Adopting on behalf of an object that is being deleted would keep its pods from their next owner: the cache is not
    /// enough to know.
    async fn check_alive(&self, set: &K) -> Result<K::Object, ControllerError> {
        let meta = &set.core().meta;
        let fresh = self.api(&meta.key).get(&meta.key.name).await;
        let fresh = fresh.map_err(ControllerError::api("read the owner of pods"))?;
        let same = fresh.uid().as_deref() == Some(meta.uid.as_str());
        if same && fresh.meta().deletion_timestamp.is_none() {
            Ok(fresh)
        } else {
            Err(ControllerError::Changed("the owner"))
        }
    }

    fn api(&self, key: &ObjectKey) -> Api<K::Object> {
        K::api(self.client.clone(), &key.namespace)
    }

    /// The pods of all sets with the same controller.
    fn related(&self, set: &K, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(owner) = set.core().meta.controller() else { return own.to_vec() };
        let siblings = self.sets.controlled_by(&Uid(owner.uid.clone()));
        siblings.iter().flat_map(|sibling| self.pods.controlled_by(&sibling.core().meta.uid)).collect()
    }

    async fn apply(&self, set: &K, change: Change) -> Result<(), (Failure, ControllerError)> {
        let owner = set.owner();
        match change {
            Change::Nothing => Ok(()),
            Change::Create(count) => {
                let of = |error: ControllerError| (Failure::Create(error.told()), error);
                let fresh = self.check_alive(set).await.map_err(of)?;
                let Some(template) = K::template(fresh) else { return Ok(()) };
                let (reference, owner) = (owner.reference(), &owner);
                let make = |_| {
                    let pod = pod_from(template.clone(), reference.clone());
                    async move { self.control.create(owner, pod).await.map(drop) }
                };
                slow_start(count, make).await.error.map_or(Ok(()), |error| Err(of(error)))
            }
            Change::Delete(pods) => {
                let owner = &owner;
                let deletions =
                    stream::iter(pods).map(|pod| async move { self.control.delete(owner, &pod.meta).await });
                let results: Vec<_> = deletions.buffer_unordered(DELETIONS_AT_ONCE).collect().await;
                let failed = results.into_iter().find_map(Result::err);
                failed.map_or(Ok(()), |error| Err((Failure::Delete(error.told()), error)))
            }
        }
    }

    /// Writes the status if it differs. The version guards against undoing what somebody else wrote meanwhile.
    async fn publish(
        &self,
        set: &K,
        pods: &[Arc<Pod>],
        failure: Option<&Failure>,
        now: Timestamp,
    ) -> Result<(), ControllerError> {
        let core = set.core();
        let terminating = self.pods.controlled_by(&core.meta.uid);
        let new = status(core, pods, &terminating, failure, now);
        if new == core.status {
            return Ok(());
        }
        let patch = Patch::Merge(new.patch(core.meta.version));
        match self.api(&core.meta.key).patch_status(&core.meta.key.name, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ControllerError::api("write the status of a replica set")(error)),
        }
    }
}

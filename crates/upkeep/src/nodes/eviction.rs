//! Deleting pods that do not bear a `NoExecute` taint of their node.
//!
//! ```text
//! stays --taint it bears for a time--> waiting --time over--> deleted
//!   ^                                    |
//!   `------- taint gone: cancelled ------'       stays --taint it does not bear--> deleted
//! ```
//!
//! The waiting begins when the taint is first seen; it is remembered in memory only and begins anew with the process.

use super::{
    pod_reference,
    tolerate::{Bearing, bearing},
};
use crate::Config;
use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, ObjectKey, Outcome, Queue, Reconcile, Recorder, Term, Tone, Uid,
    objects::{Node, Pod},
};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

const NAME: &str = "taint-eviction-controller";
const WORKERS: usize = 4;

/// Deletes by taint.
pub(crate) struct Eviction {
    client: kube::Client,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    events: Recorder,
    /// Since when pods bear what they bear for a time only.
    waiting: Mutex<HashMap<ObjectKey, (Uid, Instant)>>,
}

pub(crate) fn controller(config: &Config) -> Controller<Eviction> {
    let queue = Arc::new(Queue::default());
    let (to, pods) = (Arc::clone(&queue), config.pods.clone());
    config.nodes.on_change(move |old, new| {
        let taints = |node: Option<&Node>| node.map(|node| node.taints.clone()).unwrap_or_default();
        let (before, after) = (taints(old), taints(new));
        let Some(node) = new.or(old).filter(|_| before != after) else { return };
        for pod in pods.found_under(&Term::Node(node.meta.key.name.clone())) {
            to.add(pod.meta.key.clone());
        }
    });
    let (to, nodes) = (Arc::clone(&queue), config.nodes.clone());
    config.pods.on_change(move |old, new| {
        let Some(pod) = new.or(old) else { return };
        let moved = old.is_none_or(|old| old.node != pod.node || old.tolerations != pod.tolerations) || new.is_none();
        let on = pod.node.as_ref().filter(|_| moved).and_then(|node| nodes.get(&ObjectKey::cluster(node)));
        // Almost no node has taints of this kind: pods on the others need no look.
        if on.is_some_and(|node| node.taints.iter().any(|taint| taint.effect == "NoExecute")) {
            to.add(pod.meta.key.clone());
        }
    });
    let reconciler = Eviction {
        client: config.client.clone(),
        pods: config.pods.clone(),
        nodes: config.nodes.clone(),
        events: config.events.signed(NAME),
        waiting: Mutex::default(),
    };
    let metrics = config.metrics.clone();
    Controller { name: NAME, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics }
}

impl Reconcile for Eviction {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let pod = self.pods.get(key).filter(|pod| pod.meta.deleting.is_none() && !pod.is_over());
        let node = pod.as_ref().and_then(|pod| pod.node.as_ref()).and_then(|n| self.nodes.get(&ObjectKey::cluster(n)));
        let (Some(pod), Some(node)) = (pod, node) else {
            self.waiting(|waiting| waiting.remove(key));
            return Ok(Outcome::Done);
        };
        match bearing(&node.taints, &pod.tolerations) {
            Bearing::Stays => {
                if self.waiting(|waiting| waiting.remove(key)).is_some() {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.events.record(&pod_reference(&pod), Tone::Normal, "TaintManagerEviction", &message);
                }
                Ok(Outcome::Done)
            }
            Bearing::Goes => self.evict(&pod).await,
            Bearing::For(time) => {
                let now = Instant::now();
                let since = self.waiting(|waiting| {
                    let entry = waiting.entry(key.clone()).or_insert_with(|| (pod.meta.uid.clone(), now));
                    if entry.0 != pod.meta.uid {
                        *entry = (pod.meta.uid.clone(), now);
                    }
                    entry.1
                });
                match time.checked_sub(now.duration_since(since)).filter(|left| !left.is_zero()) {
                    Some(left) => Ok(Outcome::After(left)),
                    None => self.evict(&pod).await,
                }
            }
        }
    }
}

impl Eviction {
    fn waiting<R>(&self, work: impl FnOnce(&mut HashMap<ObjectKey, (Uid, Instant)>) -> R) -> R {
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn evict(&self, pod: &Pod) -> Result<Outcome, ControllerError> {
        let (key, uid) = (&pod.meta.key, pod.meta.uid.0.clone());
        let api: Api<v1::Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let message = format!("Marking for deletion Pod {key}");
        self.events.record(&pod_reference(pod), Tone::Normal, "TaintManagerEviction", &message);
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": Time(Timestamp::now())});
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
        let marked = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        gone_is_fine(marked, "say that a pod is evicted")?;
        let precondition = Preconditions { uid: Some(uid), resource_version: None };
        let deleted = api.delete(&key.name, &DeleteParams::default().preconditions(precondition)).await;
        gone_is_fine(deleted, "delete a pod that does not bear its node's taint")?;
        self.waiting(|waiting| waiting.remove(key));
        Ok(Outcome::Done)
    }
}

pub(super) fn gone_is_fine<T>(result: Result<T, kube::Error>, doing: &'static str) -> Result<(), ControllerError> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        Err(error) => Err(ControllerError::api(doing)(error)),
    }
}

//! Conditions and taints of nodes.

use super::{
    LEASES, NodeLease,
    plan::{Hearing, NodePlan, Pace, plan, pods_to_mark},
    pod_reference,
};
use crate::Config;
use k8s_openapi::{
    api::core::v1::{self, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, ObjectKey, Outcome, Queue, Reconcile, Recorder, Term, Tone,
    objects::{Node, Pod},
};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

const NAME: &str = "node-controller";
/// How soon a node is looked at again that was to be tainted but had to wait its turn.
const TURN: Duration = Duration::from_secs(1);

/// Writes conditions and taints.
pub(crate) struct Lifecycle {
    client: kube::Client,
    nodes: Cache<Node>,
    leases: Cache<NodeLease>,
    pods: Cache<Pod>,
    events: Recorder,
    heard: Arc<Mutex<Hearing>>,
    pace: Mutex<Pace>,
}

pub(crate) fn controller(config: &Config, leases: &Cache<NodeLease>) -> Controller<Lifecycle> {
    let queue = Arc::new(Queue::default());
    let heard: Arc<Mutex<Hearing>> = Arc::default();
    let to = Arc::clone(&queue);
    config.nodes.on_change(move |old, new| {
        if let Some(node) = new.or(old) {
            to.add(node.meta.key.clone());
        }
    });
    let (to, ear) = (Arc::clone(&queue), Arc::clone(&heard));
    leases.on_change(move |_, new| {
        let Some(lease) = new else { return };
        let name = &lease.meta.key.name;
        let mut heard = ear.lock().unwrap_or_else(PoisonError::into_inner);
        let was_silent = heard.is_silent(name, Instant::now());
        heard.note(name, lease.renewed, Instant::now());
        if was_silent {
            to.add(ObjectKey::cluster(name));
        }
    });
    let reconciler = Lifecycle {
        client: config.client.clone(),
        nodes: config.nodes.clone(),
        leases: leases.clone(),
        pods: config.pods.clone(),
        events: config.events.signed(NAME),
        heard,
        pace: Mutex::default(),
    };
    let metrics = config.metrics.clone();
    Controller { name: NAME, reconciler: Arc::new(reconciler), queue, workers: 1, metrics }
}

impl Reconcile for Lifecycle {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(node) = self.nodes.get(key) else {
            self.hear(|heard| heard.forget(&key.name));
            return Ok(Outcome::Done);
        };
        let renewed = self.leases.get(&ObjectKey::new(LEASES, &key.name)).and_then(|lease| lease.renewed);
        let now = Instant::now();
        let silent_in = self.hear(|heard| {
            heard.note(&key.name, renewed, now);
            heard.silent_in(&key.name, now)
        });
        let anybody_well =
            self.nodes.all().iter().any(|node| node.condition("Ready").is_some_and(|ready| ready.status == "True"));
        let may_expel = anybody_well && self.pace.lock().unwrap_or_else(PoisonError::into_inner).is_free(now);
        let plan = plan(&node, silent_in.is_none(), may_expel, &Time(Timestamp::now()));
        self.apply(&node, &plan).await?;
        self.mark_pods(&node).await?;
        let wait = if plan.waits && anybody_well { Outcome::After(TURN) } else { Outcome::Done };
        Ok(wait.or(Outcome::maybe_after(silent_in)))
    }
}

impl Lifecycle {
    fn hear<R>(&self, work: impl FnOnce(&mut Hearing) -> R) -> R {
        work(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn apply(&self, node: &Node, plan: &NodePlan) -> Result<(), ControllerError> {
        let (name, api) = (&node.meta.key.name, Api::<v1::Node>::all(self.client.clone()));
        // The version guards against undoing what the node itself wrote meanwhile; a conflict is tried again.
        let guard = json!({"resourceVersion": node.meta.version.to_string()});
        if let Some(conditions) = &plan.conditions {
            let patch = json!({"metadata": guard, "status": {"conditions": conditions}});
            let patched = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            patched.map_err(ControllerError::api("mark a silent node"))?;
            tracing::warn!(node = name, "the node fell silent");
            let message = format!("Node {name} status is now: NodeNotReady");
            self.events.record(&reference(node), Tone::Normal, "NodeNotReady", &message);
            // The taints follow with the version that this write made.
            return Ok(());
        }
        let Some(taints) = &plan.taints else { return Ok(()) };
        let patch = json!({"metadata": guard, "spec": {"taints": taints}});
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(ControllerError::api("taint a node"))?;
        if plan.expels {
            self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        }
        Ok(())
    }

    /// Pods on a node that is not ready are not ready either, whatever they last said.
    async fn mark_pods(&self, node: &Node) -> Result<(), ControllerError> {
        let pods = self.pods.found_under(&Term::Node(node.meta.key.name.clone()));
        for pod in pods_to_mark(node, &pods) {
            let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": Time(Timestamp::now())});
            let patch = json!({"metadata": {"uid": pod.meta.uid.0}, "status": {"conditions": [condition]}});
            let api: Api<v1::Pod> = Api::namespaced(self.client.clone(), &pod.meta.key.namespace);
            match api.patch_status(&pod.meta.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(_) => self.events.record(&pod_reference(pod), Tone::Warning, "NodeNotReady", "Node is not ready"),
                Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
                Err(error) => return Err(ControllerError::api("mark a pod as not ready")(error)),
            }
        }
        Ok(())
    }
}

fn reference(node: &Node) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.meta.key.name.clone()),
        uid: Some(node.meta.uid.0.clone()),
        ..ObjectReference::default()
    }
}

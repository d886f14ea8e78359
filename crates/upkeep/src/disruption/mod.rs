//! How many pods of a PodDisruptionBudget may be evicted now.
//!
//! ```text
//! pods it selects ──► their controllers ──► how many there are to be ──► how many must be well
//!                └──► how many are well ──────────────────────────────► difference: disruptionsAllowed
//! ```
//!
//! The API server takes one off for each eviction and notes the pod in `disruptedPods`; here it is counted anew, and a pod
//! that was to go and did not within two minutes is taken back.

mod object;
mod plan;

use crate::{Config, garbage::Shared};
use k8s_openapi::{
    api::{core::v1::ObjectReference, policy::v1 as policy},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{GetParams, Patch, PatchParams},
    core::Request,
};
use object::Budget;
use orrery_reconcile::{
    Cache, Controller, ControllerError, ObjectKey, Options, Outcome, Queue, Reconcile, Recorder, Tasks, Tone,
    objects::Pod,
};
use plan::{Expected, expected, status, unmanaged};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const NAME: &str = "controllermanager";
const WORKERS: usize = 2;

/// Writes the status of budgets.
pub(crate) struct Disruption {
    client: kube::Client,
    budgets: Cache<Budget>,
    pods: Cache<Pod>,
    kinds: Arc<Shared>,
    events: Recorder,
}

pub(crate) fn start(tasks: &mut Tasks, config: &Config, kinds: &Arc<Shared>) {
    let budgets: Cache<Budget> = Cache::new(config.metrics.clone());
    tasks.follow(&budgets, Api::all(config.client.clone()), Options::default());
    let queue = Arc::new(Queue::default());
    let to = Arc::clone(&queue);
    budgets.on_change(move |_, new| {
        if let Some(budget) = new {
            to.add(budget.meta.key.clone());
        }
    });
    let (to, all) = (Arc::clone(&queue), budgets.clone());
    config.pods.on_change(move |old, new| {
        let Some(pod) = new.or(old) else { return };
        for budget in all.in_namespace(&pod.meta.key.namespace) {
            let picks = |pod: Option<&Pod>| pod.is_some_and(|pod| budget.selector.matches(&pod.meta.labels));
            if picks(old) || picks(new) {
                to.add(budget.meta.key.clone());
            }
        }
    });
    // How many pods a controller is to have changes without any of them changing.
    let (to, all) = (Arc::clone(&queue), budgets.clone());
    kinds.on_change(move |kind, key| {
        if ["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"].contains(&kind) {
            for budget in all.in_namespace(&key.namespace) {
                to.add(budget.meta.key.clone());
            }
        }
    });
    let reconciler = Disruption {
        client: config.client.clone(),
        budgets: budgets.clone(),
        pods: config.pods.clone(),
        kinds: Arc::clone(kinds),
        events: config.events.signed(NAME),
    };
    let (name, metrics) = ("disruption-controller", config.metrics.clone());
    let controller = Controller { name, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics };
    let pods = config.pods.clone();
    tasks.run(controller, async move {
        tokio::join!(budgets.synced(), pods.synced());
    });
}

impl Reconcile for Disruption {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(budget) = self.budgets.get(key).filter(|budget| budget.meta.deleting.is_none()) else {
            return Ok(Outcome::Done);
        };
        let pods = self.pods.in_namespace(&key.namespace);
        let pods: Vec<Arc<Pod>> = pods.into_iter().filter(|pod| budget.selector.matches(&pod.meta.labels)).collect();
        if pods.is_empty() {
            self.events.record(&reference(&budget), Tone::Normal, "NoPods", "No matching pods found");
        }
        let scales = if budget.needs_scale() { self.scales(&pods).await } else { Ok(BTreeMap::new()) };
        let (counted, failure) = match scales {
            Ok(scales) => (expected(&budget, &pods, &scales), None),
            Err(error) => {
                let told = error.told();
                self.events.record(&reference(&budget), Tone::Warning, "CalculateExpectedPodCountFailed", &told);
                (Expected::default(), Some(told))
            }
        };
        let loose = if budget.needs_scale() { unmanaged(&pods) } else { Vec::new() };
        if !loose.is_empty() {
            let names = loose.join(", ");
            let message = format!(
                "These pods are managed by nobody: {names}. How many there are to be is not known; use a number for \
                 spec.minAvailable"
            );
            self.events.record(&reference(&budget), Tone::Warning, "UnmanagedPods", &message);
        }
        let (new, recheck) = status(&budget, &pods, &counted, failure.as_deref(), Timestamp::now());
        if new != budget.status {
            let api: Api<policy::PodDisruptionBudget> = Api::namespaced(self.client.clone(), &key.namespace);
            let patch = Patch::Merge(new.patch(budget.meta.version, &budget.status));
            match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(ControllerError::api("write the status of a disruption budget")(error)),
            }
        }
        Ok(Outcome::maybe_after(recheck))
    }
}

impl Disruption {
    /// How many pods each controller of `pods` is to have, by its UID.
    async fn scales(&self, pods: &[Arc<Pod>]) -> Result<BTreeMap<String, i32>, ControllerError> {
        let mut scales = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for pod in pods {
            let Some(owner) = pod.meta.controller().filter(|owner| seen.insert(owner.uid.clone())) else { continue };
            if let Some((uid, replicas)) = self.scale(&pod.meta.key.namespace, owner).await? {
                scales.insert(uid, replicas);
            }
        }
        Ok(scales)
    }

    /// The UID of the controller that decides, and how many pods it wants; none when it is gone.
    async fn scale(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<(String, i32)>, ControllerError> {
        let Some(object) = self.get(namespace, owner, None).await? else { return Ok(None) };
        if owner.kind == "ReplicaSet" {
            let deployment = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            let deployment = deployment.filter(|owner| owner["controller"] == true && owner["kind"] == "Deployment");
            let mut deployments = deployment.filter_map(|o| serde_json::from_value::<OwnerReference>(o.clone()).ok());
            if let Some(deployment) = deployments.next()
                && let Some(object) = self.get(namespace, &deployment, None).await?
            {
                return Ok(Some((deployment.uid.clone(), replicas(&object))));
            }
        }
        if ["ReplicaSet", "ReplicationController", "StatefulSet"].contains(&owner.kind.as_str()) {
            return Ok(Some((owner.uid.clone(), replicas(&object))));
        }
        match self.get(namespace, owner, Some("scale")).await? {
            Some(scale) => Ok(Some((owner.uid.clone(), replicas(&scale)))),
            None => {
                let OwnerReference { kind, name, .. } = owner;
                Err(ControllerError::Invalid(format!("{kind} {name:?} does not say how many pods it wants (no scale)")))
            }
        }
    }

    /// The owner itself or a sub-resource of it, when it is still the one that is meant.
    async fn get(
        &self,
        namespace: &str,
        owner: &OwnerReference,
        subresource: Option<&str>,
    ) -> Result<Option<Value>, ControllerError> {
        let root = self.kinds.collection(owner, namespace)?;
        let doing = ControllerError::api("read the controller of a pod");
        let request = match subresource {
            None => Request::new(root).get(&owner.name, &GetParams::default()),
            Some(subresource) => Request::new(root).get_subresource(subresource, &owner.name),
        };
        let request = request.map_err(|error| doing(kube::Error::BuildRequest(error)))?;
        match self.client.request::<Value>(request).await {
            Ok(object) if subresource.is_some() || object["metadata"]["uid"] == owner.uid => Ok(Some(object)),
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(doing(error)),
        }
    }
}

fn replicas(object: &Value) -> i32 {
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    i32::try_from(wanted).unwrap_or(i32::MAX)
}

fn reference(budget: &Budget) -> ObjectReference {
    ObjectReference {
        api_version: Some("policy/v1".to_owned()),
        kind: Some("PodDisruptionBudget".to_owned()),
        namespace: Some(budget.meta.key.namespace.clone()),
        name: Some(budget.meta.key.name.clone()),
        uid: Some(budget.meta.uid.0.clone()),
        ..ObjectReference::default()
    }
}

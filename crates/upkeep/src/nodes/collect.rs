//! Removing pods that nobody will ever end or remove.
//!
//! | pod | removed |
//! |---|---|
//! | on a node that is gone, for 40 s | as failed |
//! | being deleted and on no node | at once |
//! | being deleted on a node that is out of service and not ready | as failed |
//! | ended, beyond the number that is kept | oldest first |

use super::eviction::gone_is_fine;
use crate::Config;
use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, ObjectKey, Outcome, Queue, Reconcile,
    objects::{Node, Pod},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often pods are gone through.
const INTERVAL: Duration = Duration::from_secs(20);
/// How long a node must have been gone: it may only be seen late.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How many pods that have ended are kept.
const KEPT: usize = 12_500;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Removes such pods.
pub(crate) struct Collect {
    client: kube::Client,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    missing: Mutex<BTreeMap<String, Instant>>,
}

/// Why a pod is removed, and whether it is failed by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    NodeGone,
    Unscheduled,
    OutOfService,
    TooMany,
}

impl Why {
    fn disruption(self) -> Option<&'static str> {
        match self {
            Self::NodeGone => Some("PodGC: node no longer exists"),
            Self::OutOfService => Some("PodGC: node is out of service"),
            Self::Unscheduled | Self::TooMany => None,
        }
    }
}

pub(crate) fn controller(config: &Config) -> Controller<Collect> {
    let queue = Arc::new(Queue::default());
    queue.add(ObjectKey::default());
    let (client, pods, nodes) = (config.client.clone(), config.pods.clone(), config.nodes.clone());
    let reconciler = Arc::new(Collect { client, pods, nodes, missing: Mutex::default() });
    Controller { name: "pod-garbage-collector", reconciler, queue, workers: 1, metrics: config.metrics.clone() }
}

impl Reconcile for Collect {
    async fn reconcile(&self, _: &ObjectKey) -> Result<Outcome, ControllerError> {
        let (pods, nodes) = (self.pods.all(), self.nodes.all());
        let nodes: BTreeMap<&str, &Node> = nodes.iter().map(|node| (node.meta.key.name.as_str(), &**node)).collect();
        let mut gone = self.missing_for_long(&pods, &nodes);
        // The cache may be late: nobody's pods are removed without asking once more.
        let api: Api<v1::Node> = Api::all(self.client.clone());
        let mut back = BTreeSet::new();
        for name in &gone {
            if api.get_opt(name).await.map_err(ControllerError::api("look for a node"))?.is_some() {
                back.insert(name.clone());
            }
        }
        gone.retain(|name| !back.contains(name));
        for (pod, why) in plan(&pods, &nodes, &gone, KEPT) {
            self.remove(pod, why).await?;
        }
        Ok(Outcome::After(INTERVAL))
    }
}

impl Collect {
    fn missing_for_long(&self, pods: &[Arc<Pod>], nodes: &BTreeMap<&str, &Node>) -> BTreeSet<String> {
        let now = Instant::now();
        let named: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.node.as_deref()).collect();
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|name, _| named.contains(name.as_str()) && !nodes.contains_key(name.as_str()));
        for name in named.into_iter().filter(|name| !nodes.contains_key(name)) {
            missing.entry(name.to_owned()).or_insert(now);
        }
        let long = missing.iter().filter(|(_, since)| now.duration_since(**since) >= QUARANTINE);
        long.map(|(name, _)| name.clone()).collect()
    }

    async fn remove(&self, pod: &Pod, why: Why) -> Result<(), ControllerError> {
        let (key, uid) = (&pod.meta.key, pod.meta.uid.0.clone());
        let api: Api<v1::Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        if let Some(message) = why.disruption().filter(|_| !pod.is_over()) {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
                "lastTransitionTime": Time(Timestamp::now())});
            let patch = json!({"metadata": {"uid": uid}, "status": {"phase": "Failed", "conditions": [condition]}});
            let marked = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            gone_is_fine(marked, "say that a pod has failed with its node")?;
        }
        let precondition = Preconditions { uid: Some(uid), resource_version: None };
        let params = DeleteParams::default().grace_period(0).preconditions(precondition);
        gone_is_fine(api.delete(&key.name, &params).await, "remove a pod that nobody ends")?;
        tracing::info!(pod = %key, ?why, "removed a pod");
        Ok(())
    }
}

/// The pods to remove. `gone` are nodes that are known to be no more.
fn plan<'a>(
    pods: &'a [Arc<Pod>],
    nodes: &BTreeMap<&str, &Node>,
    gone: &BTreeSet<String>,
    kept: usize,
) -> Vec<(&'a Pod, Why)> {
    let out_of_service = |name: &str| {
        nodes.get(name).is_some_and(|node| {
            let ready = node.condition("Ready").is_some_and(|ready| ready.status == "True");
            !ready && node.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
        })
    };
    let why = |pod: &Pod| match (&pod.node, pod.meta.deleting) {
        (Some(node), _) if gone.contains(node) => Some(Why::NodeGone),
        (Some(node), Some(_)) if out_of_service(node) => Some(Why::OutOfService),
        (None, Some(_)) => Some(Why::Unscheduled),
        (Some(_) | None, _) => None,
    };
    let mut plan: Vec<(&Pod, Why)> = pods.iter().filter_map(|pod| Some((&**pod, why(pod)?))).collect();
    let mut over: Vec<&Pod> = pods.iter().map(|pod| &**pod).filter(|pod| pod.is_over() && why(pod).is_none()).collect();
    over.sort_by_key(|pod| (pod.meta.created, &pod.meta.key));
    over.truncate(over.len().saturating_sub(kept));
    plan.extend(over.into_iter().map(|pod| (pod, Why::TooMany)));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Taint;
    use orrery_reconcile::{Meta, objects::Phase};

    fn pod(name: &str, node: Option<&str>, deleting: bool, phase: Phase) -> Arc<Pod> {
        let mut pod = Pod { node: node.map(str::to_owned), phase, ..Pod::default() };
        pod.meta.key = ObjectKey::new("demo", name);
        pod.meta.deleting = deleting.then(Timestamp::now);
        Arc::new(pod)
    }

    #[test]
    fn only_pods_that_nobody_else_will_remove_are_removed() {
        let taint = Taint { key: OUT_OF_SERVICE.into(), effect: "NoExecute".into(), ..Taint::default() };
        let node =
            |taints| Node { meta: Meta::default(), unschedulable: false, taints, conditions: vec![], heartbeat: None };
        let (well, broken) = (node(vec![]), node(vec![taint]));
        let nodes = BTreeMap::from([("well", &well), ("broken", &broken)]);
        let pods = [
            pod("runs", Some("well"), false, Phase::Running),
            pod("ends", Some("well"), true, Phase::Running),
            pod("orphan", Some("gone"), false, Phase::Running),
            pod("unsure", Some("unseen"), false, Phase::Running),
            pod("never-bound", None, true, Phase::Pending),
            pod("pending", None, false, Phase::Pending),
            pod("stuck", Some("broken"), true, Phase::Running),
            pod("there", Some("broken"), false, Phase::Running),
            pod("over-1", Some("well"), false, Phase::Succeeded),
            pod("over-2", Some("well"), false, Phase::Failed),
        ];
        let removed: Vec<(&str, Why)> = plan(&pods, &nodes, &["gone".to_owned()].into(), 1)
            .into_iter()
            .map(|(pod, why)| (pod.meta.key.name.as_str(), why))
            .collect();
        let expected = [
            ("orphan", Why::NodeGone),
            ("never-bound", Why::Unscheduled),
            ("stuck", Why::OutOfService),
            ("over-1", Why::TooMany),
        ];
        assert_eq!(removed, expected);
    }
}

//! ReplicaSets and ReplicationControllers as the controllers see them.

use crate::pods::{TemplateDigest, Workload, digest};
use k8s_openapi::api::{
    apps::v1 as apps,
    core::v1::{self as core, PodTemplateSpec},
};
use kube::Api;
use orrery_reconcile::{Meta, Projected, Revision, Selector};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Written by kubectl, large, and of no interest to a controller.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What both kinds have in common.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ReplicaSet {
    pub(crate) meta: Meta,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) replicas: i32,
    pub(crate) min_ready: Duration,
    pub(crate) selector: Selector,
    pub(crate) template_labels: BTreeMap<String, String>,
    pub(crate) template: TemplateDigest,
    /// Whether its kind's status counts pods that are being deleted.
    pub(crate) counts_terminating: bool,
    pub(crate) status: ReplicaStatus,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ReplicaStatus {
    pub(crate) replicas: i32,
    pub(crate) fully_labeled: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    /// Only ReplicaSets have it.
    pub(crate) terminating: Option<i32>,
    pub(crate) observed: i64,
    pub(crate) conditions: Vec<apps::ReplicaSetCondition>,
}

impl ReplicaStatus {
    /// A merge patch of the status sub-resource that is refused when the object is not of `version` any more. Zeros are
    /// left out as upstream leaves them out, `replicas` aside.
    pub(crate) fn patch(&self, version: Revision) -> Value {
        let count = |count: i32| if count == 0 { Value::Null } else { count.into() };
        let conditions = if self.conditions.is_empty() { Value::Null } else { json!(self.conditions) };
        let mut status = json!({
            "replicas": self.replicas,
            "fullyLabeledReplicas": count(self.fully_labeled),
            "readyReplicas": count(self.ready),
            "availableReplicas": count(self.available),
            "observedGeneration": self.observed,
            "conditions": conditions,
        });
        if let Some(terminating) = self.terminating {
            status["terminatingReplicas"] = terminating.into();
        }
        json!({"metadata": {"resourceVersion": version.to_string()}, "status": status})
    }
}

/// One of both kinds.
pub(crate) trait ReplicaKind: Workload {
    /// How its controller signs.
    const COMPONENT: &'static str;

    fn core(&self) -> &ReplicaSet;

    /// The API of a namespace.
    fn api(client: kube::Client, namespace: &str) -> Api<Self::Object>;

    /// The template of an API object.
    fn template(object: Self::Object) -> Option<PodTemplateSpec>;
}

impl Projected for ReplicaSet {
    type Object = apps::ReplicaSet;
    const PLURAL: &'static str = "replicasets";

    fn project(mut object: apps::ReplicaSet) -> Option<Self> {
        let annotations = annotations(object.metadata.annotations.take());
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let template = spec.template.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        Some(Self {
            meta,
            annotations,
            replicas: spec.replicas.unwrap_or(1),
            min_ready: seconds(spec.min_ready_seconds),
            selector: Selector::of(Some(&spec.selector)),
            template: digest(&template),
            counts_terminating: true,
            template_labels: template.metadata.and_then(|meta| meta.labels).unwrap_or_default(),
            status: ReplicaStatus {
                replicas: status.replicas,
                fully_labeled: status.fully_labeled_replicas.unwrap_or_default(),
                ready: status.ready_replicas.unwrap_or_default(),
                available: status.available_replicas.unwrap_or_default(),
                terminating: status.terminating_replicas,
                observed: status.observed_generation.unwrap_or_default(),
                conditions: status.conditions.unwrap_or_default(),
            },
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Workload for ReplicaSet {
    const GROUP: &'static str = "apps";
    const API_VERSION: &'static str = "apps/v1";
    const KIND: &'static str = "ReplicaSet";

    fn selector(&self) -> &Selector {
        &self.selector
    }
}

impl ReplicaKind for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";

    fn core(&self) -> &ReplicaSet {
        self
    }

    fn api(client: kube::Client, namespace: &str) -> Api<Self::Object> {
        Api::namespaced(client, namespace)
    }

    fn template(object: apps::ReplicaSet) -> Option<PodTemplateSpec> {
        object.spec?.template
    }
}

/// The older kind, which selects by a map of labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReplicationController(ReplicaSet);

impl Projected for ReplicationController {
    type Object = core::ReplicationController;
    const PLURAL: &'static str = "replicationcontrollers";

    fn project(mut object: core::ReplicationController) -> Option<Self> {
        let annotations = annotations(object.metadata.annotations.take());
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let template = spec.template.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        Some(Self(ReplicaSet {
            meta,
            annotations,
            replicas: spec.replicas.unwrap_or(1),
            min_ready: seconds(spec.min_ready_seconds),
            selector: Selector::of_map(spec.selector.as_ref()),
            template: TemplateDigest::default(),
            counts_terminating: false,
            template_labels: template.metadata.and_then(|meta| meta.labels).unwrap_or_default(),
            status: ReplicaStatus {
                replicas: status.replicas,
                fully_labeled: status.fully_labeled_replicas.unwrap_or_default(),
                ready: status.ready_replicas.unwrap_or_default(),
                available: status.available_replicas.unwrap_or_default(),
                terminating: None,
                observed: status.observed_generation.unwrap_or_default(),
                conditions: conditions.into_iter().map(condition).collect(),
            },
        }))
    }

    fn meta(&self) -> &Meta {
        &self.0.meta
    }
}

impl Workload for ReplicationController {
    const GROUP: &'static str = "";
    const API_VERSION: &'static str = "v1";
    const KIND: &'static str = "ReplicationController";

    fn selector(&self) -> &Selector {
        &self.0.selector
    }
}

impl ReplicaKind for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";

    fn core(&self) -> &ReplicaSet {
        &self.0
    }

    fn api(client: kube::Client, namespace: &str) -> Api<Self::Object> {
        Api::namespaced(client, namespace)
    }

    fn template(object: core::ReplicationController) -> Option<PodTemplateSpec> {
        object.spec?.template
    }
}

/// The same fields under another name.
fn condition(condition: core::ReplicationControllerCondition) -> apps::ReplicaSetCondition {
    apps::ReplicaSetCondition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        last_transition_time: condition.last_transition_time,
    }
}

pub(crate) fn annotations(annotations: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut kept = annotations.unwrap_or_default();
    kept.remove(LAST_APPLIED);
    kept
}

pub(crate) fn seconds(count: Option<i32>) -> Duration {
    Duration::from_secs(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
}

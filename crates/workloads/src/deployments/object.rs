//! Deployments as the controller sees them.

use crate::{
    pods::{TemplateDigest, Workload, digest, safe_hash},
    replicas::{annotations, seconds},
};
use k8s_openapi::{
    api::apps::v1::{self as apps, DeploymentCondition},
    apimachinery::pkg::util::intstr::IntOrString,
};
use orrery_reconcile::{Meta, Projected, Revision, Selector};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// How old pods are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Strategy {
    /// All old ones go first.
    Recreate,
    /// Step by step, within bounds.
    Rolling { surge: IntOrString, unavailable: IntOrString },
}

/// A deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deployment {
    pub(super) meta: Meta,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) replicas: i32,
    pub(super) min_ready_seconds: i32,
    pub(super) selector: Selector,
    pub(super) selects_all: bool,
    pub(super) strategy: Strategy,
    pub(super) paused: bool,
    /// None: all old sets are kept.
    pub(super) history_limit: Option<usize>,
    /// None: it may take for ever.
    pub(super) progress_deadline: Option<Duration>,
    pub(super) template: TemplateDigest,
    /// What the set of the present template is called behind the deployment's own name.
    pub(super) hash: String,
    pub(super) status: DeploymentStatus,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct DeploymentStatus {
    pub(super) replicas: i32,
    pub(super) updated: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    pub(super) unavailable: i32,
    pub(super) terminating: Option<i32>,
    pub(super) observed: i64,
    pub(super) collisions: Option<i32>,
    pub(super) conditions: Vec<DeploymentCondition>,
}

impl DeploymentStatus {
    /// A merge patch of the status sub-resource that is refused when the object is not of `version` any more.
    pub(super) fn patch(&self, version: Revision) -> Value {
        let count = |count: i32| if count == 0 { Value::Null } else { count.into() };
        let conditions = if self.conditions.is_empty() { Value::Null } else { json!(self.conditions) };
        let mut status = json!({
            "replicas": count(self.replicas),
            "updatedReplicas": count(self.updated),
            "readyReplicas": count(self.ready),
            "availableReplicas": count(self.available),
            "unavailableReplicas": count(self.unavailable),
            "observedGeneration": self.observed,
            "collisionCount": self.collisions,
            "conditions": conditions,
        });
        if let Some(terminating) = self.terminating {
            status["terminatingReplicas"] = terminating.into();
        }
        json!({"metadata": {"resourceVersion": version.to_string()}, "status": status})
    }
}

impl Projected for Deployment {
    type Object = apps::Deployment;
    const PLURAL: &'static str = "deployments";

    fn project(mut object: apps::Deployment) -> Option<Self> {
        let annotations = annotations(object.metadata.annotations.take());
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        let nothing = |list: Option<usize>| list.is_none_or(|length| length == 0);
        Some(Self {
            meta,
            annotations,
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            selector: Selector::of(Some(&spec.selector)),
            selects_all: nothing(spec.selector.match_labels.as_ref().map(BTreeMap::len))
                && nothing(spec.selector.match_expressions.as_ref().map(Vec::len)),
            strategy: strategy(spec.strategy),
            paused: spec.paused.unwrap_or_default(),
            history_limit: spec.revision_history_limit.filter(|n| *n != i32::MAX).and_then(|n| usize::try_from(n).ok()),
            progress_deadline: spec
                .progress_deadline_seconds
                .filter(|seconds| *seconds != i32::MAX)
                .map(|count| seconds(Some(count))),
            template: digest(&spec.template),
            hash: safe_hash(&spec.template, status.collision_count),
            status: DeploymentStatus {
                replicas: status.replicas.unwrap_or_default(),
                updated: status.updated_replicas.unwrap_or_default(),
                ready: status.ready_replicas.unwrap_or_default(),
                available: status.available_replicas.unwrap_or_default(),
                unavailable: status.unavailable_replicas.unwrap_or_default(),
                terminating: status.terminating_replicas,
                observed: status.observed_generation.unwrap_or_default(),
                collisions: status.collision_count,
                conditions: status.conditions.unwrap_or_default(),
            },
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Workload for Deployment {
    const GROUP: &'static str = "apps";
    const API_VERSION: &'static str = "apps/v1";
    const KIND: &'static str = "Deployment";

    fn selector(&self) -> &Selector {
        &self.selector
    }
}

fn strategy(strategy: Option<apps::DeploymentStrategy>) -> Strategy {
    let strategy = strategy.unwrap_or_default();
    if strategy.type_.as_deref() == Some("Recreate") {
        return Strategy::Recreate;
    }
    let quarter = || IntOrString::String("25%".to_owned());
    let rolling = strategy.rolling_update.unwrap_or_default();
    Strategy::Rolling {
        surge: rolling.max_surge.unwrap_or_else(quarter),
        unavailable: rolling.max_unavailable.unwrap_or_else(quarter),
    }
}

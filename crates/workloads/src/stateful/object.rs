//! StatefulSets as the controller sees them.

use crate::{
    pods::{TemplateDigest, Workload, digest, safe_hash},
    replicas::seconds,
};
use k8s_openapi::{
    api::apps::v1::{self as apps, StatefulSetCondition},
    apimachinery::pkg::util::intstr::IntOrString,
};
use orrery_reconcile::{Meta, Projected, Selector, objects::Pod};
use serde_json::{Value, json};
use std::time::Duration;

/// How old pods are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Strategy {
    /// When somebody deletes them.
    OnDelete,
    /// Those from this number on, so many at a time. The partition is none when nothing was said of it.
    Rolling { partition: Option<i32>, unavailable: IntOrString },
}

/// A stateful set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StatefulSet {
    pub(super) meta: Meta,
    pub(super) selector: Selector,
    pub(super) replicas: i32,
    /// The first number.
    pub(super) start: i32,
    /// Numbers do not wait for each other.
    pub(super) parallel: bool,
    pub(super) min_ready: Duration,
    pub(super) history_limit: usize,
    pub(super) strategy: Strategy,
    pub(super) template: TemplateDigest,
    pub(super) hash: String,
    pub(super) status: StatefulStatus,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct StatefulStatus {
    pub(super) replicas: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    pub(super) current: i32,
    pub(super) updated: i32,
    pub(super) current_revision: Option<String>,
    pub(super) update_revision: Option<String>,
    pub(super) observed: i64,
    pub(super) collisions: Option<i32>,
    pub(super) conditions: Vec<StatefulSetCondition>,
}

impl StatefulStatus {
    pub(super) fn to_value(&self) -> Value {
        let count = |count: i32| if count == 0 { Value::Null } else { count.into() };
        json!({
            "replicas": self.replicas, "readyReplicas": count(self.ready), "availableReplicas": self.available,
            "currentReplicas": count(self.current), "updatedReplicas": count(self.updated),
            "currentRevision": self.current_revision, "updateRevision": self.update_revision,
            "observedGeneration": self.observed, "collisionCount": self.collisions.unwrap_or_default(),
        })
    }
}

impl StatefulSet {
    /// The number of a pod that is called like ours.
    pub(super) fn ordinal_of(&self, pod: &Pod) -> Option<i32> {
        let (parent, number) = pod.meta.key.name.rsplit_once('-')?;
        (parent == self.meta.key.name).then(|| number.parse().ok())?
    }
}

impl Projected for StatefulSet {
    type Object = apps::StatefulSet;
    const PLURAL: &'static str = "statefulsets";

    fn project(mut object: apps::StatefulSet) -> Option<Self> {
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        let name = |name: Option<String>| name.filter(|name| !name.is_empty());
        Some(Self {
            meta,
            selector: Selector::of(Some(&spec.selector)),
            replicas: spec.replicas.unwrap_or(1),
            start: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or_default(),
            parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
            min_ready: seconds(spec.min_ready_seconds),
            history_limit: spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10),
            strategy: strategy(spec.update_strategy),
            template: digest(&spec.template),
            hash: safe_hash(&spec.template, status.collision_count),
            status: StatefulStatus {
                replicas: status.replicas,
                ready: status.ready_replicas.unwrap_or_default(),
                available: status.available_replicas.unwrap_or_default(),
                current: status.current_replicas.unwrap_or_default(),
                updated: status.updated_replicas.unwrap_or_default(),
                current_revision: name(status.current_revision),
                update_revision: name(status.update_revision),
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

impl Workload for StatefulSet {
    const GROUP: &'static str = "apps";
    const API_VERSION: &'static str = "apps/v1";
    const KIND: &'static str = "StatefulSet";

    fn selector(&self) -> &Selector {
        &self.selector
    }
}

fn strategy(strategy: Option<apps::StatefulSetUpdateStrategy>) -> Strategy {
    let strategy = strategy.unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Strategy::OnDelete;
    }
    let rolling = strategy.rolling_update;
    Strategy::Rolling {
        partition: rolling.as_ref().map(|rolling| rolling.partition.unwrap_or_default()),
        unavailable: rolling.and_then(|rolling| rolling.max_unavailable).unwrap_or(IntOrString::Int(1)),
    }
}

//! DaemonSets as the controller sees them.

use super::nodes::tolerations;
use crate::{
    pods::{TemplateDigest, Workload, digest, safe_hash},
    project::pod_view,
    replicas::seconds,
};
use k8s_openapi::{
    api::{
        apps::v1::{self as apps, DaemonSetCondition},
        core::v1,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use orrery_drs::view::PodView;
use orrery_reconcile::{Meta, Projected, Selector};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// How old pods are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Strategy {
    /// When somebody deletes them.
    OnDelete,
    Rolling {
        surge: IntOrString,
        unavailable: IntOrString,
    },
}

/// A daemon set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DaemonSet {
    pub(super) meta: Meta,
    pub(super) selector: Selector,
    pub(super) selects_all: bool,
    pub(super) min_ready: Duration,
    pub(super) history_limit: usize,
    pub(super) strategy: Strategy,
    pub(super) template: TemplateDigest,
    pub(super) hash: String,
    /// What the pod asks of its node; none when it cannot be read, and then it may run nowhere.
    pub(super) pod: Option<PodView>,
    pub(super) status: DaemonStatus,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct DaemonStatus {
    pub(super) desired: i32,
    pub(super) current: i32,
    pub(super) misscheduled: i32,
    pub(super) ready: i32,
    pub(super) updated: i32,
    pub(super) available: i32,
    pub(super) unavailable: i32,
    pub(super) observed: i64,
    pub(super) collisions: Option<i32>,
    pub(super) conditions: Vec<DaemonSetCondition>,
}

impl DaemonStatus {
    pub(super) fn to_value(&self) -> Value {
        let count = |count: i32| if count == 0 { Value::Null } else { count.into() };
        json!({
            "desiredNumberScheduled": self.desired, "currentNumberScheduled": self.current,
            "numberMisscheduled": self.misscheduled, "numberReady": self.ready,
            "updatedNumberScheduled": count(self.updated), "numberAvailable": count(self.available),
            "numberUnavailable": count(self.unavailable), "observedGeneration": self.observed,
        })
    }
}

impl Projected for DaemonSet {
    type Object = apps::DaemonSet;
    const PLURAL: &'static str = "daemonsets";

    fn project(mut object: apps::DaemonSet) -> Option<Self> {
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        let nothing = |list: Option<usize>| list.is_none_or(|length| length == 0);
        let mut pod = v1::Pod { spec: spec.template.spec.clone(), ..v1::Pod::default() };
        if let Some(spec) = &mut pod.spec {
            tolerations(spec);
        }
        Some(Self {
            meta,
            selector: Selector::of(Some(&spec.selector)),
            selects_all: nothing(spec.selector.match_labels.as_ref().map(BTreeMap::len))
                && nothing(spec.selector.match_expressions.as_ref().map(Vec::len)),
            min_ready: seconds(spec.min_ready_seconds),
            history_limit: spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10),
            strategy: strategy(spec.update_strategy),
            template: digest(&spec.template),
            hash: safe_hash(&spec.template, status.collision_count),
            pod: pod_view(&pod).ok(),
            status: DaemonStatus {
                desired: status.desired_number_scheduled,
                current: status.current_number_scheduled,
                misscheduled: status.number_misscheduled,
                ready: status.number_ready,
                updated: status.updated_number_scheduled.unwrap_or_default(),
                available: status.number_available.unwrap_or_default(),
                unavailable: status.number_unavailable.unwrap_or_default(),
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

impl Workload for DaemonSet {
    const GROUP: &'static str = "apps";
    const API_VERSION: &'static str = "apps/v1";
    const KIND: &'static str = "DaemonSet";

    fn selector(&self) -> &Selector {
        &self.selector
    }
}

fn strategy(strategy: Option<apps::DaemonSetUpdateStrategy>) -> Strategy {
    let strategy = strategy.unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Strategy::OnDelete;
    }
    let rolling = strategy.rolling_update.unwrap_or_default();
    Strategy::Rolling {
        surge: rolling.max_surge.unwrap_or(IntOrString::Int(0)),
        unavailable: rolling.max_unavailable.unwrap_or(IntOrString::Int(1)),
    }
}

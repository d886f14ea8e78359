//! Budgets as the controller sees them.

use k8s_openapi::{
    api::policy::v1 as policy,
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
    jiff::Timestamp,
};
use orrery_reconcile::{Meta, Projected, Revision, Selector, Term};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What is to stay, or may go.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound {
    MinAvailable(IntOrString),
    MaxUnavailable(IntOrString),
}

/// A budget.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Budget {
    pub(super) meta: Meta,
    pub(super) selector: Selector,
    pub(super) bound: Option<Bound>,
    pub(super) status: BudgetStatus,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct BudgetStatus {
    pub(super) healthy: i32,
    pub(super) desired: i32,
    pub(super) expected: i32,
    pub(super) allowed: i32,
    pub(super) observed: i64,
    /// Pods that are about to be evicted, and since when.
    pub(super) disrupted: BTreeMap<String, Timestamp>,
    pub(super) conditions: Vec<Condition>,
}

impl Budget {
    /// Whether it has to be known how many pods there are to be.
    pub(super) fn needs_scale(&self) -> bool {
        !matches!(self.bound, None | Some(Bound::MinAvailable(IntOrString::Int(_))))
    }
}

impl BudgetStatus {
    /// A merge patch of the status sub-resource that is refused when the object is not of `version` any more.
    pub(super) fn patch(&self, version: Revision, before: &Self) -> Value {
        let mut disrupted: Map<String, Value> = before.disrupted.keys().map(|pod| (pod.clone(), Value::Null)).collect();
        disrupted.extend(self.disrupted.iter().map(|(pod, at)| (pod.clone(), json!(Time(*at)))));
        json!({
            "metadata": {"resourceVersion": version.to_string()},
            "status": {
                "currentHealthy": self.healthy, "desiredHealthy": self.desired, "expectedPods": self.expected,
                "disruptionsAllowed": self.allowed, "observedGeneration": self.observed,
                "disruptedPods": disrupted, "conditions": self.conditions,
            },
        })
    }
}

impl Projected for Budget {
    type Object = policy::PodDisruptionBudget;
    const PLURAL: &'static str = "poddisruptionbudgets";

    fn project(mut object: policy::PodDisruptionBudget) -> Option<Self> {
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        let min = spec.min_available.map(Bound::MinAvailable);
        Some(Self {
            meta,
            selector: Selector::of(spec.selector.as_ref()),
            bound: spec.max_unavailable.map(Bound::MaxUnavailable).or(min),
            status: BudgetStatus {
                healthy: status.current_healthy.unwrap_or_default(),
                desired: status.desired_healthy.unwrap_or_default(),
                expected: status.expected_pods.unwrap_or_default(),
                allowed: status.disruptions_allowed.unwrap_or_default(),
                observed: status.observed_generation.unwrap_or_default(),
                disrupted: status.disrupted_pods.into_iter().flatten().map(|(pod, Time(at))| (pod, at)).collect(),
                conditions: status.conditions.unwrap_or_default(),
            },
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

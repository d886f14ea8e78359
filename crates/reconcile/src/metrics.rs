//! What is counted of controllers, named as upstream names it.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByName {
    pub(crate) name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByResult {
    pub(crate) controller: &'static str,
    pub(crate) result: &'static str,
}

/// Counts of all controllers of a process. Clones count into the same numbers.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(crate) depth: Family<ByName, Gauge>,
    pub(crate) retries: Family<ByName, Counter>,
    pub(crate) reconciles: Family<ByResult, Counter>,
    pub(crate) cached: Family<ByName, Gauge>,
    pub(crate) relists: Family<ByName, Counter>,
}

impl Metrics {
    /// Has the numbers served with `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("workqueue_depth", "Keys that wait to be looked at", self.depth.clone());
        registry.register("workqueue_retries", "Keys that were put back after a failure", self.retries.clone());
        registry.register(
            "controller_runtime_reconcile",
            "Keys that were looked at, by what came of it: success, requeue_after, error or panic",
            self.reconciles.clone(),
        );
        registry.register("orrery_cache_objects", "Objects in a cache of the controllers", self.cached.clone());
        registry.register("orrery_cache_relists", "Times that a cache was listed anew", self.relists.clone());
    }
}

//! What is counted.

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{sync::atomic::AtomicI64, time::Duration};

/// Upper bounds in seconds, from a read in memory to the request timeout.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) code: u16,
}

/// Labels of a duration: without the code, to keep the number of series low.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct VerbLabels {
    pub(crate) verb: &'static str,
    pub(crate) resource: String,
}

/// The server's metrics, named as upstream names them.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram, fn() -> Histogram>,
    /// Requests under way, watches and streams aside.
    pub(crate) in_flight: Gauge<i64, AtomicI64>,
    /// Watches under way.
    pub(crate) watchers: Gauge<i64, AtomicI64>,
}

impl Metrics {
    /// With those of the audit log, when there is one.
    pub(crate) fn new(audit: Option<&orrery_auth::audit::AuditLog>, more: Vec<crate::MetricSource>) -> Self {
        let mut registry = Registry::default();
        more.into_iter().for_each(|register| register(&mut registry));
        let requests = Family::default();
        let make: fn() -> Histogram = || Histogram::new(BUCKETS);
        let durations = Family::new_with_constructor(make);
        let in_flight = Gauge::default();
        let watchers = Gauge::default();
        registry.register("apiserver_request", "Requests answered", Clone::clone(&requests));
        registry.register(
            "apiserver_request_duration_seconds",
            "Time until a request was answered, watches and streams aside",
            Clone::clone(&durations),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests under way, watches and streams aside",
            Clone::clone(&in_flight),
        );
        registry.register("apiserver_registered_watchers", "Watches under way", Clone::clone(&watchers));
        if let Some(audit) = audit {
            audit.metrics().register(&mut registry);
        }
        Self { registry, requests, durations, in_flight, watchers }
    }

    /// Counts an answered request. `took` is none for watches and streams.
    pub(crate) fn answered(&self, labels: &RequestLabels, took: Option<Duration>) {
        self.requests.get_or_create(labels).inc();
        if let Some(took) = took {
            let verb = VerbLabels { verb: labels.verb, resource: labels.resource.clone() };
            self.durations.get_or_create(&verb).observe(took.as_secs_f64());
        }
    }

    /// All metrics in the OpenMetrics text format.
    pub(crate) fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string does not fail");
        out
    }
}

/// Counts one up for as long as it lives.
pub(crate) struct Counted(Gauge<i64, AtomicI64>);

impl Counted {
    pub(crate) fn one(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

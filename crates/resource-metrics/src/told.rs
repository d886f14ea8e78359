//! What one kubelet told: counters, each with the time at which it stood so.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// A counter of CPU time and a size of memory, at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// When it was read.
    pub(crate) at: Timestamp,
    /// When what it counts began.
    pub(crate) since: Timestamp,
    /// CPU time since then, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// Memory that cannot be given to others, in bytes.
    pub(crate) working_set_bytes: u64,
}

/// What one kubelet told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) node: Option<Reading>,
    /// By the pod's uid: its containers.
    pub(crate) pods: HashMap<String, HashMap<String, Reading>>,
}

impl Told {
    /// Reads a kubelet's `/stats/summary`. What is incomplete is left out.
    pub(crate) fn read(summary: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list(&summary["pods"]);
        let pods = pods.iter().map(|pod| {
            let containers = list(&pod["containers"]);
            let containers = containers.iter().filter_map(|of| Some((text(&of["name"]), reading(of)?)));
            (text(&pod["podRef"]["uid"]), containers.collect())
        });
        Self { node: reading(&summary["node"]), pods: pods.collect() }
    }
}

fn reading(of: &Value) -> Option<Reading> {
    let time = |value: &Value| value.as_str()?.parse().ok();
    Some(Reading {
        at: time(&of["cpu"]["time"])?,
        since: time(&of["startTime"])?,
        cpu_nanos: of["cpu"]["usageCoreNanoSeconds"].as_u64()?,
        working_set_bytes: of["memory"]["workingSetBytes"].as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_complete_is_taken() {
        let of = |cpu: Value| {
            json!({"name": "app", "startTime": "2026-01-01T00:00:00Z", "memory": {"workingSetBytes": 7},
                "cpu": {"time": "2026-01-01T00:00:01.5Z", "usageCoreNanoSeconds": cpu}})
        };
        let summary = json!({"node": of(json!(9)), "pods": [
            {"podRef": {"uid": "a"}, "containers": [of(json!(5))]},
            {"podRef": {"uid": "b"}, "containers": [of(json!(null))]},
            {"podRef": {"uid": "c"}},
        ]});
        let told = Told::read(&summary);
        let node = told.node.unwrap();
        assert_eq!((node.cpu_nanos, node.working_set_bytes), (9, 7));
        assert_eq!((node.at - node.since).total(jiff::Unit::Millisecond).unwrap(), 1500.0);
        assert_eq!(told.pods["a"]["app"].cpu_nanos, 5);
        assert!(told.pods["b"].is_empty() && told.pods["c"].is_empty());
        assert_eq!(Told::read(&json!("nonsense")), Told::default());
    }
}

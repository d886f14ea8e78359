//! `NodeMetrics` and `PodMetrics`. Source: `k8s.io/metrics/pkg/apis/metrics/v1beta1`.

use crate::rates::Used;
use orrery_api::k8s::apimachinery::pkg::{
    api::resource::Quantity,
    apis::meta::v1::{ObjectMeta, Time},
};
use orrery_machinery::descriptor::{Column, FixedResource, Storage, schema_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) const GROUP: &str = "metrics.k8s.io";
pub(crate) const VERSION: &str = "v1beta1";
const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// What a node uses.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics")]
pub(crate) struct NodeMetrics {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    /// When it was measured: at the end of the window.
    timestamp: Time,
    /// The time over which CPU was counted, such as `15s`.
    window: String,
    /// CPU and memory (the working set).
    usage: BTreeMap<String, Quantity>,
}

/// What the containers of a pod use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics")]
pub(crate) struct PodMetrics {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    /// When it was measured: at the end of the window.
    timestamp: Time,
    /// The time over which CPU was counted, such as `15s`.
    window: String,
    /// Those that run.
    containers: Vec<ContainerMetrics>,
}

/// What a container uses.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ContainerMetrics {
    name: String,
    /// CPU and memory (the working set).
    usage: BTreeMap<String, Quantity>,
}

impl NodeMetrics {
    /// Of the node that has this metadata.
    pub(crate) fn new(of: &ObjectMeta, used: Used) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "NodeMetrics".to_owned(),
            metadata: metadata(of, used),
            timestamp: Time(used.at),
            window: window(used.window_nanos),
            usage: usage(used),
        }
    }
}

impl PodMetrics {
    /// Of the pod that has this metadata; none when nothing is known of any container.
    pub(crate) fn new(of: &ObjectMeta, mut used: Vec<(String, Used)>) -> Option<Self> {
        used.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (_, earliest) = *used.iter().min_by_key(|(_, used)| used.at)?;
        let containers = used.into_iter().map(|(name, used)| ContainerMetrics { name, usage: usage(used) });
        Some(Self {
            api_version: API_VERSION.to_owned(),
            kind: "PodMetrics".to_owned(),
            metadata: metadata(of, earliest),
            timestamp: Time(earliest.at),
            window: window(earliest.window_nanos),
            containers: containers.collect(),
        })
    }
}

fn metadata(of: &ObjectMeta, used: Used) -> ObjectMeta {
    ObjectMeta {
        name: of.name.clone(),
        namespace: of.namespace.clone(),
        labels: of.labels.clone(),
        creation_timestamp: Some(Time(used.at)),
        ..ObjectMeta::default()
    }
}

fn usage(used: Used) -> BTreeMap<String, Quantity> {
    let cpu = Quantity(format!("{}n", used.cpu_nanos));
    let memory = Quantity(format!("{}Ki", used.working_set_bytes / 1024));
    BTreeMap::from([("cpu".to_owned(), cpu), ("memory".to_owned(), memory)])
}

/// Nanoseconds as Go writes a duration, to the millisecond.
fn window(nanos: u64) -> String {
    let millis = nanos / 1_000_000;
    format!("{}.{:03}s", millis / 1000, millis % 1000)
}

/// The resource of [`NodeMetrics`].
pub(crate) const NODES: FixedResource = FixedResource {
    group: GROUP,
    version: VERSION,
    kind: "NodeMetrics",
    plural: "nodes",
    namespaced: false,
    storage: Storage::Computed,
    columns: &[
        Column { cell: |object, _| object["usage"]["cpu"].clone(), ..CPU },
        Column { cell: |object, _| object["usage"]["memory"].clone(), ..MEMORY },
        WINDOW,
    ],
    schema: schema_of::<NodeMetrics>,
    ..FixedResource::PLAIN
};

/// The resource of [`PodMetrics`].
pub(crate) const PODS: FixedResource = FixedResource {
    group: GROUP,
    version: VERSION,
    kind: "PodMetrics",
    plural: "pods",
    storage: Storage::Computed,
    columns: &[CPU, MEMORY, WINDOW],
    schema: schema_of::<PodMetrics>,
    ..FixedResource::PLAIN
};

const CPU: Column = Column {
    name: "CPU",
    kind: "string",
    priority: 0,
    description: "CPU in use, in billionths of a processor.",
    cell: |object, _| sum(object, "cpu", "n"),
};
const MEMORY: Column = Column {
    name: "Memory",
    description: "Memory in use (the working set).",
    cell: |object, _| sum(object, "memory", "Ki"),
    ..CPU
};
const WINDOW: Column = Column {
    name: "Window",
    description: "The time over which CPU was counted.",
    cell: |object, _| object["window"].clone(),
    ..CPU
};

/// The sum over a pod's containers, whose quantities all have this unit.
fn sum(pod: &Value, resource: &str, unit: &str) -> Value {
    let containers = pod["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let amounts = containers
        .iter()
        .filter_map(|container| container["usage"][resource].as_str()?.strip_suffix(unit)?.parse::<u64>().ok());
    format!("{}{unit}", amounts.fold(0u64, u64::saturating_add)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use orrery_machinery::{
        descriptor::{ResourceDescriptor, to_value},
        table::{IncludeObject, row},
    };
    use serde_json::json;

    fn used(second: i64, cpu_nanos: u64) -> Used {
        let at = Timestamp::from_second(second).expect("a time");
        Used { at, window_nanos: 15_020_000_000, cpu_nanos, working_set_bytes: 3 * 1024 * 1024 }
    }

    #[test]
    fn a_pod_is_told_of_by_its_containers() {
        let of = ObjectMeta {
            name: Some("p".into()),
            namespace: Some("n".into()),
            uid: Some("u".into()),
            labels: Some(BTreeMap::from([("app".into(), "x".into())])),
            ..ObjectMeta::default()
        };
        let pod = PodMetrics::new(&of, vec![("b".into(), used(7, 2_000)), ("a".into(), used(5, 1_000))]).unwrap();
        let pod = to_value(&pod);
        let usage = |cpu: &str| json!({"cpu": cpu, "memory": "3072Ki"});
        let expected = json!({
            "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", "timestamp": "1970-01-01T00:00:05Z", "window": "15.020s",
            "metadata": {"name": "p", "namespace": "n", "labels": {"app": "x"}, "creationTimestamp": "1970-01-01T00:00:05Z"},
            "containers": [{"name": "a", "usage": usage("1000n")}, {"name": "b", "usage": usage("2000n")}],
        });
        assert_eq!(pod, expected);
        let cells = row(&ResourceDescriptor::from(PODS), &pod, IncludeObject::None, 10)["cells"].clone();
        assert_eq!(cells, json!(["p", "3000n", "6144Ki", "15.020s", "5s"]));
        assert!(PodMetrics::new(&of, Vec::new()).is_none());
    }

    #[test]
    fn a_node_is_told_of_as_a_whole() {
        let of = ObjectMeta { name: Some("host-1".into()), ..ObjectMeta::default() };
        let node = to_value(&NodeMetrics::new(&of, used(5, 70)));
        assert_eq!((&node["usage"]["cpu"], &node["metadata"]["name"]), (&json!("70n"), &json!("host-1")));
        let cells = row(&ResourceDescriptor::from(NODES), &node, IncludeObject::None, 10)["cells"].clone();
        assert_eq!(cells, json!(["host-1", "70n", "3072Ki", "15.020s", "5s"]));
    }
}

//! Hosts, clusters and zones.

use super::{
    base,
    fields::{at, cell, condition, immutable_errors, name_errors, reference_errors, text},
};
use orrery_api::{
    inventory::{ComputeCluster, Host, Zone},
    units::{Bytes, MilliCpu},
};
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    status::FieldError,
};
use serde_json::{Value, json};

const CLUSTER: &str = "/spec/cluster";
const OF_CLUSTER: &[SelectableField] =
    &[SelectableField { path: "spec.cluster", value: |object| text(object, CLUSTER) }];

/// Hosts. An administrator sees at a glance where each belongs, whether it lives, and how it runs guests.
pub(super) fn host() -> FixedResource {
    FixedResource {
        validate: in_cluster,
        columns: HOST_COLUMNS,
        selectable_fields: OF_CLUSTER,
        ..base::<Host>("host", &[])
    }
}

/// Clusters.
pub(super) fn compute_cluster() -> FixedResource {
    FixedResource { columns: CLUSTER_COLUMNS, ..base::<ComputeCluster>("computecluster", &["cc"]) }
}

/// Zones.
pub(super) fn zone() -> FixedResource {
    FixedResource {
        validate: in_cluster,
        columns: ZONE_COLUMNS,
        selectable_fields: OF_CLUSTER,
        ..base::<Zone>("zone", &[])
    }
}

fn in_cluster(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = name_errors(object);
    errors.extend(reference_errors(object, CLUSTER, "cluster (kubectl get computeclusters)"));
    errors.extend(immutable_errors(object, old, CLUSTER));
    errors
}

const HOST_COLUMNS: &[Column] = &[
    Column {
        name: "Cluster",
        kind: "string",
        priority: 0,
        description: "The cluster that the host belongs to.",
        cell: |object, _| cell(object, CLUSTER),
    },
    Column {
        name: "Ready",
        kind: "string",
        priority: 0,
        description: "Whether heartbeats arrive.",
        cell: |object, _| condition(object, "Ready"),
    },
    Column {
        name: "Accelerator",
        kind: "string",
        priority: 0,
        description: "KVM, or TCG for emulation, which is no isolation boundary.",
        cell: |object, _| cell(object, "/status/facts/accelerator"),
    },
    Column {
        name: "CPU",
        kind: "string",
        priority: 0,
        description: "CPU that machines may use.",
        cell: |object, _| quantity(object, "/status/facts/cpuMilli", |milli| MilliCpu(milli).to_quantity()),
    },
    Column {
        name: "Memory",
        kind: "string",
        priority: 0,
        description: "Memory that machines may use.",
        cell: |object, _| quantity(object, "/status/facts/memoryBytes", mebibytes),
    },
    Column {
        name: "Machines",
        kind: "integer",
        priority: 0,
        description: "How many machines the host holds.",
        cell: |object, _| cell(object, "/status/machines"),
    },
    Column {
        name: "QEMU",
        kind: "string",
        priority: 1,
        description: "Version of QEMU.",
        cell: |object, _| cell(object, "/status/facts/qemuVersion"),
    },
    Column {
        name: "Kernel",
        kind: "string",
        priority: 1,
        description: "The host's kernel release.",
        cell: |object, _| cell(object, "/status/facts/kernelRelease"),
    },
    Column {
        name: "Address",
        kind: "string",
        priority: 1,
        description: "The address at which the host is managed.",
        cell: |object, _| cell(object, "/status/facts/managementAddress"),
    },
    Column {
        name: "Agent",
        kind: "string",
        priority: 1,
        description: "Version of the host agent.",
        cell: |object, _| cell(object, "/status/facts/agentVersion"),
    },
];

const CLUSTER_COLUMNS: &[Column] = &[
    Column {
        name: "Hosts",
        kind: "integer",
        priority: 0,
        description: "How many hosts name this cluster.",
        cell: |object, _| cell(object, "/status/hosts"),
    },
    Column {
        name: "Ready",
        kind: "integer",
        priority: 0,
        description: "How many of them are ready.",
        cell: |object, _| cell(object, "/status/readyHosts"),
    },
];

const ZONE_COLUMNS: &[Column] = &[
    Column {
        name: "Cluster",
        kind: "string",
        priority: 0,
        description: "The cluster that is this zone.",
        cell: |object, _| cell(object, CLUSTER),
    },
    Column {
        name: "Supervisor",
        kind: "string",
        priority: 0,
        description: "The Supervisor that uses the zone.",
        cell: |object, _| cell(object, "/status/supervisor"),
    },
];

fn quantity(object: &Value, pointer: &str, write: impl Fn(u64) -> String) -> Value {
    at(object, pointer).as_u64().map_or(Value::Null, |amount| json!(write(amount)))
}

/// Whole mebibytes: a host's memory is seldom a round number of anything larger.
fn mebibytes(bytes: u64) -> String {
    format!("{}Mi", Bytes(bytes).0 / (1024 * 1024))
}

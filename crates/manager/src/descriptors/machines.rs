//! What hosts report: machines, datastores, networks.

use super::{
    base,
    fields::{at, cell, immutable_errors, name_errors, text},
};
use orrery_api::{
    inventory::{Datastore, Network, VirtualMachine},
    units::{Bytes, MilliCpu},
};
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    status::FieldError,
};
use serde_json::{Value, json};

/// Machines. An administrator sees whose each is, where it is and what it takes.
pub(super) fn virtual_machine() -> FixedResource {
    FixedResource {
        validate: machine_errors,
        columns: MACHINE_COLUMNS,
        selectable_fields: &[
            SelectableField { path: "spec.owner.namespace", value: |object| text(object, "/spec/owner/namespace") },
            SelectableField { path: "spec.resourcePool", value: |object| text(object, "/spec/resourcePool") },
            SelectableField { path: "spec.host", value: |object| text(object, "/spec/host") },
        ],
        ..base::<VirtualMachine>("virtualmachine", &["vm"])
    }
}

/// Datastores.
pub(super) fn datastore() -> FixedResource {
    FixedResource {
        validate: datastore_errors,
        columns: DATASTORE_COLUMNS,
        selectable_fields: &[SelectableField { path: "spec.type", value: |object| text(object, "/spec/type") }],
        ..base::<Datastore>("datastore", &["ds"])
    }
}

/// Networks.
pub(super) fn network() -> FixedResource {
    FixedResource {
        validate: network_errors,
        columns: NETWORK_COLUMNS,
        selectable_fields: &[SelectableField { path: "spec.segment", value: |object| text(object, "/spec/segment") }],
        ..base::<Network>("network", &[])
    }
}

fn machine_errors(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = name_errors(object);
    for field in ["kind", "name"] {
        if text(object, &format!("/spec/owner/{field}")).is_empty() {
            errors.push(FieldError::required(format!("spec.owner.{field}"), "say whose machine it is"));
        }
    }
    for field in ["vcpus", "memoryBytes"] {
        let value = &object["spec"][field];
        if value.as_u64() == Some(0) {
            errors.push(FieldError::invalid(format!("spec.{field}"), value, "must be greater than 0"));
        }
    }
    for pointer in ["/spec/owner", "/spec/vcpus", "/spec/cpuMilli", "/spec/memoryBytes"] {
        errors.extend(immutable_errors(object, old, pointer));
    }
    errors
}

fn datastore_errors(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = name_errors(object);
    let path = at(object, "/spec/path");
    if !path.as_str().unwrap_or_default().starts_with('/') {
        errors.push(FieldError::invalid("spec.path", path, "must be an absolute path"));
    }
    for pointer in ["/spec/type", "/spec/path"] {
        errors.extend(immutable_errors(object, old, pointer));
    }
    errors
}

fn network_errors(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = name_errors(object);
    if text(object, "/spec/segment").is_empty() {
        errors.push(FieldError::required("spec.segment", "name the segment that machines are plugged into"));
    }
    let subnet = at(object, "/spec/subnet");
    if !is_subnet(subnet.as_str().unwrap_or_default()) {
        let why = "must be a range of IPv4 addresses such as 10.244.0.0/24";
        errors.push(FieldError::invalid("spec.subnet", subnet, why));
    }
    for pointer in ["/spec/type", "/spec/segment", "/spec/subnet"] {
        errors.extend(immutable_errors(object, old, pointer));
    }
    errors
}

fn is_subnet(text: &str) -> bool {
    let parsed = text.split_once('/').map(|(base, length)| (base.parse::<std::net::Ipv4Addr>(), length.parse::<u32>()));
    let Some((Ok(base), Ok(length @ 1..=30))) = parsed else { return false };
    // Only the network's own address names it.
    u32::from(base) & (u32::MAX >> length) == 0
}

fn bytes(object: &Value, pointer: &str) -> Value {
    at(object, pointer).as_u64().map_or(Value::Null, |bytes| json!(Bytes(bytes).to_quantity()))
}

fn list(object: &Value, pointer: &str) -> Value {
    let names = at(object, pointer).as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(",").into()
}

const MACHINE_COLUMNS: &[Column] = &[
    Column {
        name: "Owner",
        kind: "string",
        priority: 0,
        description: "Whose machine it is.",
        cell: |object, _| {
            let [kind, namespace, name] =
                ["kind", "namespace", "name"].map(|f| text(object, &format!("/spec/owner/{f}")));
            let separator = if namespace.is_empty() { "" } else { "/" };
            format!("{kind} {namespace}{separator}{name}").into()
        },
    },
    Column {
        name: "Host",
        kind: "string",
        priority: 0,
        description: "The host that holds it.",
        cell: |object, _| cell(object, "/spec/host"),
    },
    Column {
        name: "Power",
        kind: "string",
        priority: 0,
        description: "Whether it shall run.",
        cell: |object, _| cell(object, "/spec/powerState"),
    },
    Column {
        name: "Phase",
        kind: "string",
        priority: 0,
        description: "What the host does with it.",
        cell: |object, _| cell(object, "/status/phase"),
    },
    Column {
        name: "vCPUs",
        kind: "integer",
        priority: 0,
        description: "Virtual CPUs.",
        cell: |object, _| cell(object, "/spec/vcpus"),
    },
    Column {
        name: "Memory",
        kind: "string",
        priority: 0,
        description: "Memory of the guest.",
        cell: |object, _| bytes(object, "/spec/memoryBytes"),
    },
    Column {
        name: "CPU",
        kind: "string",
        priority: 1,
        description: "CPU reserved for it.",
        cell: |object, _| {
            at(object, "/spec/cpuMilli").as_u64().map_or(Value::Null, |milli| json!(MilliCpu(milli).to_quantity()))
        },
    },
    Column {
        name: "Pool",
        kind: "string",
        priority: 1,
        description: "The resource pool that it runs in.",
        cell: |object, _| cell(object, "/spec/resourcePool"),
    },
    Column {
        name: "Addresses",
        kind: "string",
        priority: 1,
        description: "Its addresses.",
        cell: |object, _| list(object, "/status/addresses"),
    },
];

const DATASTORE_COLUMNS: &[Column] = &[
    Column {
        name: "Type",
        kind: "string",
        priority: 0,
        description: "How hosts reach it.",
        cell: |object, _| cell(object, "/spec/type"),
    },
    Column {
        name: "Capacity",
        kind: "string",
        priority: 0,
        description: "What its file system holds.",
        cell: |object, _| bytes(object, "/status/capacityBytes"),
    },
    Column {
        name: "Free",
        kind: "string",
        priority: 0,
        description: "What of that is free.",
        cell: |object, _| bytes(object, "/status/freeBytes"),
    },
    Column {
        name: "Hosts",
        kind: "string",
        priority: 0,
        description: "The hosts that reach it.",
        cell: |object, _| list(object, "/status/hosts"),
    },
    Column {
        name: "Path",
        kind: "string",
        priority: 1,
        description: "Where it lies on each host.",
        cell: |object, _| cell(object, "/spec/path"),
    },
];

const NETWORK_COLUMNS: &[Column] = &[
    Column {
        name: "Type",
        kind: "string",
        priority: 0,
        description: "How its packets travel.",
        cell: |object, _| cell(object, "/spec/type"),
    },
    Column {
        name: "Segment",
        kind: "string",
        priority: 0,
        description: "The segment that machines name.",
        cell: |object, _| cell(object, "/spec/segment"),
    },
    Column {
        name: "Subnet",
        kind: "string",
        priority: 0,
        description: "Where addresses come from.",
        cell: |object, _| cell(object, "/spec/subnet"),
    },
    Column {
        name: "Hosts",
        kind: "string",
        priority: 0,
        description: "The hosts that have it.",
        cell: |object, _| list(object, "/status/hosts"),
    },
];

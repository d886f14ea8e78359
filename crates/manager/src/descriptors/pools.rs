//! Resource pools.

use super::{
    base,
    fields::{at, cell, condition, immutable_errors, name_errors, reference_errors, text},
};
use orrery_api::{
    inventory::ResourcePool,
    units::{Bytes, MilliCpu},
};
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    status::FieldError,
};
use serde_json::{Value, json};

/// The largest custom weight.
const MOST_SHARES: u64 = 1_000_000;

/// Parts of a cluster.
pub(super) fn resource_pool() -> FixedResource {
    FixedResource {
        validate: errors,
        columns: COLUMNS,
        selectable_fields: &[
            SelectableField { path: "spec.cluster", value: |object| text(object, "/spec/cluster") },
            SelectableField { path: "spec.parent", value: |object| text(object, "/spec/parent") },
        ],
        ..base::<ResourcePool>("resourcepool", &["rp"])
    }
}

fn errors(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = name_errors(object);
    errors.extend(reference_errors(object, "/spec/cluster", "cluster (kubectl get computeclusters)"));
    errors.extend(immutable_errors(object, old, "/spec/cluster"));
    let parent = at(object, "/spec/parent");
    if !parent.is_null() {
        errors.extend(reference_errors(object, "/spec/parent", "pool that it is part of, or leave it out"));
        if *parent == object["metadata"]["name"] {
            errors.push(FieldError::invalid("spec.parent", parent, "a pool cannot be part of itself"));
        }
    }
    for resource in ["cpu", "memory"] {
        allocation(&object["spec"][resource], &format!("spec.{resource}"), &mut errors);
    }
    errors
}

fn allocation(allocation: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let reservation = allocation["reservation"].as_u64().unwrap_or_default();
    if allocation["limit"].as_u64().is_some_and(|limit| limit < reservation) {
        let why = format!("must be at least the reservation, {reservation}");
        errors.push(FieldError::invalid(format!("{path}.limit"), &allocation["limit"], &why));
    }
    let (level, value) = (&allocation["shares"]["level"], &allocation["shares"]["value"]);
    let field = format!("{path}.shares.value");
    match (level.as_str() == Some("Custom"), value.as_u64()) {
        (true, None) => errors.push(FieldError::required(field, "the level Custom needs a value")),
        (true, Some(shares)) if !(1..=MOST_SHARES).contains(&shares) => {
            errors.push(FieldError::invalid(field, value, &format!("must be between 1 and {MOST_SHARES}")));
        }
        (false, Some(_)) => {
            errors.push(FieldError::forbidden(field, "may be set with the level Custom only"));
        }
        _ => {}
    }
}

/// The weight that an allocation stands for; `normal` is that of the level `Normal`.
fn shares(allocation: &Value, normal: u64) -> Value {
    json!(match allocation["shares"]["level"].as_str() {
        Some("Low") => normal / 2,
        Some("High") => normal * 2,
        Some("Custom") => allocation["shares"]["value"].as_u64().unwrap_or_default(),
        _ => normal,
    })
}

fn amounts(allocation: &Value, write: impl Fn(u64) -> String) -> Value {
    let reserved = write(allocation["reservation"].as_u64().unwrap_or_default());
    let limit = allocation["limit"].as_u64().map_or_else(|| "unlimited".to_owned(), write);
    let expandable = if allocation["expandableReservation"] == true { "+" } else { "" };
    format!("{reserved}{expandable}/{limit}").into()
}

const COLUMNS: &[Column] = &[
    Column {
        name: "Cluster",
        kind: "string",
        priority: 0,
        description: "The cluster whose CPU and memory it is.",
        cell: |object, _| cell(object, "/spec/cluster"),
    },
    Column {
        name: "Parent",
        kind: "string",
        priority: 0,
        description: "The pool that it is part of.",
        cell: |object, _| json!(at(object, "/spec/parent").as_str().unwrap_or("<none>")),
    },
    Column {
        name: "CPU",
        kind: "string",
        priority: 0,
        description: "CPU reserved (+: may be expanded) and at most.",
        cell: |object, _| amounts(&object["spec"]["cpu"], |milli| MilliCpu(milli).to_quantity()),
    },
    Column {
        name: "Memory",
        kind: "string",
        priority: 0,
        description: "Memory reserved (+: may be expanded) and at most.",
        cell: |object, _| amounts(&object["spec"]["memory"], |bytes| Bytes(bytes).to_quantity()),
    },
    Column {
        name: "Admitted",
        kind: "string",
        priority: 0,
        description: "Whether what it reserves can be had.",
        cell: |object, _| condition(object, "Admitted"),
    },
    Column {
        name: "CPU shares",
        kind: "integer",
        priority: 1,
        description: "Its weight among its siblings for CPU.",
        cell: |object, _| shares(&object["spec"]["cpu"], 4000),
    },
    Column {
        name: "Memory shares",
        kind: "integer",
        priority: 1,
        description: "Its weight among its siblings for memory.",
        cell: |object, _| shares(&object["spec"]["memory"], 163_840),
    },
];

//! Tasks.

use super::{
    base,
    fields::{at, cell, immutable_errors, name_errors, text},
};
use orrery_api::inventory::Task;
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    status::FieldError,
};
use serde_json::{Value, json};

/// What a task is about; it never changes.
const ABOUT: [(&str, &str); 3] = [
    ("/spec/operation", "spec.operation"),
    ("/spec/targetKind", "spec.targetKind"),
    ("/spec/targetName", "spec.targetName"),
];

/// Multi-step work.
pub(super) fn task() -> FixedResource {
    FixedResource {
        validate: errors,
        prepare_create: |object| object["status"] = json!({"state": "Queued", "step": "", "percent": 0}),
        columns: COLUMNS,
        selectable_fields: &[
            SelectableField { path: "spec.targetKind", value: |object| text(object, "/spec/targetKind") },
            SelectableField { path: "spec.targetName", value: |object| text(object, "/spec/targetName") },
            SelectableField { path: "status.state", value: |object| text(object, "/status/state") },
        ],
        ..base::<Task>("task", &[])
    }
}

fn errors(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = name_errors(object);
    for (pointer, field) in ABOUT {
        if text(object, pointer).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
        errors.extend(immutable_errors(object, old, pointer));
    }
    let aborted = |object| at(object, "/spec/abort").as_bool().unwrap_or(false);
    if old.is_some_and(aborted) && !aborted(object) {
        errors.push(FieldError::forbidden("spec.abort", "an abort cannot be taken back; start the work again"));
    }
    errors
}

const COLUMNS: &[Column] = &[
    Column {
        name: "Operation",
        kind: "string",
        priority: 0,
        description: "What is done.",
        cell: |object, _| cell(object, "/spec/operation"),
    },
    Column {
        name: "Target",
        kind: "string",
        priority: 0,
        description: "What it is done to.",
        cell: |object, _| json!(format!("{}/{}", text(object, "/spec/targetKind"), text(object, "/spec/targetName"))),
    },
    Column {
        name: "State",
        kind: "string",
        priority: 0,
        description: "Where the task stands.",
        cell: |object, _| cell(object, "/status/state"),
    },
    Column {
        name: "Progress",
        kind: "string",
        priority: 0,
        description: "How much is done.",
        cell: |object, _| at(object, "/status/percent").as_u64().map_or(Value::Null, |p| json!(format!("{p}%"))),
    },
    Column {
        name: "Step",
        kind: "string",
        priority: 0,
        description: "The step being done.",
        cell: |object, _| cell(object, "/status/step"),
    },
    Column {
        name: "Message",
        kind: "string",
        priority: 1,
        description: "Why it failed or waits, and what to do.",
        cell: |object, _| cell(object, "/status/message"),
    },
];

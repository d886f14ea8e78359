//! Supervisors and their namespaces.

use super::{
    base,
    fields::{at, cell, condition, immutable_errors, name_errors, reference_errors, text},
};
use orrery_api::inventory::{Supervisor, WorkloadNamespace};
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    status::FieldError,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CLUSTER: &str = "/spec/cluster";
const SUPERVISOR: &str = "/spec/supervisor";

/// Supervisors.
pub(super) fn supervisor() -> FixedResource {
    FixedResource {
        validate: |object, old| {
            let mut errors = name_errors(object);
            errors.extend(reference_errors(object, CLUSTER, "cluster to enable (kubectl get computeclusters)"));
            errors.extend(immutable_errors(object, old, CLUSTER));
            errors
        },
        columns: SUPERVISOR_COLUMNS,
        selectable_fields: &[SelectableField { path: "spec.cluster", value: |object| text(object, CLUSTER) }],
        ..base::<Supervisor>("supervisor", &["sv"])
    }
}

/// Namespaces of Supervisors.
pub(super) fn workload_namespace() -> FixedResource {
    FixedResource {
        validate: namespace_errors,
        columns: NAMESPACE_COLUMNS,
        selectable_fields: &[SelectableField { path: "spec.supervisor", value: |object| text(object, SUPERVISOR) }],
        ..base::<WorkloadNamespace>("workloadnamespace", &["wns"])
    }
}

fn namespace_errors(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = name_errors(object);
    let name = text(object, "/metadata/name");
    if name == "default" || name.starts_with("kube-") {
        errors.push(FieldError::invalid(
            "metadata.name",
            &json!(name),
            "the name is the Supervisor's own; choose another",
        ));
    }
    errors.extend(reference_errors(object, SUPERVISOR, "Supervisor (kubectl get supervisors)"));
    errors.extend(immutable_errors(object, old, SUPERVISOR));
    let mut seen = BTreeSet::new();
    for (index, entry) in at(object, "/spec/access").as_array().into_iter().flatten().enumerate() {
        let (kind, subject) = (text(entry, "/subjectType"), text(entry, "/subject"));
        if subject.is_empty() {
            let field = format!("spec.access[{index}].subject");
            errors.push(FieldError::required(field, "name a user or a group"));
        } else if !seen.insert((kind, subject.clone())) {
            errors.push(FieldError::duplicate(format!("spec.access[{index}].subject"), &json!(subject)));
        }
    }
    errors
}

const SUPERVISOR_COLUMNS: &[Column] = &[
    Column {
        name: "Cluster",
        kind: "string",
        priority: 0,
        description: "The enabled cluster.",
        cell: |object, _| cell(object, CLUSTER),
    },
    Column {
        name: "Status",
        kind: "string",
        priority: 0,
        description: "Where enablement stands.",
        cell: |object, _| cell(object, "/status/configStatus"),
    },
    Column {
        name: "Endpoint",
        kind: "string",
        priority: 0,
        description: "Where the Kubernetes API is served.",
        cell: |object, _| cell(object, "/status/endpoint"),
    },
    Column {
        name: "Control Plane",
        kind: "string",
        priority: 1,
        description: "Whether the control plane serves.",
        cell: |object, _| condition(object, "ControlPlaneReady"),
    },
    Column {
        name: "Zones",
        kind: "string",
        priority: 1,
        description: "The zones in use.",
        cell: |object, _| {
            let zones = at(object, "/status/zones").as_array();
            let names: Vec<&str> = zones.into_iter().flatten().filter_map(Value::as_str).collect();
            json!(names.join(","))
        },
    },
];

const NAMESPACE_COLUMNS: &[Column] = &[
    Column {
        name: "Supervisor",
        kind: "string",
        priority: 0,
        description: "The Supervisor that has the namespace.",
        cell: |object, _| cell(object, SUPERVISOR),
    },
    Column {
        name: "Status",
        kind: "string",
        priority: 0,
        description: "Where its configuration stands.",
        cell: |object, _| cell(object, "/status/configStatus"),
    },
    Column {
        name: "Message",
        kind: "string",
        priority: 1,
        description: "Why it is not running.",
        cell: |object, _| cell(object, "/status/message"),
    },
    Column {
        name: "Description",
        kind: "string",
        priority: 1,
        description: "For people.",
        cell: |object, _| cell(object, "/spec/description"),
    },
];

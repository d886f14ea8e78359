//! The rules of a container's environment.

use super::projection;
use crate::fields::{elements, is_set, text};
use orrery_machinery::status::FieldError;
use serde_json::Value;

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// Fields of the pod that a variable may hold.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Adds an error for each malformed variable.
pub(super) fn check(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, variable) in elements(&container["env"]).enumerate() {
        let field = format!("{field}.env[{index}]");
        let name = text(&variable["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
            let why =
                "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.push(FieldError::invalid(format!("{field}.name"), &variable["name"], why));
        }
        if is_set(&variable["valueFrom"]) {
            value_from(variable, &format!("{field}.valueFrom"), errors);
        }
    }
    for (index, source) in elements(&container["envFrom"]).enumerate() {
        let field = format!("{field}.envFrom[{index}]");
        let given = ["configMapRef", "secretRef"].into_iter().filter(|from| is_set(&source[from]));
        match given.collect::<Vec<_>>()[..] {
            [from] if text(&source[from]["name"]).is_empty() => {
                errors.push(FieldError::required(format!("{field}.{from}.name"), ""));
            }
            [_] => {}
            [] => errors.push(FieldError::invalid(
                field,
                &"".into(),
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            _ => errors.push(FieldError::invalid(
                field,
                &"".into(),
                "may not have more than one field specified at a time",
            )),
        }
    }
}

fn value_from(variable: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let source = &variable["valueFrom"];
    let mut refuse = |why: &str| errors.push(FieldError::invalid(field, &"".into(), why));
    let given = SOURCES.into_iter().filter(|from| is_set(&source[from])).count();
    if given == 0 {
        refuse(
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
    } else if !text(&variable["value"]).is_empty() {
        refuse("may not be specified when `value` is not empty");
    }
    if given > 1 {
        refuse("may not have more than one field specified at a time");
    }
    for from in ["configMapKeyRef", "secretKeyRef"] {
        if is_set(&source[from]) && text(&source[from]["key"]).is_empty() {
            errors.push(FieldError::required(format!("{field}.{from}.key"), ""));
        }
    }
    if is_set(&source["fieldRef"]) {
        projection::field_reference(&source["fieldRef"], FIELDS, &format!("{field}.fieldRef"), errors);
    }
    if is_set(&source["resourceFieldRef"]) {
        let reference = &source["resourceFieldRef"];
        projection::resource_reference(reference, false, &format!("{field}.resourceFieldRef"), errors);
    }
}

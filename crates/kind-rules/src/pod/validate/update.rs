//! What may change in a pod's spec once it is there.

use crate::fields::{elements, place, size, text};
use orrery_machinery::status::FieldError;
use serde_json::Value;

const FIXED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Adds an error for each change that is not allowed.
pub(super) fn check(spec: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for list in ["containers", "initContainers"] {
        if size(&spec[list]) != size(&old[list]) {
            let why = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{list}"), why));
            return;
        }
    }
    deadline(&spec["activeDeadlineSeconds"], &old["activeDeadlineSeconds"], errors);
    tolerations(&spec["tolerations"], &old["tolerations"], errors);
    gates(&spec["schedulingGates"], &old["schedulingGates"], errors);
    let unchanged = without_mutable(spec, old);
    if unchanged != *old {
        errors.push(FieldError::forbidden("spec", &crate::difference::describe(FIXED, old, &unchanged)));
    }
}

/// `spec` with everything that may change put back to what it was.
fn without_mutable(spec: &Value, old: &Value) -> Value {
    let mut same = spec.clone();
    for list in ["containers", "initContainers"] {
        for (index, container) in
            place(&mut same, &[list]).and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            if let (Some(container), image) = (container.as_object_mut(), &old[list][index]["image"]) {
                container.insert("image".into(), image.clone());
            }
        }
    }
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0)
        && spec["terminationGracePeriodSeconds"] == 1
        && let Some(same) = same.as_object_mut()
    {
        same.insert("terminationGracePeriodSeconds".into(), old["terminationGracePeriodSeconds"].clone());
    }
    if size(&old["schedulingGates"]) > 0 {
        narrowed_placement(&mut same, old);
    }
    if let Some(same) = same.as_object_mut() {
        for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            match old.get(field) {
                Some(value) => same.insert(field.into(), value.clone()),
                None => same.remove(field),
            };
        }
        // Lists that are null and lists that are missing say the same.
        same.retain(|field, value| !value.is_null() || old.get(field).is_some());
    }
    same
}

/// While a pod may not be scheduled yet, where it may go can be narrowed: labels of nodes are added, and the rules for
/// nodes are set.
fn narrowed_placement(same: &mut Value, old: &Value) {
    let Some(fields) = same.as_object_mut() else { return };
    let kept = elements_of(&old["nodeSelector"])
        .all(|(key, value)| fields.get("nodeSelector").is_some_and(|selector| selector.get(key) == Some(value)));
    let rules = |spec: &Value| spec["affinity"]["nodeAffinity"].clone();
    if kept {
        put_back(fields, old, "nodeSelector");
    }
    let mut others = fields.get("affinity").cloned().unwrap_or_default();
    let mut before = old["affinity"].clone();
    for affinity in [&mut others, &mut before] {
        if let Some(affinity) = affinity.as_object_mut() {
            affinity.remove("nodeAffinity");
        }
    }
    let nothing = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    let had_required = !rules(old)["requiredDuringSchedulingIgnoredDuringExecution"].is_null();
    if !had_required && (others == before || (nothing(&others) && nothing(&before))) {
        put_back(fields, old, "affinity");
    }
}

fn elements_of(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

fn put_back(fields: &mut serde_json::Map<String, Value>, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    }
}

fn deadline(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    match (new.as_i64(), old.as_i64()) {
        (Some(new_seconds), Some(old_seconds)) if new_seconds > old_seconds => {
            errors.push(FieldError::invalid(FIELD, new, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            errors.push(FieldError::invalid(FIELD, new, "must not update from a positive integer to nil value"));
        }
        (None | Some(_), None) | (Some(_), Some(_)) => {}
    }
}

/// All old tolerations stay, except that the seconds may change.
fn tolerations(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(fields) = toleration.as_object_mut() {
            fields.remove("tolerationSeconds");
        }
        toleration
    };
    let kept = |old: &Value| elements(new).any(|new| without_seconds(new) == without_seconds(old));
    if !elements(old).all(kept) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", why));
    }
}

/// Gates only go.
fn gates(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let known = |gate: &Value| elements(old).any(|old| old["name"] == gate["name"]);
    for gate in elements(new).filter(|gate| !known(gate)) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{}'", text(&gate["name"]));
        errors.push(FieldError::forbidden("spec.schedulingGates", &why));
    }
}

//! Reading and checking fields of JSON objects.

use orrery_api::names::check_dns_label;
use orrery_machinery::status::FieldError;
use serde_json::{Value, json};

/// The value at `pointer`; null when there is none.
pub(super) fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// The text at `pointer`; empty when there is none.
pub(super) fn text(object: &Value, pointer: &str) -> String {
    at(object, pointer).as_str().unwrap_or_default().to_owned()
}

/// A cell with the value at `pointer`.
pub(super) fn cell(object: &Value, pointer: &str) -> Value {
    at(object, pointer).clone()
}

/// The status of the condition `type_`: `True`, `False`, `Unknown`.
pub(super) fn condition(object: &Value, type_: &str) -> Value {
    let conditions = at(object, "/status/conditions").as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
    found.map_or_else(|| json!("Unknown"), |condition| condition["status"].clone())
}

/// A name is a DNS label.
pub(super) fn name_errors(object: &Value) -> Vec<FieldError> {
    let name = at(object, "/metadata/name");
    match check_dns_label(name.as_str().unwrap_or_default()) {
        Ok(()) => Vec::new(),
        Err(why) => vec![FieldError::invalid("metadata.name", name, why)],
    }
}

/// A reference that must be set, and be a name.
pub(super) fn reference_errors(object: &Value, pointer: &str, what: &str) -> Vec<FieldError> {
    let value = at(object, pointer);
    let name = value.as_str().unwrap_or_default();
    if name.is_empty() {
        return vec![FieldError::required(dotted(pointer), &format!("name the {what}"))];
    }
    match check_dns_label(name) {
        Ok(()) => Vec::new(),
        Err(why) => vec![FieldError::invalid(dotted(pointer), value, why)],
    }
}

/// A field that keeps its first value.
pub(super) fn immutable_errors(object: &Value, old: Option<&Value>, pointer: &str) -> Vec<FieldError> {
    match old {
        Some(old) if at(old, pointer) != at(object, pointer) => {
            vec![FieldError::invalid(dotted(pointer), at(object, pointer), "field is immutable")]
        }
        _ => Vec::new(),
    }
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

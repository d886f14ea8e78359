//! Reading and filling fields of objects that may yet turn out malformed: nothing here panics.

use orrery_machinery::{descriptor::SelectableField, status::FieldError};
use serde_json::{Map, Value, json};

/// Sets `key` where it is missing or null.
pub fn set_default(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets `key` where it is missing, null or empty: a text that upstream holds by value, so that empty is unset. Clients that
/// write protobuf send it so.
pub fn default_text(map: &mut Map<String, Value>, key: &str, value: &str) {
    if map.get(key).is_none_or(|found| found.is_null() || found == "") {
        map.insert(key.to_owned(), value.into());
    }
}

/// The status of an object that was just made, which upstream's structures always have: these counts, all 0. Clients read it
/// before a controller has written one.
pub fn set_new_status(object: &mut Value, counts: &[&str]) {
    let counts: Map<String, Value> = counts.iter().map(|count| ((*count).to_owned(), 0.into())).collect();
    if let Some(object) = object.as_object_mut() {
        object.insert("status".to_owned(), counts.into());
    }
}

/// The map at `key`, made when it is missing or null; none when something else is there.
pub fn map_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    set_default(map, key, json!({}));
    map.get_mut(key)?.as_object_mut()
}

/// The map at `key`, if there is one.
pub fn existing_map<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(key)?.as_object_mut()
}

/// The maps in the list at `key`.
pub fn maps_in<'a>(map: &'a mut Map<String, Value>, key: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// What stands at `path`, names from the root on; none when it is not there.
pub fn place<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, name| value.get_mut(*name))
}

/// The elements of a list; none of what is no list.
pub fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Number of elements of a list, or entries of a map.
pub fn size(value: &Value) -> usize {
    value.as_array().map_or_else(|| value.as_object().map_or(0, Map::len), Vec::len)
}

/// A text; empty when it is unset.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether a field has a value.
pub fn is_set(value: &Value) -> bool {
    !value.is_null()
}

/// A text, or `placeholder` when it is unset.
pub fn text_or(value: &Value, placeholder: &str) -> Value {
    match text(value) {
        "" => placeholder.into(),
        text => text.into(),
    }
}

/// Adds an error for each of `problems` of `value`.
pub fn report(errors: &mut Vec<FieldError>, field: &str, value: &Value, problems: &[String]) {
    errors.extend(problems.iter().map(|problem| FieldError::invalid(field, value, problem)));
}

/// Adds an error when `value` is set and not one of `supported`.
pub fn one_of(errors: &mut Vec<FieldError>, field: &str, value: &Value, supported: &[&str]) {
    if is_set(value) && !supported.contains(&text(value)) {
        errors.push(FieldError::not_supported(field, value, supported));
    }
}

/// Adds an error when `value` is set and less than `least`.
pub fn at_least(errors: &mut Vec<FieldError>, field: &str, value: &Value, least: i64) {
    if value.as_i64().is_some_and(|number| number < least) {
        let why = if least == 1 {
            "must be greater than 0".to_owned()
        } else {
            format!("must be greater than or equal to {least}")
        };
        errors.push(FieldError::invalid(field, value, &why));
    }
}

/// Adds an error when `value` is no port number.
pub fn port_number(errors: &mut Vec<FieldError>, field: &str, value: &Value) {
    if value.as_i64().is_some_and(|port| !(1..=65535).contains(&port)) {
        errors.push(FieldError::invalid(field, value, "must be between 1 and 65535, inclusive"));
    }
}

/// A field of the object that a field selector may name, by its path: `selectable!("spec.nodeName", ["spec"]["nodeName"])`.
#[macro_export]
macro_rules! selectable {
    ($path:literal, $([$key:literal])+) => {
        orrery_machinery::descriptor::SelectableField {
            path: $path,
            value: |object| $crate::fields::as_text(&object$([$key])+),
        }
    };
}
pub use crate::selectable;

/// A field's value as a field selector sees it; empty when it is unset.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A field that is a boolean, unset meaning false.
pub const fn selectable_flag(path: &'static str, value: fn(&Value) -> String) -> SelectableField {
    SelectableField { path, value }
}

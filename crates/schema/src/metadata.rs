//! `apiVersion`, `kind` and `metadata` of whole objects: the root and embedded resources (`apiserver/schema/objectmeta`).
//!
//! `metadata` is not described by the schema of a definition but is always the same; what does not belong there is
//! dropped, and what has another type is refused or dropped.

use crate::path::{child, index, key};
use crate::structural::Structural;
use orrery_machinery::meta::{self, NameRule};
use orrery_machinery::status::FieldError;
use serde_json::{Map, Value, json};

mod shape;

use shape::object_meta;

/// What to do with a field of another type than it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Refuse the object: for requests.
    Refuse,
    /// Drop the field: for what comes from storage, which may be older than the rule.
    Drop,
}

/// Checks the types of `apiVersion`, `kind` and `metadata` of every whole object in `value`, and drops unknown fields
/// from metadata. Answers with the paths of what was dropped because it is unknown.
///
/// # Errors
/// The first field of a wrong type, unless these are dropped.
pub(crate) fn coerce(
    schema: &Structural,
    value: &mut Value,
    path: &str,
    whole: bool,
    invalid: Invalid,
) -> Result<Vec<String>, FieldError> {
    let mut dropped = Vec::new();
    node(schema, value, path, whole, invalid, &mut dropped)?;
    dropped.sort();
    Ok(dropped)
}

fn node(
    schema: &Structural,
    value: &mut Value,
    path: &str,
    whole: bool,
    invalid: Invalid,
    dropped: &mut Vec<String>,
) -> Result<(), FieldError> {
    match value {
        Value::Object(map) => {
            if whole || schema.extensions.embedded_resource {
                object(map, path, invalid, dropped)?;
            }
            for (name, value) in map.iter_mut() {
                match schema.properties.get(name) {
                    Some(property) => node(property, value, &child(path, name), false, invalid, dropped)?,
                    None => {
                        let Some(additional) = schema.additional_schema() else { continue };
                        node(additional, value, &key(path, name), false, invalid, dropped)?;
                    }
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return Ok(()) };
            for (i, item) in list.iter_mut().enumerate() {
                node(items, item, &index(path, i), false, invalid, dropped)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn object(
    map: &mut Map<String, Value>,
    path: &str,
    invalid: Invalid,
    dropped: &mut Vec<String>,
) -> Result<(), FieldError> {
    for name in ["apiVersion", "kind"] {
        match (map.get(name), invalid) {
            (None | Some(Value::String(_)), _) => {}
            (Some(value), Invalid::Refuse) => {
                return Err(FieldError::invalid(child(path, name), value, "must be a string"));
            }
            (Some(_), Invalid::Drop) => {
                map.remove(name);
            }
        }
    }
    let Some(metadata) = map.get_mut("metadata") else { return Ok(()) };
    let field = child(path, "metadata");
    let before = metadata.clone();
    match object_meta(metadata, &field, invalid, dropped) {
        Ok(()) => Ok(()),
        Err(_) if invalid == Invalid::Drop => {
            *metadata = json!({});
            Ok(())
        }
        Err(problem) => Err(FieldError::invalid(field, &before, &problem)),
    }
}

/// Checks `apiVersion`, `kind` and `metadata` of every whole object in `value`.
pub(crate) fn validate(schema: &Structural, value: &Value, path: &str, whole: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    rules(schema, value, path, whole, &mut errors);
    errors
}

fn rules(schema: &Structural, value: &Value, path: &str, whole: bool, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            if whole || schema.extensions.embedded_resource {
                whole_object(map, value, path, errors);
            }
            for (name, value) in map {
                match (schema.properties.get(name), schema.additional_schema()) {
                    (Some(property), _) => rules(property, value, &child(path, name), false, errors),
                    (None, Some(additional)) => rules(additional, value, &key(path, name), false, errors),
                    (None, None) => {}
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return };
            for (i, item) in list.iter().enumerate() {
                rules(items, item, &index(path, i), false, errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn whole_object(map: &Map<String, Value>, object: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let field = child(path, name);
        match map.get(name) {
            None => errors.push(FieldError::required(field, "")),
            Some(Value::String(text)) if text.is_empty() => errors.push(FieldError::required(field, "")),
            Some(Value::String(text)) => {
                let problem = if name == "kind" { kind_problem(text) } else { version_problem(text) };
                errors.extend(problem.map(|why| FieldError::invalid(field, &text.as_str().into(), &why)));
            }
            Some(other) => errors.push(FieldError::invalid(field, other, "must be a string")),
        }
    }
    let Some(metadata) = map.get("metadata") else { return };
    let mut copy = metadata.clone();
    let field = child(path, "metadata");
    if let Err(problem) = object_meta(&mut copy, &field, Invalid::Refuse, &mut Vec::new()) {
        errors.push(FieldError::invalid(field, metadata, &problem));
        return;
    }
    let namespaced = !meta::namespace(object).is_empty();
    let mut named = json!({ "metadata": copy });
    if meta::name(object).is_empty() {
        named["metadata"]["name"] = "fakename".into();
    }
    let found = meta::validate(&named, None, namespaced, NameRule::PathSegment);
    errors.extend(found.into_iter().map(|error| FieldError { field: child(path, &error.field), ..error }));
}

fn version_problem(text: &str) -> Option<String> {
    (text.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {text}"))
}

fn kind_problem(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let mut bytes = lower.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let fits = lower.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let prefix = "may have mixed case, but should otherwise match: ";
    if lower.len() > 63 {
        return Some(format!("{prefix}must be no more than 63 bytes"));
    }
    (!starts || !fits || lower.ends_with('-')).then(|| {
        format!(
            "{prefix}a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
             alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used \
             for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded() -> Structural {
        Structural::read(&json!({"type": "object", "properties": {"inner": {
            "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
        }}}))
        .unwrap()
    }

    #[test]
    fn unknown_metadata_is_dropped_and_named_at_the_root_and_below() {
        let mut value = json!({
            "apiVersion": "v1", "kind": "K",
            "metadata": {"name": "n", "odd": 1, "labels": {}, "creationTimestamp": null,
                "ownerReferences": [{"uid": "u", "odd": 2}]},
            "inner": {"apiVersion": "v1", "kind": "K", "metadata": {"odd": 3}},
        });
        let dropped = coerce(&embedded(), &mut value, "", true, Invalid::Refuse).unwrap();
        assert_eq!(dropped, ["inner.metadata.odd", "metadata.odd", "metadata.ownerReferences[0].odd"]);
        assert_eq!(value["metadata"], json!({"name": "n", "ownerReferences": [{"uid": "u"}]}));
    }

    #[test]
    fn metadata_of_a_wrong_type_is_refused_in_requests_and_dropped_from_storage() {
        let table = [
            (json!({"metadata": {"labels": {"a": 1}}}), "metadata", "ObjectMeta.labels of type map[string]string"),
            (json!({"metadata": 3}), "metadata", "json: cannot unmarshal number into Go value of type v1.ObjectMeta"),
            (json!({"kind": 3}), "kind", "must be a string"),
            (
                json!({"inner": {"metadata": {"name": []}}}),
                "inner.metadata",
                "array into Go struct field ObjectMeta.name",
            ),
            (json!({"metadata": {"creationTimestamp": "now"}}), "metadata", "parsing time \"now\""),
        ];
        for (value, field, text) in table {
            let error = coerce(&embedded(), &mut value.clone(), "", true, Invalid::Refuse).unwrap_err();
            assert_eq!(error.field, field, "{value}");
            assert!(error.message.contains(text), "{}", error.message);
            coerce(&embedded(), &mut value.clone(), "", true, Invalid::Drop).unwrap();
        }
        let mut value = json!({"kind": 3, "metadata": {"name": "n", "labels": 3}});
        coerce(&embedded(), &mut value, "", true, Invalid::Drop).unwrap();
        assert_eq!(value, json!({"metadata": {"name": "n"}}));
    }

    #[test]
    fn an_embedded_object_has_a_version_and_a_kind_and_valid_metadata() {
        let value = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"},
            "inner": {"kind": "no kind", "metadata": {"labels": {"a b": ""}}}});
        let errors = validate(&embedded(), &value, "", true);
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["inner.apiVersion", "inner.kind", "inner.metadata.labels"]);
    }
}

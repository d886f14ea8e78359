//! Dropping fields that a schema does not name (`apiserver/schema/pruning/algorithm.go`).

use crate::path::{child, index};
use crate::structural::{Structural, is_meta_field};
use serde_json::Value;

/// Drops from `value` what `schema` does not name; `whole` says that it is a whole object, whose `apiVersion`, `kind` and
/// `metadata` are left to [`metadata::coerce`](crate::metadata::coerce). Answers with the paths of what was dropped.
pub(crate) fn prune(schema: &Structural, value: &mut Value, whole: bool) -> Vec<String> {
    let mut dropped = Vec::new();
    node(value, Some(schema), "", whole, &mut dropped);
    dropped.sort();
    dropped
}

fn node(value: &mut Value, schema: Option<&Structural>, path: &str, whole: bool, dropped: &mut Vec<String>) {
    let keeps = schema.is_some_and(|schema| schema.extensions.preserve_unknown_fields);
    let whole = whole || schema.is_some_and(|schema| schema.extensions.embedded_resource);
    match value {
        Value::Object(map) => map.retain(|name, value| {
            if whole && is_meta_field(name) {
                return true;
            }
            let field = child(path, name);
            let property = schema.and_then(|schema| schema.properties.get(name));
            let additional = schema.is_some_and(|schema| schema.additional.is_some());
            match (property, additional) {
                (Some(property), _) => node(value, Some(property), &field, false, dropped),
                (None, true) => {
                    node(value, schema.and_then(Structural::additional_schema), &field, false, dropped);
                }
                (None, false) if keeps => {}
                (None, false) => {
                    note(dropped, field);
                    return false;
                }
            }
            true
        }),
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            if keeps && items.is_none() {
                return;
            }
            // What is kept in a list is kept in its items, unless their schema says more.
            let kept = items.filter(|_| keeps).map(keeping);
            for (i, item) in list.iter_mut().enumerate() {
                node(item, kept.as_ref().or(items), &index(path, i), false, dropped);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// So many dropped fields are told; more tell nobody more.
const TOLD: usize = 2000;

pub(crate) fn note(dropped: &mut Vec<String>, field: String) {
    if dropped.len() < TOLD {
        dropped.push(field);
    }
}

/// The schema of the items of a list that preserves unknown fields: their own stay.
fn keeping(items: &Structural) -> Structural {
    let mut items = items.clone();
    items.extensions.preserve_unknown_fields = true;
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pruned(schema: &Value, value: &Value) -> (Value, Vec<String>) {
        let mut value = value.clone();
        let dropped = prune(&Structural::read(schema).unwrap(), &mut value, true);
        (value, dropped)
    }

    #[test]
    fn unknown_fields_are_dropped_and_named() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "any": {"type": "object", "additionalProperties": true},
        }}}});
        let object = json!({
            "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "odd": 1}, "odd": 1,
            "spec": {"a": "1", "odd": {"x": 1}, "list": [{"x": 1}, {"y": 1}], "map": {"k": {"x": 1, "y": 2}},
                "any": {"k": {"gone": 1}}},
        });
        let (object, dropped) = pruned(&schema, &object);
        assert_eq!(dropped, ["odd", "spec.any.k.gone", "spec.list[1].y", "spec.map.k.y", "spec.odd"]);
        let expected = json!({
            "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "odd": 1},
            "spec": {"a": "1", "list": [{"x": 1}, {}], "map": {"k": {"x": 1}}, "any": {"k": {}}},
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn preserved_parts_stay_but_what_they_name_is_pruned_again() {
        let schema = json!({"type": "object", "properties": {"spec": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object", "properties": {"x": {"type": "string"}}}},
        }, "embedded": {
            "type": "object", "x-kubernetes-embedded-resource": true, "properties": {"data": {"type": "string"}},
        }}});
        let object = json!({"spec": {"odd": {"y": 1}, "known": {"x": 1, "y": 2}}, "embedded": {
            "apiVersion": "v1", "kind": "K", "metadata": {}, "data": "d", "odd": 1}});
        let (object, dropped) = pruned(&schema, &object);
        assert_eq!(dropped, ["embedded.odd", "spec.known.y"]);
        assert_eq!(object["spec"]["odd"], json!({"y": 1}));
    }
}

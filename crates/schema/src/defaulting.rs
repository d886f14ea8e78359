//! Filling in defaults (`apiserver/schema/defaulting`).

use crate::structural::Structural;
use serde_json::Value;

/// Drops nulls that are neither values nor replaced by a default.
pub(crate) fn prune_nulls(schema: Option<&Structural>, value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let field = schema.and_then(|schema| schema.field(name));
            let lost = value.is_null() && field.is_some_and(|field| !field.nullable && field.default.is_none());
            if !lost {
                prune_nulls(field, value);
            }
            !lost
        }),
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            list.iter_mut().for_each(|item| prune_nulls(items, item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fills in what is missing, or null where null is no value.
pub(crate) fn fill(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                if map.get(name).is_none_or(|value| value.is_null() && !property.nullable) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                let Some(field) = schema.field(name) else { continue };
                if !schema.properties.contains_key(name) {
                    replace_null(field, value);
                }
                fill(field, value);
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return };
            for item in list {
                replace_null(items, item);
                fill(items, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn replace_null(schema: &Structural, value: &mut Value) {
    if let (true, false, Some(default)) = (value.is_null(), schema.nullable, &schema.default) {
        *value = default.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_fill_what_is_missing_and_nulls_that_are_no_values() {
        let schema = Structural::read(&json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "A"},
            "n": {"type": "string", "nullable": true, "default": "N"},
            "plain": {"type": "string"},
            "object": {"type": "object", "default": {}, "properties": {"deep": {"type": "integer", "default": 3}}},
            "absent": {"type": "object", "properties": {"deep": {"type": "integer", "default": 3}}},
            "list": {"type": "array", "items": {"type": "string", "default": "I"}},
            "map": {"type": "object", "additionalProperties": {"type": "string", "default": "M"}},
        }}))
        .unwrap();
        let mut value = json!({"a": null, "n": null, "plain": null, "list": [null, "x"], "map": {"k": null}});
        prune_nulls(Some(&schema), &mut value);
        fill(&schema, &mut value);
        let expected = json!({"a": "A", "n": null, "object": {"deep": 3}, "list": ["I", "x"], "map": {"k": "M"}});
        assert_eq!(value, expected);
    }
}

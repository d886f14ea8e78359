//! Lists that are sets or maps (`apiserver/schema/listtype`).

use crate::path::{child, index, key};
use crate::structural::Structural;
use orrery_machinery::status::{ApiError, FieldError};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Checks that sets hold each value once, and maps each key; `path` is where `value` stands.
#[must_use]
pub fn sets_and_maps(schema: &Structural, value: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    node(schema, value, path, &mut errors);
    errors
}

fn node(schema: &Structural, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if errors.len() > ApiError::ERRORS_SHOWN {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match (schema.properties.get(name), schema.additional_schema()) {
                    (Some(property), _) => node(property, value, &child(path, name), errors),
                    (None, Some(additional)) => node(additional, value, &key(path, name), errors),
                    (None, None) => {}
                }
            }
        }
        Value::Array(list) => {
            match schema.extensions.list_type.as_deref() {
                Some("set") => {
                    let again = repeated(list.iter());
                    errors.extend(again.into_iter().map(|i| FieldError::duplicate(index(path, i), &list[i])));
                }
                Some("map") => map_keys(schema, list, path, errors),
                Some(_) | None => {}
            }
            let Some(items) = schema.items.as_deref() else { return };
            for (i, item) in list.iter().enumerate() {
                node(items, item, &index(path, i), errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Where a value stands for the second time; a third time is not told again.
fn repeated<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let mut seen: HashMap<&Value, usize> = HashMap::new();
    let mut again = Vec::new();
    for (i, value) in values.enumerate() {
        let times = seen.entry(value).or_default();
        *times += 1;
        if *times == 2 {
            again.push(i);
        }
    }
    again
}

fn map_keys(schema: &Structural, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if let Some((i, item)) = list.iter().enumerate().find(|(_, item)| !item.is_object() && !item.is_null()) {
        let why = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(index(path, i), item, why));
        return;
    }
    let keys: Vec<Value> = list.iter().map(|item| keys_of(schema, item)).collect();
    errors.extend(repeated(keys.iter()).into_iter().map(|i| FieldError::duplicate(index(path, i), &keys[i])));
}

/// The keys of an item with their values.
fn keys_of(schema: &Structural, item: &Value) -> Value {
    let keys = schema.extensions.list_map_keys.iter();
    keys.filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect::<Map<_, _>>().into()
}

/// The old items of a list map by their keys; nothing when the list is no map.
pub(crate) fn list_map_old<'a>(schema: &Structural, old: &'a [Value]) -> impl Fn(&Value) -> Option<&'a Value> {
    let is_map = schema.is_list_map();
    let index: HashMap<Value, &Value> =
        if is_map { old.iter().rev().map(|item| (keys_of(schema, item), item)).collect() } else { HashMap::new() };
    let schema = is_map.then(|| Structural {
        extensions: crate::structural::Extensions {
            list_map_keys: schema.extensions.list_map_keys.clone(),
            ..Default::default()
        },
        ..Structural::default()
    });
    move |item| index.get(&keys_of(schema.as_ref()?, item)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_set_holds_each_value_once_and_a_map_each_key() {
        let schema = Structural::read(&json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object", "properties": {"a": {}, "b": {}}}},
        }}))
        .unwrap();
        let value = json!({
            "set": [1, "1", 1, {"x": 1}, 1, {"x": 1}],
            "map": [{"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"b": 2, "a": 1}, null, {}],
        });
        let found: Vec<String> =
            sets_and_maps(&schema, &value, "").iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
        let expected = [
            "map[2]: Duplicate value: {\"a\":1,\"b\":2}",
            "map[5]: Duplicate value: {}",
            "set[2]: Duplicate value: 1",
            "set[5]: Duplicate value: {\"x\":1}",
        ];
        assert_eq!(found, expected);
        let wrong = sets_and_maps(&schema, &json!({"map": [{"a": 1}, 3]}), "spec");
        assert_eq!(wrong[0].field, "spec.map[1]");
    }

    #[test]
    fn an_item_finds_its_old_self_by_its_keys() {
        let schema = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]});
        let schema = Structural::read(&schema).unwrap();
        let old = [json!({"k": 1, "v": 1}), json!({"k": 2, "v": 2})];
        let find = list_map_old(&schema, &old);
        assert_eq!(find(&json!({"k": 2, "v": 9})), Some(&old[1]));
        assert_eq!(find(&json!({"k": 3})), None);
    }
}

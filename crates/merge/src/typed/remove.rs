//! An object without a set of fields.

use super::Part;
use super::index::element_of;
use crate::fields::{FieldSet, PathElement};
use orrery_machinery::shape::{ListKind, View};
use serde_json::{Map, Value};

/// `value` without the fields of `gone` and what is below them. A map or list of which nothing is left is empty.
pub(crate) fn remove(value: &Value, gone: &FieldSet<'_>, view: View<'_>) -> Value {
    match (Part::of(view.atom(), Some(value)), value) {
        (Part::List(list), Value::Array(items)) if list.kind != ListKind::Atomic => {
            let element = view.at(list.element);
            items.iter().filter_map(|item| without_item(item, gone, &list.kind, element)).collect()
        }
        (Part::Map(map), Value::Object(entries)) if !map.atomic => {
            let mut left = Map::new();
            for (name, value) in entries {
                let element = PathElement::field(name);
                if gone.has(&element) {
                    continue;
                }
                let value = match (gone.below(&element), map.child(name)) {
                    (Some(gone), Some(atom)) => remove(value, gone, view.at(atom)),
                    _ => value.clone(),
                };
                left.insert(name.clone(), value);
            }
            left.into()
        }
        // Something below what is one value is to go: then all of it does.
        (Part::List(_), Value::Array(_)) => Value::Array(Vec::new()),
        (Part::Map(_), Value::Object(_)) => Map::new().into(),
        (_, value) => value.clone(),
    }
}

fn without_item(item: &Value, gone: &FieldSet<'_>, kind: &ListKind, view: View<'_>) -> Option<Value> {
    let below = match element_of(kind, item) {
        Ok(element) if gone.has(&element) => return None,
        Ok(element) => gone.below(&element),
        Err(_) => None,
    };
    Some(match below {
        Some(below) => remove(item, below, view),
        None => item.clone(),
    })
}

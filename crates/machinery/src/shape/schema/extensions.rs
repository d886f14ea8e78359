//! The extensions `x-kubernetes-*`.

use super::{Builder, reference, requires};
use crate::shape::{Key, ListKind, Patch, PatchStrategy};
use serde_json::{Value, json};

pub(super) fn is_set(schema: &Value, extension: &str) -> bool {
    schema.get(extension) == Some(&Value::Bool(true))
}

impl<'a> Builder<'a> {
    /// Whether a map is atomic; none when the schema says nothing of it.
    pub(super) fn map_type(&mut self, schema: &Value, at: &str) -> Option<bool> {
        match schema.get("x-kubernetes-map-type")?.as_str() {
            Some("atomic") => Some(true),
            Some("granular") => Some(false),
            other => {
                self.problem(at, format!("has the unknown map type {}", other.unwrap_or("(no text)")));
                None
            }
        }
    }

    pub(super) fn list_kind(&mut self, schema: &'a Value, items: &'a Value, at: &str) -> ListKind {
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        match (text("x-kubernetes-list-type"), text("x-kubernetes-patch-strategy")) {
            (Some("atomic"), _) | (None, None | Some("retainKeys" | "replace")) => ListKind::Atomic,
            (Some("set"), _) => ListKind::Set,
            (Some("map"), _) => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
                if keys.is_empty() {
                    self.problem(at, "is a list of type map without keys");
                    return ListKind::Atomic;
                }
                ListKind::Map(keys.into_iter().map(|name| self.key(items, name)).collect())
            }
            (Some(other), _) => {
                self.problem(at, format!("has the unknown list type {other:?}"));
                ListKind::Atomic
            }
            (None, Some("merge" | "merge,retainKeys")) => match text("x-kubernetes-patch-merge-key") {
                Some(key) => ListKind::Map([self.key(items, key)].into()),
                None => ListKind::Set,
            },
            (None, Some(other)) => {
                self.problem(at, format!("has the unknown patch strategy {other:?}"));
                ListKind::Atomic
            }
        }
    }

    /// The key `name` with the default that the elements' schema has for it.
    fn key(&self, items: &Value, name: &str) -> Key {
        let element = reference(items).and_then(|definition| self.definitions.get(definition)).unwrap_or(items);
        let field = &element["properties"][name];
        let zero = || {
            let zero = match field["type"].as_str()? {
                "string" => json!(""),
                "integer" | "number" => json!(0),
                "boolean" => json!(false),
                _ => return None,
            };
            (self.from_structs && requires(element, name)).then_some(zero)
        };
        let default = field.get("default").filter(|default| !default.is_null()).cloned().or_else(zero);
        Key { name: name.to_owned().into(), default }
    }

    pub(super) fn patch(&mut self, schema: &Value, at: &str) -> Option<Box<Patch>> {
        let merge_key = schema.get("x-kubernetes-patch-merge-key").and_then(Value::as_str);
        let mut patch = Patch { merge_key: merge_key.map(|key| key.to_owned().into()), ..Patch::default() };
        for strategy in
            schema.get("x-kubernetes-patch-strategy").and_then(Value::as_str).into_iter().flat_map(|s| s.split(','))
        {
            match strategy {
                "merge" => patch.strategy = Some(PatchStrategy::Merge),
                "replace" => patch.strategy = Some(PatchStrategy::Replace),
                "retainKeys" => patch.retain_keys = true,
                other => self.problem(at, format!("has the unknown patch strategy {other:?}")),
            }
        }
        (patch != Patch::default()).then(|| Box::new(patch))
    }
}

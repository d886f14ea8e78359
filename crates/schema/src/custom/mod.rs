//! Custom resources: what a `CustomResourceDefinition` has to be, and the resources that it defines.
//!
//! * `definition`: the rules of definitions themselves, around those of the built-in kind.
//! * `resource`: the descriptors that follow from a definition.
//! * `names`: which definition of a group has which names.
//!
//! Who follows definitions and serves what they define is the API server.

mod definition;
mod names;
mod resource;

pub use definition::with_schema_rules;
pub use names::{Verdict, judge};
pub use resource::descriptors;

use orrery_machinery::meta;
use serde_json::{Map, Value};

/// The group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// The resource of definitions.
pub const PLURAL: &str = "customresourcedefinitions";
/// Holds a definition that is being deleted until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The text at a JSON pointer; empty when unset.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The elements of the list at a JSON pointer; none when unset.
fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Sets or, with none or null, removes a field of `metadata`.
fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    set(meta::metadata_mut(object), field, value);
}

/// Sets or, with none or null, removes a top-level field.
fn set_field(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(object) = object.as_object_mut() {
        set(object, field, value);
    }
}

fn set(fields: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        None | Some(Value::Null) => fields.remove(field),
        Some(value) => fields.insert(field.to_owned(), value),
    };
}

//! What the API server needs to know of a resource.

use crate::status::FieldError;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A resource, as it is registered with the API server. All functions are pure; `now` is passed in.
#[derive(Clone)]
pub struct ResourceDescriptor {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The served and stored version.
    pub version: &'static str,
    /// Such as `Pod`.
    pub kind: &'static str,
    /// Such as `pods`.
    pub plural: &'static str,
    /// Such as `pod`.
    pub singular: &'static str,
    /// Such as `po`.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether objects are stored, or answered at once by a handler (reviews).
    pub storage: Storage,
    /// Whether there is a `/status` sub-resource; then writes to the main resource leave `status` alone and the other
    /// way round.
    pub has_status: bool,
    /// Checks the object against its type: the unknown fields' paths, or why it is malformed.
    pub decode: fn(&Value) -> Result<Vec<String>, DecodeError>,
    /// Fills in defaults.
    pub default: fn(&mut Value),
    /// Checks a new object, or a change when the old one is given.
    pub validate: fn(&Value, Option<&Value>) -> Vec<FieldError>,
    /// Prepares an object for its first write (such as a pod's initial phase).
    pub prepare_create: fn(&mut Value),
    /// Whether an update that differs in more than metadata and status counts up `metadata.generation`.
    pub counts_generation: bool,
    /// Columns of a table beyond `Name`, `Namespace` being the client's and `Age` being added last, before those that
    /// only `-o wide` shows. With a column called `Name` among them, they are the whole table
    /// ([`crate::table::NAME`], [`crate::table::AGE`]).
    pub columns: &'static [Column],
    /// Fields that a field selector may name beyond `metadata.name` and `metadata.namespace`.
    pub selectable_fields: &'static [SelectableField],
    /// Which lists are merged by which key in a strategic merge patch.
    pub merge_keys: &'static [MergeKey],
    /// The OpenAPI v3 schema, with definitions under `$defs`.
    pub schema: fn() -> Value,
}

/// How objects of a resource are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In the store, for ever.
    Stored,
    /// In the store, for so many seconds after the last write (events).
    StoredFor {
        /// Seconds.
        seconds: u64,
    },
    /// Not at all: `create` is answered by a handler.
    Review,
}

/// A column of a table.
#[derive(Clone, Copy)]
pub struct Column {
    /// The heading, such as `Ready`.
    pub name: &'static str,
    /// `string`, `integer` or `date`.
    pub kind: &'static str,
    /// 0 is always shown; 1 only with `-o wide`.
    pub priority: i32,
    /// For people.
    pub description: &'static str,
    /// The cell's value for an object at the time `now` (Unix seconds).
    pub cell: fn(&Value, i64) -> Value,
}

/// A field that a field selector may name.
#[derive(Clone, Copy)]
pub struct SelectableField {
    /// Such as `spec.nodeName`.
    pub path: &'static str,
    /// The field's value as text; empty when it is unset.
    pub value: fn(&Value) -> String,
}

/// How one list merges in a strategic merge patch
/// (<https://github.com/kubernetes/community/blob/main/contributors/devel/sig-api-machinery/strategic-merge-patch.md>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeKey {
    /// Path of the list, names joined by `.`, through lists too: `spec.containers.ports`.
    pub path: &'static str,
    /// The key that identifies an element; none for a list of scalars that merges as a set.
    pub key: Option<&'static str>,
}

/// Why an object is not of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct DecodeError {
    /// Where, such as `spec.containers[0].ports`.
    pub path: String,
    /// Why.
    pub message: String,
}

/// [`ResourceDescriptor::decode`] for a Rust type: unknown fields are those that the type ignores.
///
/// # Errors
/// When the object is not of type `T`.
pub fn decode_as<T: DeserializeOwned>(object: &Value) -> Result<Vec<String>, DecodeError> {
    let mut unknown = Vec::new();
    let result: Result<T, serde_json::Error> =
        serde_ignored::deserialize(object, |path| unknown.push(field_path(&path)));
    match result {
        Ok(_) => Ok(unknown),
        Err(_) => match serde_path_to_error::deserialize::<_, T>(object) {
            Ok(_) => Ok(unknown),
            Err(error) => Err(DecodeError { path: error.path().to_string(), message: error.inner().to_string() }),
        },
    }
}

/// A path as Kubernetes writes it: `spec.containers[0].ports`.
fn field_path(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field_path(parent)),
        Path::Map { parent, key } => match field_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => field_path(parent),
    }
}

/// [`ResourceDescriptor::schema`] for a Rust type.
#[must_use]
pub fn schema_of<T: schemars::JsonSchema>() -> Value {
    schemars::generate::SchemaSettings::openapi3().into_generator().into_root_schema_for::<T>().to_value()
}

/// Reads `object` as `T`, once [`ResourceDescriptor::decode`] has accepted it.
#[must_use]
pub fn read_as<T: DeserializeOwned>(object: &Value) -> Option<T> {
    T::deserialize(object).ok()
}

/// Writes `value` as JSON.
///
/// # Panics
/// Never for API types: their maps have string keys.
#[must_use]
pub fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("an API type is JSON")
}

/// A resource for the tests of this crate.
#[cfg(test)]
pub(crate) fn test_descriptor() -> ResourceDescriptor {
    ResourceDescriptor {
        group: "test.io",
        version: "v1",
        kind: "Widget",
        plural: "widgets",
        singular: "widget",
        short_names: &["wd"],
        categories: &["all"],
        namespaced: true,
        storage: Storage::Stored,
        has_status: true,
        decode: |_| Ok(Vec::new()),
        default: |_| {},
        validate: |_, _| Vec::new(),
        prepare_create: |_| {},
        counts_generation: true,
        columns: &[Column {
            name: "Size",
            kind: "string",
            priority: 0,
            description: "How big.",
            cell: |object, _| object["spec"]["size"].clone(),
        }],
        selectable_fields: &[SelectableField {
            path: "spec.size",
            value: |object| object["spec"]["size"].as_str().unwrap_or_default().to_owned(),
        }],
        merge_keys: &[],
        schema: || {
            serde_json::json!({
                "title": "Widget", "type": "object",
                "properties": {"spec": {"$ref": "#/$defs/WidgetSpec"}},
                "$defs": {"WidgetSpec": {"type": "object", "properties": {"size": {"type": "string"}}}},
            })
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::k8s::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn unknown_and_malformed_fields_are_named_by_their_path() {
        let pod = |container: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [container]}, "extra": 1});
        assert_eq!(
            decode_as::<Pod>(&pod(json!({"name": "a", "prots": []}))).unwrap(),
            ["extra", "spec.containers[0].prots"]
        );
        let error = decode_as::<Pod>(&pod(json!({"name": 5}))).unwrap_err();
        assert_eq!(error.path, "spec.containers[0].name");
    }
}

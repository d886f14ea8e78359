//! The fields of `metadata`, which are always the same, and their types.

use super::Invalid;
use crate::path::{child, index};
use crate::prune::note;
use serde_json::{Value, json};

/// Brings `metadata` into shape: drops unknown and unset fields, and those of a wrong type when they are to be dropped.
/// Paths of unknown fields are added to `dropped`.
pub(super) fn object_meta(
    metadata: &mut Value,
    path: &str,
    invalid: Invalid,
    dropped: &mut Vec<String>,
) -> Result<(), String> {
    shape(metadata, &OBJECT_META, "ObjectMeta", path, invalid, dropped)
}

/// What a field of metadata holds.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Integer,
    Flag,
    /// RFC 3339, or null for none.
    Time,
    Texts,
    TextMap,
    /// Any object, kept as it is.
    Raw,
    Objects(&'static str, &'static [(&'static str, Shape)]),
}

const OBJECT_META: [(&str, Shape); 15] = [
    ("name", Shape::Text),
    ("generateName", Shape::Text),
    ("namespace", Shape::Text),
    ("selfLink", Shape::Text),
    ("uid", Shape::Text),
    ("resourceVersion", Shape::Text),
    ("generation", Shape::Integer),
    ("creationTimestamp", Shape::Time),
    ("deletionTimestamp", Shape::Time),
    ("deletionGracePeriodSeconds", Shape::Integer),
    ("labels", Shape::TextMap),
    ("annotations", Shape::TextMap),
    ("ownerReferences", Shape::Objects("OwnerReference", &OWNER)),
    ("finalizers", Shape::Texts),
    ("managedFields", Shape::Objects("ManagedFieldsEntry", &MANAGED)),
];

const OWNER: [(&str, Shape); 6] = [
    ("apiVersion", Shape::Text),
    ("kind", Shape::Text),
    ("name", Shape::Text),
    ("uid", Shape::Text),
    ("controller", Shape::Flag),
    ("blockOwnerDeletion", Shape::Flag),
];

const MANAGED: [(&str, Shape); 7] = [
    ("manager", Shape::Text),
    ("operation", Shape::Text),
    ("apiVersion", Shape::Text),
    ("time", Shape::Time),
    ("fieldsType", Shape::Text),
    ("fieldsV1", Shape::Raw),
    ("subresource", Shape::Text),
];

/// Drops unknown and unset fields of `value`, and those of a wrong type when they are to be dropped; else these are an
/// error in the words of Go's decoder.
fn shape(
    value: &mut Value,
    fields: &[(&str, Shape)],
    kind: &str,
    path: &str,
    invalid: Invalid,
    dropped: &mut Vec<String>,
) -> Result<(), String> {
    if value.is_null() {
        *value = json!({});
    }
    let found = go_kind(value);
    let Value::Object(map) = value else {
        return Err(format!("json: cannot unmarshal {found} into Go value of type v1.{kind}"));
    };
    let mut problem = None;
    map.retain(|name, value| {
        let Some((_, shape)) = fields.iter().find(|(known, _)| known == name) else {
            note(dropped, child(path, name));
            return false;
        };
        match field(value, *shape, &child(path, name), invalid, dropped) {
            Ok(()) => !is_unset(value),
            Err(text) => {
                let text = if text.starts_with("parsing time") || text.starts_with("json:") {
                    text
                } else {
                    format!(
                        "json: cannot unmarshal {} into Go struct field {kind}.{name} of type {text}",
                        go_kind(value)
                    )
                };
                problem.get_or_insert(text);
                false
            }
        }
    });
    match problem {
        Some(problem) if invalid == Invalid::Refuse => Err(problem),
        Some(_) | None => Ok(()),
    }
}

/// What Go leaves out when it writes metadata.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(_) => false,
    }
}

fn field(
    value: &mut Value,
    shape: Shape,
    path: &str,
    invalid: Invalid,
    dropped: &mut Vec<String>,
) -> Result<(), String> {
    let fits = match (shape, &*value) {
        (_, Value::Null) => true,
        (Shape::Text, value) => value.is_string(),
        (Shape::Integer, value) => value.is_i64(),
        (Shape::Flag, value) => value.is_boolean(),
        (Shape::Time, Value::String(text)) => return time(text),
        (Shape::Texts, Value::Array(list)) => list.iter().all(Value::is_string),
        (Shape::TextMap, Value::Object(map)) => map.values().all(Value::is_string),
        (Shape::Raw, value) => value.is_object(),
        (Shape::Objects(kind, fields), Value::Array(_)) => {
            for (i, item) in value.as_array_mut().into_iter().flatten().enumerate() {
                self::shape(item, fields, kind, &index(path, i), invalid, dropped)?;
            }
            true
        }
        (Shape::Time | Shape::Texts | Shape::TextMap | Shape::Objects(..), _) => false,
    };
    if fits { Ok(()) } else { Err(shape.go_type()) }
}

impl Shape {
    fn go_type(self) -> String {
        match self {
            Self::Text => "string".into(),
            Self::Integer => "int64".into(),
            Self::Flag => "bool".into(),
            Self::Time => "v1.Time".into(),
            Self::Texts => "[]string".into(),
            Self::TextMap => "map[string]string".into(),
            Self::Raw => "v1.FieldsV1".into(),
            Self::Objects(kind, _) => format!("[]v1.{kind}"),
        }
    }
}

fn time(text: &str) -> Result<(), String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let like = text.len() >= 20 && text.as_bytes()[10] == b'T';
    if parsed.is_ok() && like {
        return Ok(());
    }
    let layout = "2006-01-02T15:04:05Z07:00";
    Err(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

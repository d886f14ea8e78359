//! What expressions know of values from their schema (`k8s.io/apiserver/pkg/cel/common/schemas.go`).

use crate::structural::Structural;
use orrery_cel::{Decl, Field, Kind, LONGEST_TEXT, ListKind, MAX_REQUEST_BYTES, escape};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Structural {
    /// What expressions see of values of this schema; nothing when they see nothing, as of what preserves unknown fields.
    /// `whole` says that it is a whole object.
    #[must_use]
    pub fn decl(&self, whole: bool) -> Option<Decl> {
        named(self, whole, "object")
    }
}

fn below(schema: &Structural, name: &str) -> Option<Decl> {
    named(schema, schema.extensions.embedded_resource, name)
}

fn named(schema: &Structural, whole: bool, name: &str) -> Option<Decl> {
    let simple = |kind, max_elements, min_size| Some(Decl::new(kind, name, max_elements, min_size));
    if schema.extensions.int_or_string {
        return simple(Kind::Dyn, schema.values.max_length.map_or(LONGEST_TEXT, four_bytes_each), 1);
    }
    match schema.kind.as_str() {
        "array" => {
            let items = below(schema.items.as_ref()?, &format!("{name}.@idx"))?;
            let max = schema.values.max_items.map(at_least_zero);
            let max = max.unwrap_or_else(|| LONGEST_TEXT / (items.min_size() + 1));
            let list = match schema.extensions.list_type.as_deref() {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(schema.extensions.list_map_keys.clone()),
                Some(_) | None => ListKind::Atomic,
            };
            simple(Kind::List { items: Arc::new(items), list }, max, 2)
        }
        "object" => object(schema, whole, name),
        "string" => {
            let (kind, max, min) = text(schema);
            simple(kind, max, min)
        }
        "boolean" => simple(Kind::Bool, 1, 4),
        "number" => simple(Kind::Double, 1, 1),
        "integer" => simple(Kind::Int, 1, 1),
        _ => None,
    }
}

/// What texts are, how long at most, and how many bytes of JSON at least.
fn text(schema: &Structural) -> (Kind, u64, u64) {
    let values = &schema.values;
    match values.format.as_str() {
        "byte" => (Kind::Bytes, values.max_length.map_or(LONGEST_TEXT, at_least_zero), 2),
        "duration" => (Kind::Duration, 32, 4),
        "date" => (Kind::Timestamp, 12, 12),
        "date-time" => (Kind::Timestamp, 37, 22),
        _ => {
            let longest = || values.enumeration.iter().filter_map(Value::as_str).map(str::len).max();
            let max = match values.max_length {
                Some(limit) => four_bytes_each(limit),
                None if values.enumeration.is_empty() => LONGEST_TEXT,
                None => longest().map_or(0, |length| length as u64),
            };
            (Kind::String, max, 2)
        }
    }
}

fn object(schema: &Structural, whole: bool, name: &str) -> Option<Decl> {
    if let Some(of) = schema.additional_schema() {
        let values = below(of, &format!("{name}.@prop"))?;
        let max = schema.values.max_properties.map(at_least_zero);
        let max = max.unwrap_or_else(|| LONGEST_TEXT / (values.min_size() + 6));
        return Some(Decl::new(Kind::Map(Arc::new(values)), name, max, 2));
    }
    let meta = meta_properties(schema, whole);
    let mut fields = BTreeMap::new();
    let mut min_size = 2;
    for (field, property) in schema.properties.iter().filter(|(field, _)| !meta.contains_key(*field)).chain(&meta) {
        let Some(decl) = below(property, &format!("{name}.{field}")) else { continue };
        if schema.values.required.contains(field) && property.default.is_none() {
            min_size += field.len() as u64 + decl.min_size() + 4;
        }
        if let Some(escaped) = escape(field) {
            fields.insert(escaped, Field { name: field.clone(), decl: Arc::new(decl) });
        }
    }
    // An object has no size of its own; upstream takes the request's.
    Some(Decl::new(Kind::Object(fields), name, MAX_REQUEST_BYTES, min_size))
}

/// The schemas of `apiVersion`, `kind` and `metadata` of a whole object. Of metadata, expressions see the two names only.
fn meta_properties(schema: &Structural, whole: bool) -> BTreeMap<String, Structural> {
    if !whole {
        return BTreeMap::new();
    }
    let text = || Structural { kind: "string".into(), ..Structural::default() };
    let declared = schema.properties.get("metadata").map(|metadata| &metadata.properties);
    let has = |name: &str| declared.is_some_and(|properties| properties.get(name).is_some_and(|p| p.kind == "string"));
    let mut meta = BTreeMap::from([("apiVersion".to_owned(), text()), ("kind".to_owned(), text())]);
    if has("name") && has("generateName") && schema.properties["metadata"].kind == "object" {
        return meta;
    }
    let names = ["name", "generateName"].map(|name| (name.to_owned(), text()));
    let metadata = Structural { kind: "object".into(), properties: names.into(), ..Structural::default() };
    meta.insert("metadata".to_owned(), metadata);
    meta
}

fn at_least_zero(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(0)
}

/// A length counts characters, and one may have four bytes.
fn four_bytes_each(limit: i64) -> u64 {
    at_least_zero(limit).saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_known_fields_is_hidden() {
        let schema = Structural::read(&json!({"type": "object", "properties": {
            "s": {"type": "string", "maxLength": 5}, "any": {"x-kubernetes-preserve-unknown-fields": true},
            "l": {"type": "array", "items": {"type": "integer"}, "maxItems": 7},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "t": {"type": "string", "format": "date-time"},
        }}))
        .unwrap();
        let decl = schema.decl(true).unwrap();
        let Kind::Object(fields) = decl.kind() else { panic!("{decl:?}") };
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["apiVersion", "kind", "l", "metadata", "open", "s", "t"]);
        assert_eq!((fields["s"].decl.max_elements(), fields["l"].decl.max_elements()), (20, 7));
        assert_eq!(fields["t"].decl.ty().to_string(), "timestamp");
    }
}

//! What is known of values from a schema: their types, and how large they may be
//! (`k8s.io/apiserver/pkg/cel/common/schemas.go`).

use super::types::{ObjectType, Type};
use crate::structural::Structural;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest request, from which the largest value follows; `DefaultMaxRequestSizeBytes`.
const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// The longest text in a request.
pub(super) const LONGEST_TEXT: u64 = MAX_REQUEST_BYTES - 2;

/// A type with its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Decl {
    pub(crate) kind: Kind,
    /// How many bytes, elements or entries a value has at most.
    pub(crate) max_elements: u64,
    /// How many bytes of JSON a value has at least.
    min_size: u64,
    ty: Type,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// An int-or-string.
    Dyn,
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List {
        items: Arc<Decl>,
        list: ListKind,
    },
    Map(Arc<Decl>),
    Object(BTreeMap<String, Field>),
}

/// How a list's items are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// By nothing: the whole list is one.
    Atomic,
    /// By their values.
    Set,
    /// By these fields.
    Map(Vec<String>),
}

/// A field of an object; it is kept under the name that expressions write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// The name in the object.
    pub(crate) name: String,
    pub(crate) decl: Arc<Decl>,
}

impl Decl {
    /// What expressions see of values of `schema`; nothing when they see nothing, as of what preserves unknown fields.
    /// `whole` says that it is a whole object.
    #[must_use]
    pub fn of_schema(schema: &Structural, whole: bool) -> Option<Self> {
        Self::named(schema, whole, "object")
    }

    fn named(schema: &Structural, whole: bool, name: &str) -> Option<Self> {
        if schema.extensions.int_or_string {
            let max = schema.values.max_length.map_or(MAX_REQUEST_BYTES - 2, four_bytes_each);
            return Some(Self { kind: Kind::Dyn, max_elements: max, min_size: 1, ty: Type::Dyn });
        }
        let simple = |kind, max_elements, min_size, ty| Some(Self { kind, max_elements, min_size, ty });
        match schema.kind.as_str() {
            "array" => {
                let of = schema.items.as_ref()?;
                let items = Self::named(of, of.extensions.embedded_resource, &format!("{name}.@idx"))?;
                let max = schema.values.max_items.map(at_least_zero);
                let max = max.unwrap_or_else(|| (MAX_REQUEST_BYTES - 2) / (items.min_size + 1));
                let list = match schema.extensions.list_type.as_deref() {
                    Some("set") => ListKind::Set,
                    Some("map") => ListKind::Map(schema.extensions.list_map_keys.clone()),
                    Some(_) | None => ListKind::Atomic,
                };
                let ty = Type::list(items.ty.clone());
                simple(Kind::List { items: Arc::new(items), list }, max, 2, ty)
            }
            "object" => Self::of_object(schema, whole, name),
            "string" => Self::of_string(schema),
            "boolean" => simple(Kind::Bool, 1, 4, Type::Bool),
            "number" => simple(Kind::Double, 1, 1, Type::Double),
            "integer" => simple(Kind::Int, 1, 1, Type::Int),
            _ => None,
        }
    }

    fn of_string(schema: &Structural) -> Option<Self> {
        let simple = |kind, max_elements, min_size, ty| Some(Self { kind, max_elements, min_size, ty });
        let values = &schema.values;
        match values.format.as_str() {
            "byte" => {
                let max = values.max_length.map_or(MAX_REQUEST_BYTES - 2, at_least_zero);
                simple(Kind::Bytes, max, 2, Type::Bytes)
            }
            "duration" => simple(Kind::Duration, 32, 4, Type::Duration),
            "date" => simple(Kind::Timestamp, 12, 12, Type::Timestamp),
            "date-time" => simple(Kind::Timestamp, 37, 22, Type::Timestamp),
            _ => {
                let longest = || values.enumeration.iter().filter_map(Value::as_str).map(str::len).max();
                let max = match values.max_length {
                    Some(limit) => four_bytes_each(limit),
                    None if values.enumeration.is_empty() => MAX_REQUEST_BYTES - 2,
                    None => longest().map_or(0, |length| length as u64),
                };
                simple(Kind::String, max, 2, Type::String)
            }
        }
    }

    fn of_object(schema: &Structural, whole: bool, name: &str) -> Option<Self> {
        if let Some(of) = schema.additional_schema() {
            let values = Self::named(of, of.extensions.embedded_resource, &format!("{name}.@prop"))?;
            let max = schema.values.max_properties.map(at_least_zero);
            let max = max.unwrap_or_else(|| (MAX_REQUEST_BYTES - 2) / (values.min_size + 6));
            let ty = Type::string_map(values.ty.clone());
            return Some(Self { kind: Kind::Map(Arc::new(values)), max_elements: max, min_size: 2, ty });
        }
        let meta = meta_properties(schema, whole);
        let mut fields = BTreeMap::new();
        let mut min_size = 2;
        for (field, property) in schema.properties.iter().filter(|(field, _)| !meta.contains_key(*field)).chain(&meta) {
            let inner = format!("{name}.{field}");
            let Some(decl) = Self::named(property, property.extensions.embedded_resource, &inner) else { continue };
            if schema.values.required.contains(field) && property.default.is_none() {
                min_size += field.len() as u64 + decl.min_size + 4;
            }
            if let Some(escaped) = escape(field) {
                fields.insert(escaped, Field { name: field.clone(), decl: Arc::new(decl) });
            }
        }
        let types = fields.iter().map(|(field, of)| (field.clone(), of.decl.ty.clone())).collect();
        let ty = Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields: types, open: false }));
        // An object has no size of its own; upstream takes the request's.
        Some(Self { kind: Kind::Object(fields), max_elements: MAX_REQUEST_BYTES, min_size, ty })
    }

    /// How often a rule on values like this can be evaluated for one object at most, when nothing else bounds it.
    pub(crate) fn max_cardinality(&self) -> u64 {
        MAX_REQUEST_BYTES / (self.min_size + 1)
    }

    /// The type.
    #[must_use]
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// What is known of the items of a list or the values of a map.
    pub(crate) fn element(&self) -> Option<&Arc<Self>> {
        match &self.kind {
            Kind::List { items, .. } => Some(items),
            Kind::Map(values) => Some(values),
            Kind::Dyn
            | Kind::Bool
            | Kind::Int
            | Kind::Double
            | Kind::String
            | Kind::Bytes
            | Kind::Duration
            | Kind::Timestamp
            | Kind::Object(_) => None,
        }
    }

    /// What is known of a field or entry.
    pub(crate) fn field(&self, name: &str) -> Option<&Arc<Self>> {
        match &self.kind {
            Kind::Object(fields) => fields.get(name).map(|field| &field.decl),
            Kind::Map(values) => Some(values),
            Kind::Dyn
            | Kind::Bool
            | Kind::Int
            | Kind::Double
            | Kind::String
            | Kind::Bytes
            | Kind::Duration
            | Kind::Timestamp
            | Kind::List { .. } => None,
        }
    }
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

const KEYWORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A field's name as expressions write it; nothing when they can't.
pub(crate) fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if KEYWORDS.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')) {
        return None;
    }
    let escaped = name.replace("__", "__underscores__");
    Some(escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

/// The name of a field from how an expression writes it.
pub(crate) fn unescape(escaped: &str) -> String {
    let whole = escaped.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(keyword) = whole.filter(|keyword| KEYWORDS.contains(keyword)) {
        return keyword.to_owned();
    }
    let plain = escaped.replace("__dot__", ".").replace("__dash__", "-").replace("__slash__", "/");
    plain.replace("__underscores__", "__")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_escaped_as_upstream_escapes_them() {
        let table = [
            ("a", Some("a")),
            ("namespace", Some("__namespace__")),
            ("a.b", Some("a__dot__b")),
            ("a-b/c", Some("a__dash__b__slash__c")),
            ("a__b", Some("a__underscores__b")),
            ("1a", None),
            ("ä", None),
            ("$a", None),
        ];
        for (name, escaped) in table {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
            if let Some(escaped) = escaped {
                assert_eq!(unescape(escaped), name);
            }
        }
    }

    #[test]
    fn what_has_no_known_fields_is_hidden() {
        let schema = Structural::read(&json!({"type": "object", "properties": {
            "s": {"type": "string", "maxLength": 5}, "any": {"x-kubernetes-preserve-unknown-fields": true},
            "l": {"type": "array", "items": {"type": "integer"}, "maxItems": 7},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "t": {"type": "string", "format": "date-time"},
        }}))
        .unwrap();
        let decl = Decl::of_schema(&schema, true).unwrap();
        let Kind::Object(fields) = &decl.kind else { panic!() };
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["apiVersion", "kind", "l", "metadata", "open", "s", "t"]);
        assert_eq!((fields["s"].decl.max_elements, fields["l"].decl.max_elements), (20, 7));
        assert_eq!(fields["t"].decl.ty().to_string(), "timestamp");
    }
}

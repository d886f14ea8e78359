//! What is known of values beforehand: their types, and how large they may be.

use super::types::{ObjectType, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest request, from which the largest value follows; `DefaultMaxRequestSizeBytes`.
pub const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// The longest text in a request.
pub const LONGEST_TEXT: u64 = MAX_REQUEST_BYTES - 2;

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

/// Which values there are.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// An int-or-string.
    Dyn,
    /// Booleans.
    Bool,
    /// Whole numbers.
    Int,
    /// Numbers.
    Double,
    /// Texts.
    String,
    /// Bytes, as base64.
    Bytes,
    /// Spans of time, as Go writes them.
    Duration,
    /// Points in time, or dates.
    Timestamp,
    /// Lists.
    List {
        /// What is known of the items.
        items: Arc<Decl>,
        /// How they are told apart.
        list: ListKind,
    },
    /// Maps from texts.
    Map(Arc<Decl>),
    /// Objects, with their fields by the names that expressions write.
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
pub struct Field {
    /// The name in the object.
    pub name: String,
    /// What is known of its value.
    pub decl: Arc<Decl>,
}

impl Decl {
    /// What is known of a value: its kind (`name` is that of an object's type), how many bytes, elements or entries it has at
    /// most, and how many bytes of JSON at least.
    #[must_use]
    pub fn new(kind: Kind, name: &str, max_elements: u64, min_size: u64) -> Self {
        let ty = match &kind {
            Kind::Dyn => Type::Dyn,
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Double => Type::Double,
            Kind::String => Type::String,
            Kind::Bytes => Type::Bytes,
            Kind::Duration => Type::Duration,
            Kind::Timestamp => Type::Timestamp,
            Kind::List { items, .. } => Type::list(items.ty.clone()),
            Kind::Map(values) => Type::string_map(values.ty.clone()),
            Kind::Object(fields) => {
                let fields = fields.iter().map(|(field, of)| (field.clone(), of.decl.ty.clone())).collect();
                Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields, open: false }))
            }
        };
        Self { kind, max_elements, min_size, ty }
    }

    /// Which values there are.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How many bytes, elements or entries a value has at most.
    #[must_use]
    pub fn max_elements(&self) -> u64 {
        self.max_elements
    }

    /// How many bytes of JSON a value has at least.
    #[must_use]
    pub fn min_size(&self) -> u64 {
        self.min_size
    }

    /// How often a rule on values like this can be evaluated for one object at most, when nothing else bounds it.
    #[must_use]
    pub fn max_cardinality(&self) -> u64 {
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
#[must_use]
pub fn escape(name: &str) -> Option<String> {
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
}

//! Types of expressions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Known only when it is evaluated.
    Dyn,
    /// `null`.
    Null,
    /// `bool`.
    Bool,
    /// 64 bits with a sign.
    Int,
    /// 64 bits without.
    Uint,
    /// IEEE 754 double.
    Double,
    /// Unicode text.
    String,
    /// Bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// A list of one type.
    List(Arc<Type>),
    /// A map from one type to another.
    Map(Arc<Type>, Arc<Type>),
    /// An object with named fields.
    Object(Arc<ObjectType>),
    /// A type of a library, such as `kubernetes.Quantity`.
    Opaque(&'static str),
    /// A value or none.
    Optional(Arc<Type>),
    /// A type as a value.
    Type(Arc<Type>),
    /// To be found out by the checker.
    Var(u32),
}

/// The fields of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObjectType {
    /// As in `Object.spec`.
    pub name: String,
    /// Types by names, as expressions write them.
    pub fields: BTreeMap<String, Type>,
    /// Whether every other field is there as well, of an unknown type.
    pub open: bool,
}

impl Type {
    /// `list(of)`.
    #[must_use]
    pub fn list(of: Self) -> Self {
        Self::List(Arc::new(of))
    }

    /// `map(string, of)`.
    #[must_use]
    pub fn string_map(of: Self) -> Self {
        Self::Map(Arc::new(Self::String), Arc::new(of))
    }

    /// An object with exactly these fields.
    #[must_use]
    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let fields = fields.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
        Self::Object(Arc::new(ObjectType { name: name.to_owned(), fields, open: false }))
    }

    /// An object of which nothing is known but its name.
    #[must_use]
    pub fn open_object(name: &str) -> Self {
        Self::Object(Arc::new(ObjectType { name: name.to_owned(), open: true, ..ObjectType::default() }))
    }

    /// `optional_type(of)`.
    pub(crate) fn optional(of: Self) -> Self {
        Self::Optional(Arc::new(of))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn | Self::Var(_) => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "duration",
            Self::Timestamp => "timestamp",
            Self::List(of) => return write!(f, "list({of})"),
            Self::Map(key, value) => return write!(f, "map({key}, {value})"),
            Self::Object(object) => &object.name,
            Self::Opaque(name) => name,
            Self::Optional(of) => return write!(f, "optional_type({of})"),
            Self::Type(of) => return write!(f, "type({of})"),
        })
    }
}

//! Values. What comes from JSON stays there and is looked at when it is needed.

use super::decl::{Decl, Kind, ListKind};
use super::error::EvalError;
use super::lib_kubernetes::{AuthorizerVal, FormatVal, Semver};
use super::lib_net::Url;
use super::ops;
use crate::quantity::Quantity;
use base64::Engine;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

mod parts;
pub(crate) use parts::Entries;

/// A value; `'a` is the objects it may be part of.
#[derive(Debug, Clone)]
pub enum Val<'a> {
    /// `null`.
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint`.
    Uint(u64),
    /// `double`.
    Double(f64),
    /// `string`.
    String(Text<'a>),
    /// `bytes`.
    Bytes(Arc<[u8]>),
    /// A span of time, in nanoseconds.
    Duration(i64),
    /// A point in time.
    Timestamp(Timestamp),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(MapVal<'a>),
    /// An object with named fields.
    Object(Object<'a>),
    /// A value or none.
    Optional(Option<Arc<Val<'a>>>),
    /// A type, by its name.
    Type(Arc<str>),
    /// A value of a library.
    Opaque(Opaque<'a>),
}

/// A text.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Part of an object or an expression.
    Borrowed(&'a str),
    /// Made.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Of JSON, with what is known of its items.
    Json(&'a [Value], Option<(&'a Decl, &'a ListKind)>),
    /// Made.
    Made(Arc<[Val<'a>]>),
}

/// A map.
#[derive(Debug, Clone)]
pub enum MapVal<'a> {
    /// Of JSON, with what is known of its values.
    Json(&'a Map<String, Value>, Option<&'a Decl>),
    /// Made.
    Made(Arc<BTreeMap<Key, Val<'a>>>),
}

/// An object.
#[derive(Debug, Clone)]
pub enum Object<'a> {
    /// Of JSON, with its declaration, whose fields are all that can be seen.
    Json(&'a Map<String, Value>, &'a Decl),
    /// Made, as `Object.spec{...}`: a name and fields.
    Made(Arc<str>, Arc<BTreeMap<String, Val<'a>>>),
}

/// A key of a map. A whole number is the same key with a sign or without, and as a double.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `bool`.
    Bool(bool),
    /// `int` and `uint`.
    Int(i128),
    /// `string`.
    String(Arc<str>),
}

/// A value of a library.
#[derive(Debug, Clone)]
pub enum Opaque<'a> {
    /// `kubernetes.Quantity`.
    Quantity(OpaqueQuantity),
    /// `net.IP`.
    Ip(IpAddr),
    /// `net.CIDR`.
    Cidr(IpNet),
    /// `kubernetes.URL`.
    Url(Arc<Url>),
    /// `kubernetes.Semver`.
    Semver(Arc<Semver>),
    /// `kubernetes.NamedFormat`.
    Format(FormatVal),
    /// `kubernetes.authorization.*`.
    Authorizer(AuthorizerVal<'a>),
}

/// A quantity, opaque to other crates.
#[derive(Debug, Clone, Copy)]
pub struct OpaqueQuantity(pub(crate) Quantity);

impl<'a> Val<'a> {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Made(items.into()))
    }

    pub(crate) fn map(entries: BTreeMap<Key, Self>) -> Self {
        Self::Map(MapVal::Made(Arc::new(entries)))
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// A JSON value of which nothing is known.
    #[must_use]
    pub fn dynamic(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, float) => Self::Double(float.unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::String(Text::Borrowed(text)),
            Value::Array(list) => Self::List(List::Json(list, None)),
            Value::Object(map) => Self::Map(MapVal::Json(map, None)),
        }
    }

    /// A JSON value as `decl` says it is.
    ///
    /// # Errors
    /// When it is not.
    pub fn declared(value: &'a Value, decl: &'a Decl) -> Result<Self, EvalError> {
        let expected = |what: &str| Err(EvalError::new(format!("invalid data, expected {what}")));
        if value.is_null() {
            return Ok(Self::Null);
        }
        Ok(match (&decl.kind, value) {
            (Kind::Dyn, Value::Number(number)) if number.is_i64() => Self::dynamic(value),
            (Kind::Dyn, Value::String(_)) => Self::dynamic(value),
            (Kind::Dyn, Value::Number(number)) => match number.as_f64() {
                Some(float) if float.fract() == 0.0 => Self::Int(float as i64),
                Some(_) | None => return expected("XIntOrString value to be either a string or integer"),
            },
            (Kind::Bool, Value::Bool(flag)) => Self::Bool(*flag),
            (Kind::Int, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(float)) if float.fract() == 0.0 => Self::Int(float as i64),
                (None, _) => return expected("int"),
            },
            (Kind::Double, Value::Number(number)) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            (Kind::String, Value::String(text)) => Self::String(Text::Borrowed(text)),
            (Kind::Bytes, Value::String(text)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                Self::Bytes(decoded.map_err(|_| EvalError::new("invalid data, expected base64"))?.into())
            }
            (Kind::Duration, Value::String(text)) => {
                let nanos = crate::format::go_duration(text);
                Self::Duration(nanos.ok_or_else(|| EvalError::new(format!("Invalid duration {text}")))?)
            }
            (Kind::Timestamp, Value::String(text)) => Self::Timestamp(timestamp_of(text)?),
            (Kind::List { items, list }, Value::Array(values)) => Self::List(List::Json(values, Some((items, list)))),
            (Kind::Map(values), Value::Object(map)) => Self::Map(MapVal::Json(map, Some(values))),
            (Kind::Object(_), Value::Object(map)) => Self::Object(Object::Json(map, decl)),
            (kind, _) => return expected(kind.expected()),
        })
    }

    /// The name of its type, as `type(value)` prints it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(Object::Json(_, decl)) => match decl.ty() {
                super::Type::Object(object) => &object.name,
                _ => "object",
            },
            Self::Object(Object::Made(name, _)) => name,
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(opaque) => opaque.type_name(),
        }
    }

    /// How many characters, bytes, elements or entries; 1 for everything else.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            // Bytes, which are as many or more: counting characters would itself take time.
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Duration(_)
            | Self::Timestamp(_)
            | Self::Object(_)
            | Self::Optional(_)
            | Self::Type(_)
            | Self::Opaque(_) => 1,
        };
        size as u64
    }

    /// This value as a key of a map.
    pub(crate) fn as_key(&self) -> Option<Key> {
        match self {
            Self::Bool(flag) => Some(Key::Bool(*flag)),
            Self::Int(value) => Some(Key::Int((*value).into())),
            Self::Uint(value) => Some(Key::Int((*value).into())),
            Self::Double(value) if value.fract() == 0.0 && value.abs() < 1e18 => Some(Key::Int(*value as i128)),
            Self::String(text) => Some(Key::String((**text).into())),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Kind {
    fn expected(&self) -> &'static str {
        match self {
            Self::Dyn => "XIntOrString value to be either a string or integer",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "duration",
            Self::Timestamp => "timestamp",
            Self::List { .. } => "an array to match the type of schema",
            Self::Map(_) | Self::Object(_) => "a map",
        }
    }
}

/// A date, or a date with a time.
fn timestamp_of(text: &str) -> Result<Timestamp, EvalError> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse().map_err(|_| EvalError::new(format!("Invalid date {text}")))
}

fn json_val<'a>(value: &'a Value, decl: Option<&'a Decl>) -> Result<Val<'a>, EvalError> {
    match decl {
        Some(decl) => Val::declared(value, decl),
        None => Ok(Val::dynamic(value)),
    }
}

impl Opaque<'_> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorizer(authorizer) => authorizer.type_name(),
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantity(a), Self::Quantity(b)) => a.0.compare(b.0) == std::cmp::Ordering::Equal,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a.compare(b) == std::cmp::Ordering::Equal,
            (Self::Format(a), Self::Format(b)) => a == b,
            (Self::Authorizer(a), Self::Authorizer(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for Val<'_> {
    /// Equality as `==` has it, without a budget: for tests and small values.
    fn eq(&self, other: &Self) -> bool {
        ops::equal(self, other, &mut u64::MAX.clone()).unwrap_or(false)
    }
}

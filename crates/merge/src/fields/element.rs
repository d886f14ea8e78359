//! One step of a path.

use serde_json::{Number, Value};
use std::{borrow::Cow, cmp::Ordering, fmt::Write as _};

/// One step of a path: how to get from a value to one within it.
#[derive(Debug, Clone)]
pub enum PathElement<'a> {
    /// A field of an object, or an entry of a map.
    Field(Cow<'a, str>),
    /// The element of a list that has these keys, in the order of their names.
    Key(Box<[(Cow<'a, str>, Cow<'a, Value>)]>),
    /// The element of a set that is this scalar.
    Value(Cow<'a, Value>),
    /// The element of a list at this place.
    Index(i64),
}

impl<'a> PathElement<'a> {
    /// The field `name`.
    #[must_use]
    pub const fn field(name: &'a str) -> Self {
        Self::Field(Cow::Borrowed(name))
    }

    /// Upstream's order: fields, keys, values, indices; each kind by its content.
    #[must_use]
    pub fn compare(&self, other: &PathElement<'_>) -> Ordering {
        match (self, other) {
            (Self::Field(left), PathElement::Field(right)) => left.as_bytes().cmp(right.as_bytes()),
            (Self::Key(left), PathElement::Key(right)) => compare_keys(left, right),
            (Self::Value(left), PathElement::Value(right)) => compare_values(left, right),
            (Self::Index(left), PathElement::Index(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }

    /// The same element, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> PathElement<'static> {
        let value = |value: Cow<'_, Value>| Cow::Owned(value.into_owned());
        match self {
            Self::Field(name) => PathElement::Field(Cow::Owned(name.into_owned())),
            Self::Key(keys) => {
                PathElement::Key(keys.into_iter().map(|(name, v)| (Cow::Owned(name.into_owned()), value(v))).collect())
            }
            Self::Value(v) => PathElement::Value(value(v)),
            Self::Index(index) => PathElement::Index(index),
        }
    }
}

/// Two elements are the same where neither stands before the other; so 1 and 1.0 are the same key.
impl PartialEq for PathElement<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

/// As errors and conflicts show it: `.name`, `[key="value"]`, `[="value"]`, `[0]`.
impl std::fmt::Display for PathElement<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => go_quote(text),
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(",")),
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect(),
    }
}

/// `text` in double quotes as Go's `%q` writes it.
#[must_use]
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                write!(quoted, "\\x{:02x}", c as u32).expect("a String takes everything");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn compare_keys(left: &[(Cow<'_, str>, Cow<'_, Value>)], right: &[(Cow<'_, str>, Cow<'_, Value>)]) -> Ordering {
    for ((left_name, left_value), (right_name, right_value)) in left.iter().zip(right) {
        let order = left_name.as_bytes().cmp(right_name.as_bytes());
        let order = order.then_with(|| compare_values(left_value, right_value));
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

/// Upstream's order of values: numbers, texts, truths, lists, maps, null; each kind by its content, and numbers by their
/// size whether they are whole or not.
#[must_use]
pub fn compare_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => {
            let differs = left.iter().zip(right).map(|(l, r)| compare_values(l, r)).find(|order| order.is_ne());
            differs.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().collect();
            let mut others: Vec<&String> = right.keys().collect();
            names.sort_unstable();
            others.sort_unstable();
            for (name, other) in names.iter().zip(&others) {
                let order = name.cmp(other).then_with(|| compare_values(&left[name.as_str()], &right[other.as_str()]));
                if order.is_ne() {
                    return order;
                }
            }
            names.len().cmp(&others.len())
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => match (left.as_u64(), right.as_u64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_f64().unwrap_or(0.0).total_cmp(&right.as_f64().unwrap_or(0.0)),
        },
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

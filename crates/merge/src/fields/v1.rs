//! `FieldsV1`: a set of fields as JSON.
//!
//! | key | is |
//! |---|---|
//! | `f:NAME` | a field |
//! | `k:{..}` | the element of a list with these keys |
//! | `v:VALUE` | an element of a set |
//! | `i:N` | the element of a list at this place |
//! | `.` | the field itself, where there is also something below it |
//!
//! A field with nothing below it is `{}`. Keys of another kind are skipped, as upstream: a later version may know them.

use super::{FieldSet, Node, PathElement};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Why a value is no set of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no field set in FieldsV1: {what}")]
pub struct FieldsError {
    what: String,
}

/// A set may be nested so deep; objects are not nested deeper.
const DEPTH_LIMIT: usize = 256;

impl<'a> FieldSet<'a> {
    /// Reads `FieldsV1`.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_v1(value: &'a Value) -> Result<Self, FieldsError> {
        read(value, 0).map(|(set, _)| set)
    }

    /// Writes `FieldsV1`.
    #[must_use]
    pub fn to_v1(&self) -> Value {
        Value::Object(self.level(false))
    }

    fn level(&self, with_self: bool) -> Map<String, Value> {
        let mut map = Map::new();
        if with_self && !self.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for node in &self.nodes {
            map.insert(key_text(&node.element), Value::Object(node.below.level(node.member)));
        }
        map
    }

    /// Whether a field of this set, or something below it, may be in the set that `encoded` is. It asks the text of keys, so
    /// that `encoded` need not be read; it must have been written by [`FieldSet::to_v1`].
    pub(crate) fn touches(&self, encoded: &Value) -> bool {
        self.touches_with(encoded, &mut String::new())
    }

    fn touches_with(&self, encoded: &Value, key: &mut String) -> bool {
        let Value::Object(map) = encoded else { return false };
        self.nodes.iter().any(|node| {
            key.clear();
            write_key(&node.element, key);
            map.get(key.as_str()).is_some_and(|below| node.member || node.below.touches_with(below, key))
        })
    }

    /// Writes `FieldsV1` as text, keys in upstream's order, byte for byte what upstream writes.
    #[must_use]
    pub fn to_v1_text(&self) -> String {
        let mut text = String::new();
        self.level_text(false, &mut text);
        text
    }

    fn level_text(&self, with_self: bool, text: &mut String) {
        text.push('{');
        if with_self && !self.is_empty() {
            text.push_str(r#"".":{}"#);
        }
        for node in &self.nodes {
            if !text.ends_with('{') {
                text.push(',');
            }
            text.push_str(&Value::String(key_text(&node.element)).to_string());
            text.push(':');
            node.below.level_text(node.member, text);
        }
        text.push('}');
    }
}

/// The set below a key, and whether the key itself is a member.
fn read(value: &Value, depth: usize) -> Result<(FieldSet<'_>, bool), FieldsError> {
    let map = match value {
        Value::Object(map) => map,
        Value::Null => return Ok((FieldSet::new(), true)),
        other => return Err(error(format!("expected an object, got {other}"))),
    };
    if depth > DEPTH_LIMIT {
        return Err(error(format!("nested deeper than {DEPTH_LIMIT} levels")));
    }
    let mut nodes = Vec::with_capacity(map.len());
    let mut itself = false;
    for (key, below) in map {
        if key == "." {
            itself = true;
        } else if let Some(element) = read_key(key)? {
            let (below, member) = read(below, depth + 1)?;
            nodes.push(Node { element, member, below });
        }
    }
    // The order of texts is not that of numbers.
    let set = FieldSet::from_nodes(nodes);
    let member = itself || set.is_empty();
    Ok((set, member))
}

fn error(what: impl Into<String>) -> FieldsError {
    FieldsError { what: what.into() }
}

fn read_key(key: &str) -> Result<Option<PathElement<'_>>, FieldsError> {
    let Some((kind, content)) = key.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
        return Err(error(format!("{key:?} does not begin with a letter and a colon")));
    };
    let json = || serde_json::from_str::<Value>(content).map_err(|e| error(format!("{key:?}: {e}")));
    match kind {
        "f" => Ok(Some(PathElement::field(content))),
        "v" => Ok(Some(PathElement::Value(Cow::Owned(json()?)))),
        "i" => content.parse().map(|index| Some(PathElement::Index(index))).map_err(|e| error(format!("{key:?}: {e}"))),
        "k" => {
            let Value::Object(keys) = json()? else { return Err(error(format!("{key:?} holds no object"))) };
            let mut keys: Vec<_> = keys.into_iter().map(|(name, value)| (name.into(), Cow::Owned(value))).collect();
            keys.sort_by(|(left, _): &(Cow<'_, str>, _), (right, _)| left.cmp(right));
            Ok(Some(PathElement::Key(keys.into())))
        }
        _ => Ok(None),
    }
}

fn key_text(element: &PathElement<'_>) -> String {
    let mut text = String::new();
    write_key(element, &mut text);
    text
}

fn write_key(element: &PathElement<'_>, text: &mut String) {
    match element {
        PathElement::Field(name) => {
            text.push_str("f:");
            text.push_str(name);
        }
        PathElement::Value(value) => {
            text.push_str("v:");
            json_text(value, text);
        }
        PathElement::Index(index) => {
            text.push_str("i:");
            text.push_str(&index.to_string());
        }
        PathElement::Key(keys) => {
            text.push_str("k:{");
            for (index, (name, value)) in keys.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(name.clone().into_owned()).to_string());
                text.push(':');
                json_text(value, text);
            }
            text.push('}');
        }
    }
}

/// JSON as upstream's encoder writes values: `<`, `>` and `&` in texts are escaped.
fn json_text(value: &Value, text: &mut String) {
    let json = value.to_string();
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        text.push_str(&json);
        return;
    }
    for c in json.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            c => text.push(c),
        }
    }
}

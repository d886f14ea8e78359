//! Texts of objects, JSON or YAML, with what stands twice in them.
//!
//! Parsers take the last of two values of one key and say nothing; Kubernetes tells people of it. So these read a text once and
//! note the paths of such keys ([`parse_json`], [`parse_yaml`]); for a configuration to apply, a second pass finds the line
//! ([`first_in_yaml`]).
//!
//! What it is not: it knows no kinds and no fields, and reads no protobuf (the crate `protobuf`). It has no tasks: it is given
//! bytes and gives back values.
//!
//! Start reading at [`parse_json`].
#![forbid(unsafe_code)]

mod line;

pub use line::first_in_yaml;

use orrery_machinery::status::ApiError;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads JSON, and the paths of keys that stand twice.
///
/// # Errors
/// 400 when it is none.
pub fn parse_json(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Tracked { path: String::new(), duplicates: &mut duplicates }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    Ok((value, duplicates))
}

/// Reads YAML, and the paths of keys that stand twice.
///
/// # Errors
/// 400 when it is none, or no JSON object in the form of YAML.
pub fn parse_yaml(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let mut duplicates = Vec::new();
    let deserializer = serde_yaml_ng::Deserializer::from_slice(body);
    let value = Tracked { path: String::new(), duplicates: &mut duplicates }
        .deserialize(deserializer)
        .map_err(|error| ApiError::bad_request(format!("the body is not YAML of a JSON object: {error}")))?;
    Ok((value, duplicates))
}

/// Reads a value and notes keys that stand twice.
struct Tracked<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Tracked<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tracked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match items.next_element_seed(Tracked { path, duplicates: self.duplicates })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let value = entries.next_value_seed(Tracked { path: path.clone(), duplicates: self.duplicates })?;
            if map.insert(key, value).is_some() {
                self.duplicates.push(path);
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_stand_twice_are_named_and_the_last_one_counts() {
        let (value, duplicates) = parse_json(br#"{"a": {"b": 1, "b": 2}, "l": [{"x": 1, "x": 2}], "a.b": 3}"#).unwrap();
        assert_eq!(value, json!({"a": {"b": 2}, "l": [{"x": 2}], "a.b": 3}));
        assert_eq!(duplicates, ["a.b", "l[0].x"]);
        assert!(parse_json(b"{} {}").is_err());
    }
}

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
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt::{self, Write};

/// Reads JSON, and the paths of keys that stand twice.
///
/// # Errors
/// 400 when it is none.
pub fn parse_json(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let mut reading = Reading::new(usize::MAX);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Tracked(&mut reading)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    Ok((value, reading.duplicates))
}

/// Reads YAML, and the paths of keys that stand twice.
///
/// # Errors
/// 400 when it is none, or no JSON object in the form of YAML, or it would grow beyond what a body may have.
pub fn parse_yaml(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    // Most YAML is JSON, and a JSON reader is the quicker one.
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(read) = parse_json(body)
    {
        return Ok(read);
    }
    if leaves_open(body) > OPEN_BRACKETS {
        let message =
            format!("the body is not YAML of a JSON object: it leaves more than {OPEN_BRACKETS} brackets open");
        return Err(ApiError::bad_request(message));
    }
    let mut reading = Reading::new(EXPANDED_BYTES.max(2 * body.len()));
    let deserializer = serde_yaml_ng::Deserializer::from_slice(body);
    let value = Tracked(&mut reading)
        .deserialize(deserializer)
        .map_err(|error| ApiError::bad_request(format!("the body is not YAML of a JSON object: {error}")))?;
    Ok((value, reading.duplicates))
}

/// More brackets may not be open at once in YAML. Values may be nested half as deep, but the parser takes the square of the
/// depth before it finds that out; brackets within texts count too, so there is some room.
const OPEN_BRACKETS: usize = 256;

/// How many brackets are open at once, at most.
fn leaves_open(text: &[u8]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// What YAML may become when its aliases are replaced by what they stand for: as much as a body may have without any.
const EXPANDED_BYTES: usize = 3 * 1024 * 1024;
/// Paths of keys that stand twice are noted until they have so many bytes; more tell nobody more.
const DUPLICATES_BYTES: usize = 16 * 1024;

/// What is known while a value is read. One path serves all nodes: keys may be long and nodes many.
struct Reading {
    path: String,
    duplicates: Vec<String>,
    duplicates_bytes: usize,
    /// How much more there may be, in bytes of JSON at least.
    left: usize,
}

impl Reading {
    fn new(left: usize) -> Self {
        Self { path: String::new(), duplicates: Vec::new(), duplicates_bytes: 0, left }
    }

    fn take<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        let left = self.left.checked_sub(bytes + 1);
        self.left = left.ok_or_else(|| E::custom("its aliases stand for more than a body may have"))?;
        Ok(())
    }

    fn stands_twice(&mut self) {
        if self.duplicates_bytes < DUPLICATES_BYTES {
            self.duplicates_bytes += self.path.len() + 1;
            self.duplicates.push(self.path.clone());
        }
    }
}

/// Reads a value and notes keys that stand twice.
struct Tracked<'a>(&'a mut Reading);

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

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.0.take(0)?;
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.0.take(value.len())?;
        Ok(value.into())
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let reading = self.0;
        reading.take(0)?;
        let length = reading.path.len();
        let mut list = Vec::new();
        loop {
            write!(reading.path, "[{}]", list.len()).expect("a text can be written to");
            let item = items.next_element_seed(Tracked(reading))?;
            reading.path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let reading = self.0;
        reading.take(0)?;
        let length = reading.path.len();
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            reading.take(key.len())?;
            reading.path.push_str(if length == 0 { "" } else { "." });
            reading.path.push_str(&key);
            let value = entries.next_value_seed(Tracked(reading))?;
            if map.insert(key, value).is_some() {
                reading.stands_twice();
            }
            reading.path.truncate(length);
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

    #[test]
    fn the_paths_that_are_told_are_bounded() {
        let long = "k".repeat(1000);
        let twice = r#""a":1,"#.repeat(1000);
        let (_, duplicates) = parse_json(format!(r#"{{"{long}":{{{twice}"a":1}}}}"#).as_bytes()).unwrap();
        assert_eq!(duplicates.len(), DUPLICATES_BYTES.div_ceil(long.len() + 3));
    }

    #[test]
    fn brackets_that_are_left_open_are_not_given_to_the_parser() {
        for text in ["[".repeat(1 << 20), "{a: ".repeat(1 << 18), "{\"a\":".repeat(1 << 18)] {
            let refused = parse_yaml(text.as_bytes()).unwrap_err();
            assert!(refused.message.contains("brackets open"), "{refused}");
        }
        let text = format!("a: {}1{}\nb: '{}'\n", "[".repeat(100), "]".repeat(100), "[".repeat(100));
        assert!(parse_yaml(text.as_bytes()).is_ok());
        let json = format!(r#"{{"a": "{}", "a": 1}}"#, "[".repeat(1000));
        assert_eq!(parse_yaml(json.as_bytes()).unwrap().1, ["a"]);
    }

    #[test]
    fn aliases_may_stand_for_no_more_than_a_body_may_have() {
        let fine = parse_yaml(b"a: &a [x, y]\nb: [*a, *a]\n").unwrap().0;
        assert_eq!(fine["b"], json!([["x", "y"], ["x", "y"]]));
        let many = format!("a: &a [{}1]\nb: [{}1]\n", "1,".repeat(10_000), "*a,".repeat(1000));
        let long = format!("a: &a {}\nb: [{}1]\n", "x".repeat(100_000), "*a,".repeat(100));
        for text in [many, long] {
            let refused = parse_yaml(text.as_bytes()).unwrap_err();
            assert!(refused.message.contains("aliases"), "{refused}");
        }
    }
}

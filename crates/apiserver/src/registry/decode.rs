//! Bodies: JSON or YAML into objects of the resource's type.

use super::{Context, options::FieldValidation};
use crate::{http::accept::Media, object};
use ::http::{HeaderMap, header};
use orrery_machinery::status::ApiError;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt::{self, Write};

const SUPPORTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Reads a body as its content type says. Also gives the paths of keys that stand twice (the last one counts).
pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match Media::parse(content_type).name {
        "" | "application/json" => parse_json(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => parse_yaml(body),
        orrery_protobuf::MEDIA_TYPE => Ok((orrery_protobuf::decode(body)?, Vec::new())),
        _ => Err(ApiError::unsupported_media_type(SUPPORTED)),
    }
}

/// [`parse`] for bodies whose fields are looked at one by one.
pub(crate) fn parse_body(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    parse(headers, body).map(|(value, _)| value)
}

/// Checks that a body is an object of this kind, or does not say of which it is.
pub(crate) fn check_object(value: &Value, kind: &str) -> Result<(), ApiError> {
    match value["kind"].as_str() {
        _ if !value.is_object() => Err(ApiError::bad_request("the body is not an object")),
        None | Some("") => Ok(()),
        Some(given) if given == kind => Ok(()),
        Some(given) => Err(ApiError::bad_request(format!("the body is a {given}, not a {kind}"))),
    }
}

/// Reads JSON, and the paths of keys that stand twice.
pub(crate) fn parse_json(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let mut reading = Reading::new(usize::MAX);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Tracked(&mut reading)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    Ok((value, reading.duplicates))
}

/// Reads YAML, and the paths of keys that stand twice.
pub(crate) fn parse_yaml(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
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

/// Makes an object that admission changed a proper one again.
pub(crate) fn prepare_again(context: &Context<'_>, object: &mut Value) -> Result<(), ApiError> {
    let found = context.resource.rules.decode(object).map_err(|error| {
        ApiError::internal(format!(
            "admission made of {} {:?} what is none: {error}",
            context.resource.kind, context.name
        ))
    })?;
    if !found.is_empty() {
        tracing::debug!(kind = %context.resource.kind, ?found, "fields that admission set are unknown and were dropped");
    }
    context.resource.rules.default(object);
    Ok(())
}

/// Checks a configuration to apply: that it is of the resource's kind, and says nothing twice. What its type does not know is
/// refused when it is merged.
pub(crate) fn check_config(
    context: &Context<'_>,
    value: &mut Value,
    twice: &[String],
) -> Result<Vec<String>, ApiError> {
    check_kind(context, value)?;
    if value["metadata"].is_null() {
        object::set_field(value, "metadata", Some(Value::Object(Map::new())));
    }
    match context.options.validation {
        FieldValidation::Strict if !twice.is_empty() => Err(ApiError::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
            twice.join("\n  ")
        ))),
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict | FieldValidation::Warn => Ok(twice.to_vec()),
    }
}

/// Checks that the object is of the resource's kind and type, and removes fields that the type does not know. Returns
/// warnings, or refuses, as the validation asks.
pub(crate) fn check(context: &Context<'_>, value: &mut Value, duplicates: &[String]) -> Result<Vec<String>, ApiError> {
    check_kind(context, value)?;
    let resource = context.resource;
    // As written by people; typed readers want it absent or right.
    if value["metadata"].is_null() {
        object::set_field(value, "metadata", Some(Value::Object(Map::new())));
    }
    let unknown = resource.rules.decode(value).map_err(|error| {
        let what = if error.path.is_empty() { error.message } else { error.to_string() };
        ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {what}",
            resource.kind, resource.version, resource.kind
        ))
    })?;
    drop_empty_metadata(value);
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    // In Kubernetes' order: custom resources are parsed whole before their schema looks at them.
    let custom = !resource.strategic_patches;
    let found: Vec<String> =
        if custom { duplicates.chain(unknown).collect() } else { unknown.into_iter().chain(duplicates).collect() };
    judge(context, found)
}

/// What is found in a body beyond what belongs there is refused, told, or passed over, as the validation asks.
fn judge(context: &Context<'_>, found: Vec<String>) -> Result<Vec<String>, ApiError> {
    let resource = context.resource;
    if context.options.validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    if context.options.validation == FieldValidation::Strict && !found.is_empty() {
        let message = format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            resource.kind,
            resource.version,
            resource.kind,
            found.join(", ")
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(found)
}

/// Collections of the metadata that may be left out when they are empty are left out: Kubernetes' types do so when they are
/// written, and clients compare. (`managedFields` is another matter: empty entries ask for a reset.)
fn drop_empty_metadata(value: &mut Value) {
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let held = &value["metadata"][field];
        let empty = held.as_object().is_some_and(Map::is_empty) || held.as_array().is_some_and(Vec::is_empty);
        if empty {
            object::set_meta(value, field, None);
        }
    }
}

fn check_kind(context: &Context<'_>, value: &mut Value) -> Result<(), ApiError> {
    if !value.is_object() {
        return Err(ApiError::bad_request("the body is not an object"));
    }
    let expected = [("apiVersion", context.api_version()), ("kind", context.resource.kind.to_string())];
    for (field, expected) in expected {
        match value[field].as_str() {
            Some(given) if given == expected => {}
            None | Some("") => object::set_field(value, field, Some(expected.into())),
            Some(given) => {
                let what = if field == "kind" { "kind" } else { "API version" };
                return Err(ApiError::bad_request(format!(
                    "the {what} in the data ({given}) does not match the expected {what} ({expected})"
                )));
            }
        }
    }
    Ok(())
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

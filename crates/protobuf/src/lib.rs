//! Bodies in Kubernetes' protobuf encoding, as `kubectl create` and `helm` send them: read into the JSON form.
//!
//! `schema.txt` holds the numbers and types of fields, as upstream's `generated.proto` files state them, one message a line:
//! `MESSAGE: NUMBER NAME TYPE; ...`. A type is `string`, `bytes` (base64 in JSON), `int`, `bool`, `double` or a message,
//! after these marks:
//!
//! * `?`: a zero or empty value says something (upstream holds it as a pointer); others are left out, as Go leaves them out;
//! * `!`: the message's fields stand in place of the field itself;
//! * `[]`, `{}`: a list, or a map by text;
//! * `~` at the end: each list is wrapped in a message of its own.
//!
//! What it is not: it writes no protobuf; answers are JSON. Start reading at [`decode`].
#![forbid(unsafe_code)]

mod wire;

use orrery_machinery::status::ApiError;
use serde_json::{Map, Value, json};
use std::{collections::HashMap, sync::LazyLock};
use wire::{Field, Raw};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Begins every such body.
const MAGIC: &[u8] = b"k8s\0";
/// Deepest nesting of messages; upstream's deepest types (JSON schemas) need less.
const DEPTH: usize = 64;

static SCHEMA: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| parse_schema(include_str!("schema.txt")));

type Message = HashMap<u32, FieldType>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
    /// A map of wrapped lists.
    MapOfLists,
}

#[derive(Debug, Clone, Copy)]
struct FieldType {
    name: &'static str,
    keeps_zero: bool,
    inline: bool,
    shape: Shape,
    base: &'static str,
}

fn parse_schema(text: &'static str) -> HashMap<&'static str, Message> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
    lines.map(|(name, fields)| (name, fields.split(';').filter_map(parse_field).collect())).collect()
}

fn parse_field(text: &'static str) -> Option<(u32, FieldType)> {
    let mut parts = text.split_whitespace();
    let (number, name, mut base) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let mut take = |mark: &str| match base.strip_prefix(mark) {
        Some(rest) => {
            base = rest;
            true
        }
        None => false,
    };
    let (keeps_zero, inline, map, list) = (take("?"), take("!"), take("{}"), take("[]"));
    let shape = match (map, list) {
        (true, true) => Shape::MapOfLists,
        (true, false) => Shape::Map,
        (false, true) => Shape::List,
        (false, false) => Shape::One,
    };
    Some((number, FieldType { name, keeps_zero, inline, shape, base: base.trim_end_matches('~') }))
}

fn malformed(why: &str) -> ApiError {
    ApiError::bad_request(format!("the body is not Kubernetes protobuf: {why}"))
}

/// Reads a body: the envelope names apiVersion and kind, and holds the object.
///
/// # Errors
/// 400 when it is malformed, or of a kind that is not known here.
pub fn decode(body: &[u8]) -> Result<Value, ApiError> {
    let envelope = body.strip_prefix(MAGIC).ok_or_else(|| malformed("it does not begin with \"k8s\\0\""))?;
    let (mut type_meta, mut raw, mut media) = (&[][..], &[][..], &[][..]);
    for field in wire::fields(envelope) {
        match field.map_err(malformed)? {
            Field { number: 1, raw: Raw::Bytes(bytes) } => type_meta = bytes,
            Field { number: 2, raw: Raw::Bytes(bytes) } => raw = bytes,
            Field { number: 4, raw: Raw::Bytes(bytes) } => media = bytes,
            Field { .. } => {}
        }
    }
    if media == b"application/json" {
        return serde_json::from_slice(raw).map_err(|error| malformed(&error.to_string()));
    }
    let (mut api_version, mut kind) = (String::new(), String::new());
    for field in wire::fields(type_meta) {
        match field.map_err(malformed)? {
            Field { number: 1, raw: Raw::Bytes(bytes) } => api_version = text(bytes)?,
            Field { number: 2, raw: Raw::Bytes(bytes) } => kind = text(bytes)?,
            Field { .. } => {}
        }
    }
    let (name, message) = message_of(&api_version, &kind).ok_or_else(|| {
        ApiError::unsupported_media_type(&format!(
            "application/json, application/yaml ({api_version} {kind} is not read as protobuf)"
        ))
    })?;
    let mut object = Map::new();
    read(name, message, raw, &mut object, DEPTH)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// The message of a kind: those of `meta.k8s.io` (such as `DeleteOptions`) may be sent under any group.
fn message_of(api_version: &str, kind: &str) -> Option<(&'static str, &'static Message)> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or(group);
    let found = |name: String| SCHEMA.get_key_value(name.as_str()).map(|(name, message)| (*name, message));
    found(format!("{group}.{version}.{kind}")).or_else(|| found(format!("meta.v1.{kind}")))
}

fn text(bytes: &[u8]) -> Result<String, ApiError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed("a text is not UTF-8"))
}

/// Reads a message's fields into a JSON object.
fn read(
    name: &str,
    message: &Message,
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ApiError> {
    if depth == 0 {
        return Err(malformed("it is nested too deep"));
    }
    for field in wire::fields(bytes) {
        let Field { number, raw } = field.map_err(malformed)?;
        // A field of a later version: what is not known is left out, as protobuf readers do.
        let Some(field) = message.get(&number) else { continue };
        match field.shape {
            Shape::One if field.inline => {
                let (Some(inner), Raw::Bytes(bytes)) = (SCHEMA.get(field.base), raw) else {
                    return Err(malformed(&format!("{name}.{} is no message", field.name)));
                };
                read(field.base, inner, bytes, out, depth - 1)?;
            }
            Shape::One => {
                let value = value(field.base, raw, depth)?;
                if field.keeps_zero || !is_zero(&value) {
                    out.insert(field.name.to_owned(), value);
                }
            }
            Shape::List => {
                let value = value(field.base, raw, depth)?;
                let list = out.entry(field.name).or_insert_with(|| json!([]));
                list.as_array_mut().ok_or_else(|| malformed("a list is also something else"))?.push(value);
            }
            Shape::Map | Shape::MapOfLists => {
                let (key, value) = entry(field, raw, depth)?;
                let map = out.entry(field.name).or_insert_with(|| json!({}));
                map.as_object_mut().ok_or_else(|| malformed("a map is also something else"))?.insert(key, value);
            }
        }
    }
    Ok(())
}

/// Whether Go would leave the value out. An empty message is kept: it may choose between alternatives (`emptyDir: {}`).
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn entry(field: &FieldType, raw: Raw<'_>, depth: usize) -> Result<(String, Value), ApiError> {
    let Raw::Bytes(bytes) = raw else { return Err(malformed("a map's entry is no message")) };
    let mut key = String::new();
    // An entry without a value has the type's zero.
    let mut found = match field.base {
        "string" | "bytes" => json!(""),
        _ => json!({}),
    };
    for part in wire::fields(bytes) {
        match part.map_err(malformed)? {
            Field { number: 1, raw: Raw::Bytes(bytes) } => key = text(bytes)?,
            Field { number: 2, raw } if field.shape == Shape::Map => found = value(field.base, raw, depth)?,
            Field { number: 2, raw: Raw::Bytes(bytes) } => found = wrapped(field.base, bytes, depth)?,
            Field { .. } => {}
        }
    }
    Ok((key, found))
}

fn wrapped(base: &'static str, bytes: &[u8], depth: usize) -> Result<Value, ApiError> {
    let mut items = Vec::new();
    for item in wire::fields(bytes) {
        items.push(value(base, item.map_err(malformed)?.raw, depth)?);
    }
    Ok(Value::Array(items))
}

/// A value of a base type.
fn value(base: &'static str, raw: Raw<'_>, depth: usize) -> Result<Value, ApiError> {
    Ok(match (base, raw) {
        ("string", Raw::Bytes(bytes)) => text(bytes)?.into(),
        ("bytes", Raw::Bytes(bytes)) => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(bytes).into()
        }
        ("bool", Raw::Varint(number)) => (number != 0).into(),
        ("int", Raw::Varint(number)) => number.cast_signed().into(),
        ("double", Raw::Fixed64(bits)) => f64::from_bits(bits).into(),
        ("meta.v1.Time" | "meta.v1.MicroTime", Raw::Bytes(bytes)) => time(base, bytes)?,
        ("resource.Quantity", Raw::Bytes(bytes)) => inner_text(bytes)?.into(),
        ("meta.v1.Duration", Raw::Bytes(bytes)) => duration(bytes)?,
        ("intstr.IntOrString", Raw::Bytes(bytes)) => int_or_string(bytes)?,
        ("meta.v1.FieldsV1" | "runtime.RawExtension", Raw::Bytes(bytes)) => {
            let raw = inner_text(bytes)?;
            if raw.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&raw).map_err(|e| malformed(&e.to_string()))?
            }
        }
        (name, Raw::Bytes(bytes)) => {
            let message = SCHEMA.get(name).ok_or_else(|| malformed("a field is of another type"))?;
            let mut object = Map::new();
            read(name, message, bytes, &mut object, depth - 1)?;
            Value::Object(object)
        }
        (_, Raw::Varint(_) | Raw::Fixed32(_) | Raw::Fixed64(_)) => return Err(malformed("a field is of another type")),
    })
}

/// The text in field 1.
fn inner_text(bytes: &[u8]) -> Result<String, ApiError> {
    for field in wire::fields(bytes) {
        if let Field { number: 1, raw: Raw::Bytes(bytes) } = field.map_err(malformed)? {
            return text(bytes);
        }
    }
    Ok(String::new())
}

/// The numbers in fields 1 and 2.
fn numbers(bytes: &[u8]) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let (mut first, mut second) = (None, None);
    for field in wire::fields(bytes) {
        match field.map_err(malformed)? {
            Field { number: 1, raw: Raw::Varint(number) } => first = Some(number.cast_signed()),
            Field { number: 2, raw: Raw::Varint(number) } => second = Some(number.cast_signed()),
            Field { .. } => {}
        }
    }
    Ok((first, second))
}

/// A time; an empty message is Go's zero time, which JSON leaves out. `Time` has whole seconds, `MicroTime` microseconds.
fn time(base: &str, bytes: &[u8]) -> Result<Value, ApiError> {
    let (Some(seconds), nanos) = numbers(bytes)? else { return Ok(Value::Null) };
    let nanos = i32::try_from(nanos.unwrap_or(0)).map_err(|_| malformed("a time is out of range"))?;
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| malformed("a time is out of range"))?;
    let form = if base == "meta.v1.Time" { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
    Ok(time.strftime(form).to_string().into())
}

/// A duration (nanoseconds) as Go reads one.
fn duration(bytes: &[u8]) -> Result<Value, ApiError> {
    Ok(format!("{}ns", numbers(bytes)?.0.unwrap_or(0)).into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ApiError> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    for field in wire::fields(bytes) {
        match field.map_err(malformed)? {
            Field { number: 1, raw: Raw::Varint(kind) } => is_text = kind == 1,
            Field { number: 2, raw: Raw::Varint(value) } => number = value.cast_signed(),
            Field { number: 3, raw: Raw::Bytes(bytes) } => string = text(bytes)?,
            Field { .. } => {}
        }
    }
    Ok(if is_text { string.into() } else { number.into() })
}

#[cfg(test)]
mod tests;

//! From the wire to JSON.

use crate::{
    envelope,
    table::{Field as Row, Message, Shape, Type, table},
    wire::{self, Field, Raw},
};
use base64::Engine;
use orrery_machinery::status::ApiError;
use serde_json::{Map, Value, json};

/// Deepest nesting of messages; upstream's deepest types (JSON schemas) need less.
const DEPTH: usize = 64;

fn malformed(why: &str) -> ApiError {
    ApiError::bad_request(format!("the body is not Kubernetes protobuf: {why}"))
}

/// Reads a body: the envelope names apiVersion and kind, and holds the object.
///
/// # Errors
/// 400 when it is malformed, 415 when it is of a kind that is not known here.
pub fn decode(body: &[u8]) -> Result<Value, ApiError> {
    let envelope = body.strip_prefix(envelope::MAGIC).ok_or_else(|| malformed("it does not begin with \"k8s\\0\""))?;
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
    let message = message_of(&api_version, &kind).ok_or_else(|| {
        ApiError::unsupported_media_type(&format!(
            "application/json, application/yaml ({api_version} {kind} is not read as protobuf)"
        ))
    })?;
    let mut object = Map::new();
    read(message, raw, &mut object, DEPTH)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// The message of a kind. Options of deletions may be sent under any group.
fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    let options = || table().by_name("meta.v1.DeleteOptions").filter(|_| kind == "DeleteOptions");
    table().of_kind(api_version, kind).or_else(options).map(|id| table().message(id))
}

fn text(bytes: &[u8]) -> Result<String, ApiError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed("a text is not UTF-8"))
}

/// Reads a message's fields into a JSON object.
fn read(message: &Message, bytes: &[u8], out: &mut Map<String, Value>, depth: usize) -> Result<(), ApiError> {
    if depth == 0 {
        return Err(malformed("it is nested too deep"));
    }
    for field in wire::fields(bytes) {
        let Field { number, raw } = field.map_err(malformed)?;
        // A field of a later version: what is not known is left out, as protobuf readers do.
        let Some(field) = message.field(number) else { continue };
        match field.shape {
            Shape::One if field.inline => {
                let (Type::Message(inner), Raw::Bytes(bytes)) = (field.of, raw) else {
                    return Err(malformed(&format!("{}.{} is no message", message.name, field.name)));
                };
                read(table().message(inner), bytes, out, depth - 1)?;
            }
            Shape::One => {
                let value = value(field.of, raw, depth)?;
                if !value.is_null() && (field.keeps_zero || !is_unset(field.of, &value)) {
                    out.insert(field.name.to_owned(), value);
                }
            }
            Shape::List => {
                let list = out.entry(field.name).or_insert_with(|| json!([]));
                let list = list.as_array_mut().ok_or_else(|| malformed("a list is also something else"))?;
                push(list, field.of, raw, depth)?;
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

/// Adds an element of a list, or those that are packed together.
fn push(list: &mut Vec<Value>, of: Type, raw: Raw<'_>, depth: usize) -> Result<(), ApiError> {
    match (of, raw) {
        (Type::Int | Type::Bool, Raw::Bytes(packed)) => {
            for number in wire::varints(packed) {
                list.push(value(of, Raw::Varint(number.map_err(malformed)?), depth)?);
            }
        }
        _ => list.push(value(of, raw, depth)?),
    }
    Ok(())
}

/// Whether Go would leave the value out. An empty message is kept: it may choose between alternatives (`emptyDir: {}`).
fn is_unset(of: Type, value: &Value) -> bool {
    let scalar = matches!(
        of,
        Type::Text | Type::Bytes | Type::Int | Type::Bool | Type::Double | Type::Quantity | Type::IntOrString
    );
    scalar
        && match value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
        }
}

fn entry(field: &Row, raw: Raw<'_>, depth: usize) -> Result<(String, Value), ApiError> {
    let Raw::Bytes(bytes) = raw else { return Err(malformed("a map's entry is no message")) };
    let mut key = String::new();
    // An entry without a value has the type's zero.
    let mut found = match (field.shape, field.of) {
        (Shape::MapOfLists, _) => json!([]),
        (_, Type::Text | Type::Bytes) => json!(""),
        _ => json!({}),
    };
    for part in wire::fields(bytes) {
        match part.map_err(malformed)? {
            Field { number: 1, raw: Raw::Bytes(bytes) } => key = text(bytes)?,
            Field { number: 2, raw } if field.shape == Shape::Map => found = value(field.of, raw, depth)?,
            Field { number: 2, raw: Raw::Bytes(bytes) } => found = wrapped(field.of, bytes, depth)?,
            Field { .. } => {}
        }
    }
    Ok((key, found))
}

fn wrapped(of: Type, bytes: &[u8], depth: usize) -> Result<Value, ApiError> {
    let mut items = Vec::new();
    for item in wire::fields(bytes) {
        items.push(value(of, item.map_err(malformed)?.raw, depth)?);
    }
    Ok(Value::Array(items))
}

/// A value.
fn value(of: Type, raw: Raw<'_>, depth: usize) -> Result<Value, ApiError> {
    Ok(match (of, raw) {
        (Type::Text, Raw::Bytes(bytes)) => text(bytes)?.into(),
        (Type::Bytes, Raw::Bytes(bytes)) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        (Type::Bool, Raw::Varint(number)) => (number != 0).into(),
        (Type::Int, Raw::Varint(number)) => number.cast_signed().into(),
        (Type::Double, Raw::Fixed64(bits)) => double(f64::from_bits(bits)),
        (Type::Time, Raw::Bytes(bytes)) => time("%Y-%m-%dT%H:%M:%SZ", bytes)?,
        (Type::MicroTime, Raw::Bytes(bytes)) => time("%Y-%m-%dT%H:%M:%S.%6fZ", bytes)?,
        (Type::Quantity, Raw::Bytes(bytes)) => inner_text(bytes)?.into(),
        (Type::Duration, Raw::Bytes(bytes)) => duration(bytes)?,
        (Type::IntOrString, Raw::Bytes(bytes)) => int_or_string(bytes)?,
        (Type::Json, Raw::Bytes(bytes)) => {
            let raw = inner_text(bytes)?;
            if raw.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&raw).map_err(|error| malformed(&error.to_string()))?
            }
        }
        (Type::Message(id), Raw::Bytes(bytes)) => object(id, bytes, depth)?,
        (Type::SchemaOrList(id) | Type::SchemaOrBool(id) | Type::SchemaOrTexts(id), Raw::Bytes(bytes)) => {
            schema_or(of, id, bytes, depth)?
        }
        (_, Raw::Varint(_) | Raw::Fixed32(_) | Raw::Fixed64(_)) | (Type::Bool | Type::Int | Type::Double, _) => {
            return Err(malformed("a field is of another type"));
        }
    })
}

fn object(id: usize, bytes: &[u8], depth: usize) -> Result<Value, ApiError> {
    let mut object = Map::new();
    read(table().message(id), bytes, &mut object, depth - 1)?;
    Ok(Value::Object(object))
}

/// A schema, or what stands for one: a list of schemas or of texts, or whether everything is allowed.
fn schema_or(of: Type, id: usize, bytes: &[u8], depth: usize) -> Result<Value, ApiError> {
    if depth == 0 {
        return Err(malformed("it is nested too deep"));
    }
    let mut other = match of {
        Type::SchemaOrBool(_) => json!(false),
        _ => json!([]),
    };
    let mut schema = None;
    for field in wire::fields(bytes) {
        match (of, field.map_err(malformed)?) {
            (Type::SchemaOrBool(_), Field { number: 1, raw: Raw::Varint(allows) }) => other = json!(allows != 0),
            (Type::SchemaOrBool(_), Field { number: 2, raw: Raw::Bytes(bytes) })
            | (Type::SchemaOrList(_) | Type::SchemaOrTexts(_), Field { number: 1, raw: Raw::Bytes(bytes) }) => {
                schema = Some(object(id, bytes, depth)?);
            }
            (Type::SchemaOrList(_), Field { number: 2, raw: Raw::Bytes(bytes) }) => {
                other
                    .as_array_mut()
                    .map(|list| object(id, bytes, depth).map(|schema| list.push(schema)))
                    .transpose()?;
            }
            (Type::SchemaOrTexts(_), Field { number: 2, raw: Raw::Bytes(bytes) }) => {
                other.as_array_mut().map(|list| text(bytes).map(|text| list.push(text.into()))).transpose()?;
            }
            (_, Field { .. }) => {}
        }
    }
    Ok(schema.unwrap_or(other))
}

/// A number; a whole one as a person would write it.
#[allow(clippy::cast_possible_truncation, reason = "a whole number below 2^53 fits")]
fn double(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 { json!(number as i64) } else { json!(number) }
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
fn time(form: &str, bytes: &[u8]) -> Result<Value, ApiError> {
    let (Some(seconds), nanos) = numbers(bytes)? else { return Ok(Value::Null) };
    let nanos = i32::try_from(nanos.unwrap_or(0)).map_err(|_| malformed("a time is out of range"))?;
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| malformed("a time is out of range"))?;
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

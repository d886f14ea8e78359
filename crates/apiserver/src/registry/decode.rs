//! Bodies: JSON or YAML into objects of the resource's type.

use super::{Context, options::FieldValidation};
use crate::object;
use ::http::{HeaderMap, header};
use orrery_machinery::status::ApiError;
use orrery_protobuf::accept::Media;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

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
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Tracked { path: String::new(), duplicates: &mut duplicates }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    Ok((value, duplicates))
}

/// Reads YAML, and the paths of keys that stand twice.
pub(crate) fn parse_yaml(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
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
}

//! Bodies: JSON or YAML into objects of the resource's type.

use super::{Context, options::FieldValidation};
use crate::object;
use ::http::{HeaderMap, header};
use orrery_documents::{parse_json, parse_yaml};
use orrery_machinery::status::ApiError;
use orrery_protobuf::accept::Media;
use serde_json::{Map, Value};

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

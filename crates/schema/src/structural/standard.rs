//! Which constructs of JSON schema a definition may use, and the rules of list and map types and of validation rules,
//! as `ValidateCustomResourceDefinitionOpenAPISchema` in `apiextensions/validation/validation.go` has them. Works on the
//! JSON, since much of what is refused here has no place in [`Structural`](super::Structural).

use super::{MAX_DEPTH, Structural, find_field};
use crate::path::{child, index, key};
use orrery_machinery::status::FieldError;
use serde_json::Value;

const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Whether a field belongs to every object.
pub(crate) fn is_meta_field(name: &str) -> bool {
    META_FIELDS.contains(&name)
}

/// Checks the schema that stands at `path`.
pub(super) fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let place = Place { root: true, inside_meta: false, no_defaults: None, depth: 0 };
    node(schema, path, &place, &mut errors);
    errors
}

/// Where a node stands, as far as it matters.
#[derive(Clone)]
struct Place {
    root: bool,
    inside_meta: bool,
    /// Why there may be no defaults here.
    no_defaults: Option<String>,
    depth: usize,
}

fn node(schema: &Value, path: &str, place: &Place, errors: &mut Vec<FieldError>) {
    if !schema.is_object() || place.depth > MAX_DEPTH {
        return;
    }
    constructs(schema, path, place, errors);
    let inner = Place { root: false, depth: place.depth + 1, ..place.clone() };
    additional(schema, path, &inner, errors);
    let resource = place.root || schema["x-kubernetes-embedded-resource"] == true;
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mut inner = inner.clone();
        if resource && is_meta_field(name) {
            inner.inside_meta = true;
            if place.root {
                inner.no_defaults = Some(format!("in top-level {name}"));
            }
        }
        node(property, &key(&child(path, "properties"), name), &inner, errors);
    }
    node(&schema["not"], &child(path, "not"), &inner, errors);
    for junctor in ["allOf", "oneOf", "anyOf"] {
        for (i, clause) in schema[junctor].as_array().into_iter().flatten().enumerate() {
            node(clause, &index(&child(path, junctor), i), &inner, errors);
        }
    }
    node(&schema["items"], &child(path, "items"), &inner, errors);
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let field = child(path, "x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(field, &false.into(), "must be true or undefined"));
    }
    map_type(schema, path, errors);
    list_type(schema, path, errors);
    keys_and_nulls(schema, path, errors);
    for (i, rule) in schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
        validation_rule(schema, rule, &index(&child(path, "x-kubernetes-validations"), i), errors);
    }
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

fn constructs(schema: &Value, path: &str, place: &Place, errors: &mut Vec<FieldError>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(child(path, "type"), &kind.into(), &TYPES));
    }
    if let (false, Some(reason)) = (schema["default"].is_null(), &place.no_defaults) {
        errors.push(FieldError::forbidden(child(path, "default"), &format!("must not be set {reason}")));
    }
    let mut forbid = |part: &str, detail: &str| errors.push(FieldError::forbidden(child(path, part), detail));
    if schema["id"].as_str().is_some_and(|id| !id.is_empty()) {
        forbid("id", "id is not supported");
    }
    for part in ["additionalItems", "dependencies", "$ref"] {
        if !schema[part].is_null() {
            forbid(part, &format!("{part} is not supported"));
        }
    }
    for part in ["patternProperties", "definitions"] {
        if schema[part].as_object().is_some_and(|map| !map.is_empty()) {
            forbid(part, &format!("{part} is not supported"));
        }
    }
    if kind == "null" {
        forbid("type", "type cannot be set to null, use nullable as an alternative");
    }
    if schema["items"].is_array() {
        forbid("items", "items must be a schema object and not an array");
    }
    if place.inside_meta && schema["x-kubernetes-embedded-resource"] == true {
        forbid("x-kubernetes-embedded-resource", "must not be used inside of resource meta");
    }
    if schema["uniqueItems"] == true {
        forbid("uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    }
}

fn additional(schema: &Value, path: &str, inner: &Place, errors: &mut Vec<FieldError>) {
    let additional = &schema["additionalProperties"];
    if additional.is_null() {
        return;
    }
    let field = child(path, "additionalProperties");
    if schema["properties"].as_object().is_some_and(|map| !map.is_empty()) && *additional != true {
        errors.push(FieldError::forbidden(&*field, "additionalProperties and properties are mutual exclusive"));
    }
    let mut inner = inner.clone();
    if inner.inside_meta {
        inner.no_defaults = Some("inside additionalProperties applying to object metadata".into());
    }
    node(additional, &field, &inner, errors);
}

/// `type` has to be `expected` because `extension` is there.
fn require_type(schema: &Value, path: &str, expected: &str, extension: &str, errors: &mut Vec<FieldError>) {
    let detail = format!("must be {expected} if {extension} is specified");
    match schema["type"].as_str().unwrap_or_default() {
        kind if kind == expected => {}
        "" => errors.push(FieldError::required(child(path, "type"), &detail)),
        kind => errors.push(FieldError::invalid(child(path, "type"), &kind.into(), &detail)),
    }
}

fn map_type(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(map_type) = schema["x-kubernetes-map-type"].as_str() else { return };
    require_type(schema, path, "object", "x-kubernetes-map-type", errors);
    if !["atomic", "granular"].contains(&map_type) {
        let field = child(path, "x-kubernetes-map-type");
        errors.push(FieldError::not_supported(field, &map_type.into(), &["atomic", "granular"]));
    }
}

fn list_type(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const LIST_TYPE: &str = "x-kubernetes-list-type";
    let list_type = schema[LIST_TYPE].as_str();
    let items = &schema["items"];
    if let Some(list_type) = list_type {
        require_type(schema, path, "array", LIST_TYPE, errors);
        if list_type == "set" && schema["type"] == "array" {
            let (part, atomic) = match items["type"].as_str() {
                Some("array") => (LIST_TYPE, items[LIST_TYPE].as_str().is_none_or(|t| t == "atomic")),
                Some("object") => ("x-kubernetes-map-type", items["x-kubernetes-map-type"] == "atomic"),
                _ => ("", true),
            };
            if !atomic {
                let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
                errors.push(FieldError::invalid(child(&child(path, "items"), part), &items[LIST_TYPE], why));
            }
        }
        if !["atomic", "set", "map"].contains(&list_type) {
            let supported = ["atomic", "set", "map"];
            errors.push(FieldError::not_supported(child(path, LIST_TYPE), &list_type.into(), &supported));
        }
    }
    let has_keys = schema["x-kubernetes-list-map-keys"].as_array().is_some_and(|keys| !keys.is_empty());
    if has_keys && list_type != Some("map") {
        let (field, why) = (child(path, LIST_TYPE), "must be map if x-kubernetes-list-map-keys is non-empty");
        errors.push(match list_type {
            None => FieldError::required(field, why),
            Some(other) => FieldError::invalid(field, &other.into(), why),
        });
    }
    if list_type == Some("map") {
        list_map(schema, path, has_keys, errors);
    }
}

fn list_map(schema: &Value, path: &str, has_keys: bool, errors: &mut Vec<FieldError>) {
    const KEYS: &str = "x-kubernetes-list-map-keys";
    if !has_keys {
        errors.push(FieldError::required(child(path, KEYS), "must not be empty if x-kubernetes-list-type is map"));
    }
    let items = &schema["items"];
    let items_path = child(path, "items");
    if items.is_null() {
        errors.push(FieldError::required(items_path, "must have a schema if x-kubernetes-list-type is map"));
        return;
    }
    if items["type"] != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        let kind = items["type"].as_str().unwrap_or_default();
        errors.push(FieldError::invalid(child(&items_path, "type"), &kind.into(), why));
        return;
    }
    let keys: Vec<&str> = schema[KEYS].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (i, name) in keys.iter().enumerate() {
        match items["properties"].get(name) {
            None => {
                let why = "entries must all be names of item properties";
                errors.push(FieldError::invalid(child(path, KEYS), &schema[KEYS], why));
            }
            Some(property) if property["type"] == "array" || property["type"] == "object" => {
                let field = child(&key(&child(&items_path, "properties"), name), "type");
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(field, &items["type"], why));
            }
            Some(_) => {}
        }
        if keys[..i].contains(name) {
            errors.push(FieldError::invalid(child(path, KEYS), &schema[KEYS], "must not contain duplicate entries"));
        }
    }
}

/// Items of sets and maps are not null, and a key always has a value.
fn keys_and_nulls(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let items = &schema["items"];
    let list_type = schema["x-kubernetes-list-type"].as_str().unwrap_or_default();
    if !items.is_object() || !["set", "map"].contains(&list_type) {
        return;
    }
    let items_path = child(path, "items");
    if items["nullable"] == true {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(FieldError::forbidden(child(&items_path, "nullable"), &why));
    }
    if list_type == "set" {
        return;
    }
    let required: Vec<&str> = items["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for name in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(property) = items["properties"].get(name) else { continue };
        let field = key(&child(&items_path, "properties"), name);
        let why = "this property is in x-kubernetes-list-map-keys, so it";
        if !required.contains(&name) && property["default"].is_null() {
            let why = format!("{why} must have a default or be a required property");
            errors.push(FieldError::required(child(&field, "default"), &why));
        }
        if property["nullable"] == true {
            errors.push(FieldError::forbidden(child(&field, "nullable"), &format!("{why} cannot be nullable")));
        }
    }
}

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

fn validation_rule(schema: &Value, rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = |part: &str| rule[part].as_str().unwrap_or_default();
    let breaks = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (text("rule").trim(), text("message").trim());
    let at = |part: &str| child(path, part);
    if expression.is_empty() {
        errors.push(FieldError::required(at("rule"), "rule is not specified"));
    } else if !text("message").is_empty() && message.is_empty() {
        let why = "message must be non-empty if specified";
        errors.push(FieldError::invalid(at("message"), &rule["message"], why));
    } else if breaks(message) {
        errors.push(FieldError::invalid(at("message"), &rule["message"], "message must not contain line breaks"));
    } else if breaks(expression) && message.is_empty() {
        let why = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(at("message"), why));
    }
    if !text("messageExpression").is_empty() && text("messageExpression").trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(at("messageExpression"), why));
    }
    if rule["reason"].as_str().is_some_and(|reason| !REASONS.contains(&reason)) {
        errors.push(FieldError::not_supported(at("reason"), &rule["reason"], &REASONS));
    }
    let field_path = text("fieldPath");
    if field_path.is_empty() {
        return;
    }
    let mut refuse = |why| errors.push(FieldError::invalid(at("fieldPath"), &field_path.into(), why));
    if field_path.trim().is_empty() {
        refuse("fieldPath must be non-empty if specified");
    }
    if breaks(field_path) {
        refuse("fieldPath must not contain line breaks");
    }
    if Structural::read(schema).is_ok_and(|schema| find_field(&schema, field_path, true).is_err()) {
        refuse("fieldPath must be a valid path");
    }
}

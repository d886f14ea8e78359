//! What makes a schema structural (`ValidateStructural` in `apiserver/schema/validation.go`).

use super::{Additional, Structural, ValueValidation};
use crate::path::{child, index, key};
use orrery_machinery::status::FieldError;

/// Where on the spine a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Checks the whole schema that stands at `path`.
pub(super) fn check(schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    spine(schema, Level::Root, path, &mut errors);
    errors
}

fn spine(schema: &Structural, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    match &schema.items {
        Some(items) => spine(items, Level::Item, &child(path, "items"), errors),
        None if schema.kind == "array" => {
            errors.push(FieldError::required(child(path, "items"), "must be specified"));
        }
        None => {}
    }
    for (name, property) in &schema.properties {
        spine(property, Level::Field, &key(&child(path, "properties"), name), errors);
    }
    if let Some(additional) = &schema.additional {
        let field = child(path, "additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&*field, "must not be used at the root"));
        }
        if let Additional::Schema(additional) = additional {
            spine(additional, Level::Field, &field, errors);
        }
    }
    extensions(schema, path, errors);
    let (skip_any, skip_first_all) = int_or_string_patterns(schema);
    values(&schema.values, skip_any, skip_first_all, path, errors);
    kind(schema, level, path, errors);
    embedded(schema, path, errors);
    meta(schema, level, path, errors);
}

fn extensions(schema: &Structural, path: &str, errors: &mut Vec<FieldError>) {
    const WHY: &str = "must be false if x-kubernetes-int-or-string is true";
    let extensions = &schema.extensions;
    let mut refuse = |part: &str| errors.push(FieldError::invalid(child(path, part), &true.into(), WHY));
    if extensions.int_or_string && extensions.preserve_unknown_fields {
        refuse("x-kubernetes-preserve-unknown-fields");
    }
    if extensions.int_or_string && extensions.embedded_resource {
        refuse("x-kubernetes-embedded-resource");
    }
}

/// The two ways in which an int-or-string may spell out its types: `anyOf`, or `anyOf` in the first of `allOf`.
fn int_or_string_patterns(schema: &Structural) -> (bool, bool) {
    let first = schema.values.all_of.first();
    (is_int_or_string(&schema.values.any_of), first.is_some_and(|first| is_int_or_string(&first.values.any_of)))
}

pub(crate) fn is_int_or_string(any_of: &[Structural]) -> bool {
    let only = |kind: &str| Structural { kind: kind.into(), ..Structural::default() };
    any_of == [only("integer"), only("string")]
}

fn kind(schema: &Structural, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let field = child(path, "type");
    let extensions = &schema.extensions;
    if extensions.embedded_resource && schema.kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if schema.kind.is_empty() {
            FieldError::required(&*field, why)
        } else {
            FieldError::invalid(&*field, &schema.kind.as_str().into(), why)
        });
    } else if schema.kind.is_empty() && !extensions.int_or_string && !extensions.preserve_unknown_fields {
        errors.push(FieldError::required(
            &*field,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ));
    }
    if level == Level::Root && !schema.kind.is_empty() && schema.kind != "object" {
        errors.push(FieldError::invalid(field, &schema.kind.as_str().into(), "must be object at the root"));
    }
}

fn embedded(schema: &Structural, path: &str, errors: &mut Vec<FieldError>) {
    if !schema.extensions.embedded_resource {
        return;
    }
    if schema.additional.is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(child(path, "additionalProperties"), why));
    }
    if !schema.extensions.preserve_unknown_fields && schema.properties.is_empty() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
            x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(child(path, "properties"), why));
    }
}

fn meta(schema: &Structural, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let whole = level == Level::Root || schema.extensions.embedded_resource;
    let at = |name: &str| key(&child(path, "properties"), name);
    for name in ["kind", "apiVersion"] {
        if let Some(property) = schema.properties.get(name).filter(|p| whole && p.kind != "string") {
            let (field, kind) = (child(&at(name), "type"), property.kind.as_str().into());
            errors.push(FieldError::invalid(field, &kind, "must be string"));
        }
    }
    let Some(metadata) = schema.properties.get("metadata") else { return };
    if whole && metadata.kind != "object" {
        let kind = metadata.kind.as_str().into();
        errors.push(FieldError::invalid(child(&at("metadata"), "type"), &kind, "must be object"));
    }
    if level == Level::Root {
        let names_only = metadata.properties.keys().all(|name| name == "name" || name == "generateName");
        let rest = Structural {
            kind: String::new(),
            default: None,
            properties: if names_only { Default::default() } else { metadata.properties.clone() },
            ..metadata.clone()
        };
        if rest != Structural::default() {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(at("metadata"), why));
        }
    }
}

fn values(values: &ValueValidation, skip_any: bool, skip_first_all: bool, path: &str, errors: &mut Vec<FieldError>) {
    if !skip_any {
        for (i, clause) in values.any_of.iter().enumerate() {
            nested(clause, false, &index(&child(path, "anyOf"), i), errors);
        }
    }
    for (i, clause) in values.all_of.iter().enumerate() {
        nested(clause, skip_first_all && i == 0, &index(&child(path, "allOf"), i), errors);
    }
    for (i, clause) in values.one_of.iter().enumerate() {
        nested(clause, false, &index(&child(path, "oneOf"), i), errors);
    }
    if let Some(clause) = &values.not {
        nested(clause, false, &child(path, "not"), errors);
    }
    if let Some(Err(error)) = values.pattern.as_ref().map(|pattern| pattern.regex()) {
        let text = values.pattern.as_ref().map_or("", |pattern| pattern.source());
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(child(path, "pattern"), &text.into(), &why));
    }
}

/// What stands under a junctor says something of values only.
fn nested(schema: &Structural, skip_any: bool, path: &str, errors: &mut Vec<FieldError>) {
    values(&schema.values, skip_any, false, path, errors);
    if let Some(items) = &schema.items {
        nested(items, false, &child(path, "items"), errors);
    }
    for (name, property) in &schema.properties {
        nested(property, false, &key(&child(path, "properties"), name), errors);
    }
    let extensions = &schema.extensions;
    let forbidden = [
        ("type", !schema.kind.is_empty(), "must be empty to be structural"),
        ("additionalProperties", schema.additional.is_some(), "must be undefined to be structural"),
        ("default", schema.default.is_some(), "must be undefined to be structural"),
        ("title", !schema.title.is_empty(), "must be empty to be structural"),
        ("description", !schema.description.is_empty(), "must be empty to be structural"),
        ("nullable", schema.nullable, "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", extensions.preserve_unknown_fields, "must be false to be structural"),
        ("x-kubernetes-embedded-resource", extensions.embedded_resource, "must be false to be structural"),
        ("x-kubernetes-int-or-string", extensions.int_or_string, "must be false to be structural"),
        ("x-kubernetes-list-map-keys", !extensions.list_map_keys.is_empty(), "must be empty to be structural"),
        ("x-kubernetes-list-type", extensions.list_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-map-type", extensions.map_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-validations", !extensions.validations.is_empty(), "must be empty to be structural"),
    ];
    for (part, _, why) in forbidden.into_iter().filter(|(_, set, _)| *set) {
        errors.push(FieldError::forbidden(child(path, part), why));
    }
    if schema.properties.contains_key("metadata") {
        let field = key(&child(path, "properties"), "metadata");
        errors.push(FieldError::forbidden(field, "must not be specified in a nested context"));
    }
}

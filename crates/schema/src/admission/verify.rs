//! Expressions when they are written (`k8s.io/kubernetes/pkg/apis/admissionregistration/validation`, the CEL part).

use super::compiler::{Compiler, Expected, Options};
use crate::path::{child, index};
use orrery_machinery::meta;
use orrery_machinery::status::{FieldError, FieldReason};
use serde_json::Value;

/// How many match conditions there may be.
const MAX_CONDITIONS: usize = 64;
/// How many audit annotations there may be.
const MAX_ANNOTATIONS: usize = 20;

/// Checks `matchConditions` of a webhook or policy, which stand at `path`.
#[must_use]
pub fn check_match_conditions(conditions: &Value, options: Options, path: &str) -> Vec<FieldError> {
    let compiler = Compiler::new(options);
    let mut errors = Vec::new();
    let list = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
    too_many(list.len(), MAX_CONDITIONS, path, &mut errors);
    let mut names: Vec<&str> = Vec::new();
    for (i, condition) in list.iter().enumerate() {
        let at = index(path, i);
        let source = text(condition, "expression");
        if source.trim().is_empty() {
            errors.push(FieldError::required(child(&at, "expression"), ""));
        } else {
            expression(&compiler, source, Expected::Bool, &child(&at, "expression"), &mut errors);
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(FieldError::required(child(&at, "name"), ""));
            continue;
        }
        let problems = meta::qualified_name_problems(name);
        errors.extend(problems.iter().map(|why| FieldError::invalid(child(&at, "name"), &name.into(), why)));
        if names.contains(&name) {
            errors.push(FieldError::duplicate(child(&at, "name"), &name.into()));
        }
        names.push(name);
    }
    errors
}

/// Checks the expressions in the `spec` of a validating policy, which stands at `path`.
#[must_use]
pub fn check_validating(spec: &Value, path: &str) -> Vec<FieldError> {
    let options = Options { params: spec["paramKind"].is_object(), authorizer: true, mutation: false };
    let mut errors = check_match_conditions(&spec["matchConditions"], options, &child(path, "matchConditions"));
    let mut compiler = Compiler::new(options);
    variables(spec, &mut compiler, path, &mut errors);
    let without_authorizer = Options { authorizer: false, ..options };
    let mut for_messages = Compiler::new(without_authorizer);
    variables(spec, &mut for_messages, path, &mut Vec::new());
    let empty = |part: &str| spec[part].as_array().is_none_or(Vec::is_empty);
    if empty("validations") && empty("auditAnnotations") {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(child(path, "validations"), why));
    }
    for (i, validation) in spec["validations"].as_array().into_iter().flatten().enumerate() {
        let at = index(&child(path, "validations"), i);
        self::validation(validation, &compiler, &for_messages, &at, &mut errors);
    }
    let annotations = spec["auditAnnotations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let field = child(path, "auditAnnotations");
    too_many(annotations.len(), MAX_ANNOTATIONS, &field, &mut errors);
    let mut keys: Vec<&str> = Vec::new();
    for (i, annotation) in annotations.iter().enumerate() {
        let (at, key) = (index(&field, i), text(annotation, "key"));
        if keys.contains(&key) {
            errors.push(FieldError::duplicate(child(&at, "key"), &key.into()));
        }
        keys.push(key);
        let problems = meta::qualified_name_problems(key);
        errors.extend(problems.iter().map(|why| FieldError::invalid(child(&at, "key"), &key.into(), why)));
        let at = child(&at, "valueExpression");
        match text(annotation, "valueExpression") {
            "" => errors.push(FieldError::required(at, "valueExpression is required")),
            source => expression(&compiler, source, Expected::StringOrNull, &at, &mut errors),
        }
    }
    errors
}

/// Checks the expressions in the `spec` of a mutating policy, which stands at `path`.
#[must_use]
pub fn check_mutating(spec: &Value, path: &str) -> Vec<FieldError> {
    let options = Options { params: spec["paramKind"].is_object(), authorizer: true, mutation: true };
    let mut errors = check_match_conditions(&spec["matchConditions"], options, &child(path, "matchConditions"));
    let mut compiler = Compiler::new(options);
    variables(spec, &mut compiler, path, &mut errors);
    if spec["mutations"].as_array().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(child(path, "mutations"), "mutations must contain at least one item"));
    }
    for (i, mutation) in spec["mutations"].as_array().into_iter().flatten().enumerate() {
        let at = index(&child(path, "mutations"), i);
        let kinds = [
            ("ApplyConfiguration", "applyConfiguration", Expected::ApplyConfiguration),
            ("JSONPatch", "jsonPatch", Expected::JsonPatch),
        ];
        let patch_type = text(mutation, "patchType");
        let Some((_, part, expected)) = kinds.into_iter().find(|(name, ..)| *name == patch_type) else {
            let field = child(&at, "patchType");
            errors.push(if patch_type.is_empty() {
                FieldError::required(field, "")
            } else {
                FieldError::not_supported(field, &patch_type.into(), &["ApplyConfiguration", "JSONPatch"])
            });
            continue;
        };
        let field = child(&at, part);
        for (_, other, _) in kinds.into_iter().filter(|(_, other, _)| *other != part) {
            if !mutation[other].is_null() {
                let why = format!("must not be specified when patchType is {patch_type}");
                errors.push(FieldError::invalid(child(&at, other), &mutation[other], &why));
            }
        }
        match text(&mutation[part], "expression") {
            "" => errors.push(FieldError::required(child(&field, "expression"), "")),
            source => expression(&compiler, source, expected, &child(&field, "expression"), &mut errors),
        }
    }
    errors
}

fn text<'v>(value: &'v Value, part: &str) -> &'v str {
    value[part].as_str().unwrap_or_default()
}

fn too_many(count: usize, limit: usize, path: &str, errors: &mut Vec<FieldError>) {
    if count > limit {
        let message = format!("Too many: {count}: must have at most {limit} items");
        errors.push(FieldError { reason: FieldReason::Invalid, field: path.to_owned(), message });
    }
}

fn expression(compiler: &Compiler, source: &str, expected: Expected, path: &str, errors: &mut Vec<FieldError>) {
    if let Err(why) = compiler.compile(source, expected) {
        errors.push(FieldError::invalid(path, &source.into(), &why));
    }
}

fn variables(spec: &Value, compiler: &mut Compiler, path: &str, errors: &mut Vec<FieldError>) {
    let mut names: Vec<&str> = Vec::new();
    for (i, variable) in spec["variables"].as_array().into_iter().flatten().enumerate() {
        let at = index(&child(path, "variables"), i);
        let (name, source) = (text(variable, "name"), text(variable, "expression"));
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if name.is_empty() {
            errors.push(FieldError::required(child(&at, "name"), "name is not specified"));
        } else if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            errors.push(FieldError::invalid(child(&at, "name"), &name.into(), "name is not a valid CEL identifier"));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(child(&at, "name"), &name.into()));
        }
        names.push(name);
        if source.trim().is_empty() {
            errors.push(FieldError::required(child(&at, "expression"), "expression is not specified"));
        } else if let Err(why) = compiler.variable(name, source) {
            errors.push(FieldError::invalid(child(&at, "expression"), &source.into(), &why));
        }
    }
}

const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

fn validation(
    validation: &Value,
    compiler: &Compiler,
    for_messages: &Compiler,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let breaks = |text: &str| text.contains(['\n', '\r']);
    let (source, message) = (text(validation, "expression"), text(validation, "message"));
    let at = |part: &str| child(path, part);
    if source.trim().is_empty() {
        errors.push(FieldError::required(at("expression"), "expression is not specified"));
    } else {
        expression(compiler, source, Expected::Bool, &at("expression"), errors);
    }
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(at("message"), &message.into(), "message must be non-empty if specified"));
    } else if breaks(message.trim()) {
        errors.push(FieldError::invalid(at("message"), &message.into(), "message must not contain line breaks"));
    } else if breaks(source.trim()) && message.trim().is_empty() {
        let why = "message must be specified if expression contains line breaks";
        errors.push(FieldError::required(at("message"), why));
    }
    let made = text(validation, "messageExpression");
    if !made.is_empty() && made.trim().is_empty() {
        let why = "must be non-empty if specified";
        errors.push(FieldError::invalid(at("messageExpression"), &made.into(), why));
    } else if !made.is_empty() {
        expression(for_messages, made, Expected::String, &at("messageExpression"), errors);
    }
    if validation["reason"].as_str().is_some_and(|reason| !REASONS.contains(&reason)) {
        errors.push(FieldError::not_supported(at("reason"), &validation["reason"], &REASONS));
    }
}

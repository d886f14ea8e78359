//! What is said of a schema beside whether it is valid: warnings, and what a status subresource asks of it.

use super::Structural;
use crate::path::child;
use orrery_cel::format::is_valid as is_valid_format;
use orrery_machinery::status::FieldError;
use serde_json::Value;

/// What may stand at the root when there is a status subresource, as Go's fields are called, and in JSON: the schema of
/// `status` is taken out of `properties`, and nothing may be lost by that.
const AT_ROOT: [(&str, &str); 22] = [
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

/// Checks that the schema at `path` can have a status subresource.
#[must_use]
pub fn check_for_status(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = schema["type"].as_str().unwrap_or_default();
    if !kind.is_empty() && kind != "object" {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(FieldError::invalid(child(path, "type"), &kind.into(), why));
    }
    let known = |part: &str| AT_ROOT.iter().any(|(_, allowed)| *allowed == part);
    let set = |value: &Value| !value.is_null() && *value != Value::Bool(false);
    if schema.as_object().into_iter().flatten().any(|(part, value)| set(value) && !known(part)) {
        let names: Vec<&str> = AT_ROOT.iter().map(|(name, _)| *name).collect();
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errors.push(FieldError::invalid(path, schema, &why));
    }
    errors
}

impl Structural {
    /// Warnings for who writes a definition: formats that are not checked.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        formats(self, &mut found);
        found.sort();
        found.dedup();
        found.into_iter().map(|format| format!("unrecognized format {format:?}")).collect()
    }
}

fn formats(schema: &Structural, found: &mut Vec<String>) {
    let format = schema.values.format.as_str();
    let known = match schema.kind.as_str() {
        _ if format.is_empty() => true,
        "" | "string" => is_valid_format(format, "").is_some(),
        "integer" => ["int32", "int64"].contains(&format),
        "number" => ["float", "double"].contains(&format),
        _ => false,
    };
    if !known {
        found.push(format.to_owned());
    }
    let below = schema.items.as_deref().into_iter().chain(schema.additional_schema()).chain(schema.properties.values());
    below.for_each(|schema| formats(schema, found));
    let values = &schema.values;
    let clauses = values.all_of.iter().chain(&values.any_of).chain(&values.one_of).chain(values.not.as_deref());
    clauses.for_each(|schema| formats(schema, found));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_format_that_is_not_checked_is_told() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string", "format": "odd"}, "b": {"type": "integer", "format": "int64"},
            "c": {"type": "integer", "format": "int8"}, "d": {"type": "string", "format": "date-time"}}});
        let expected = ["unrecognized format \"int8\"", "unrecognized format \"odd\""];
        assert_eq!(Structural::read(&schema).unwrap().warnings(), expected);
    }

    #[test]
    fn with_a_status_subresource_the_root_says_little() {
        assert_eq!(check_for_status(&json!({"type": "object", "required": ["a"], "nullable": false}), "s"), []);
        let errors = check_for_status(&json!({"type": "array", "allOf": [{}]}), "s");
        assert_eq!((errors[0].field.as_str(), errors[1].field.as_str()), ("s.type", "s"));
        assert!(errors[1].message.contains("only [Description Type Format"), "{errors:?}");
    }
}

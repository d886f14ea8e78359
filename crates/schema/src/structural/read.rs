//! Reading a schema from JSON.

use super::{Additional, Extensions, MAX_DEPTH, Structural, ValidationRule, ValueValidation};
use orrery_cel::pattern::Pattern;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// Why a schema can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A part that structural schemas don't have.
    #[error("OpenAPIV3Schema '{0}' is not supported")]
    Unsupported(&'static str),
    /// A part of another type than it has to be.
    #[error("OpenAPIV3Schema '{0}' must be {1}")]
    Malformed(String, &'static str),
    /// Nested too deep.
    #[error("OpenAPIV3Schema must not be nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

const UNSUPPORTED: [&str; 7] =
    ["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];

impl Structural {
    /// Reads a schema without checking it, as for a definition that was checked when it was written.
    ///
    /// # Errors
    /// When it is malformed, or uses what can't be represented.
    pub fn read(schema: &Value) -> Result<Self, ReadError> {
        node(schema, 0)
    }
}

fn node(schema: &Value, depth: usize) -> Result<Structural, ReadError> {
    if depth > MAX_DEPTH {
        return Err(ReadError::TooDeep);
    }
    let map = schema.as_object().ok_or_else(|| ReadError::Malformed("schema".into(), "an object"))?;
    for part in UNSUPPORTED {
        if map.get(part).is_some_and(is_set) {
            return Err(ReadError::Unsupported(if part == "$schema" { "schema" } else { part }));
        }
    }
    let reader = Reader(map);
    let below = |value: &Value| node(value, depth + 1);
    let items = match map.get("items") {
        Some(Value::Array(_)) => return Err(ReadError::Malformed("items".into(), "a schema, but is an array")),
        Some(Value::Null) | None => None,
        Some(items) => Some(Box::new(below(items)?)),
    };
    let additional = match map.get("additionalProperties") {
        Some(Value::Bool(any)) => Some(Additional::Any(*any)),
        Some(Value::Null) | None => None,
        Some(schema) => Some(Additional::Schema(Box::new(below(schema)?))),
    };
    let properties = match map.get("properties") {
        Some(Value::Object(properties)) => {
            let read = properties.iter().map(|(name, schema)| Ok((name.clone(), below(schema)?)));
            read.collect::<Result<BTreeMap<_, _>, ReadError>>()?
        }
        Some(Value::Null) | None => BTreeMap::new(),
        Some(_) => return Err(ReadError::Malformed("properties".into(), "an object")),
    };
    Ok(Structural {
        description: reader.text("description")?,
        title: reader.text("title")?,
        kind: reader.text("type")?,
        nullable: reader.flag("nullable")?,
        default: map.get("default").filter(|v| !v.is_null()).cloned(),
        external_docs: map.get("externalDocs").filter(|v| !v.is_null()).cloned(),
        example: map.get("example").filter(|v| !v.is_null()).cloned(),
        items,
        properties,
        additional,
        extensions: reader.extensions()?,
        values: reader.values(depth)?,
    })
}

/// Whether a part says anything: empty texts and objects are the same as none, as in Go.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => true,
    }
}

/// Reads parts of one node.
struct Reader<'a>(&'a Map<String, Value>);

impl Reader<'_> {
    fn get(&self, part: &str) -> Option<&Value> {
        self.0.get(part).filter(|value| !value.is_null())
    }

    fn part<T>(
        &self,
        part: &str,
        expected: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        match self.get(part) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| ReadError::Malformed(part.to_owned(), expected)),
        }
    }

    fn text(&self, part: &str) -> Result<String, ReadError> {
        Ok(self.part(part, "a string", |v| v.as_str().map(str::to_owned))?.unwrap_or_default())
    }

    fn flag(&self, part: &str) -> Result<bool, ReadError> {
        Ok(self.part(part, "a boolean", Value::as_bool)?.unwrap_or_default())
    }

    fn count(&self, part: &str) -> Result<Option<i64>, ReadError> {
        self.part(part, "an integer", Value::as_i64)
    }

    fn number(&self, part: &str) -> Result<Option<Number>, ReadError> {
        self.part(part, "a number", |v| v.as_number().cloned())
    }

    fn texts(&self, part: &str) -> Result<Vec<String>, ReadError> {
        let read = |v: &Value| v.as_array()?.iter().map(|e| e.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        Ok(self.part(part, "a list of strings", read)?.unwrap_or_default())
    }

    fn list(&self, part: &str) -> Result<Vec<Value>, ReadError> {
        Ok(self.part(part, "a list", |v| v.as_array().cloned())?.unwrap_or_default())
    }

    fn schemas(&self, part: &str, depth: usize) -> Result<Vec<Structural>, ReadError> {
        self.list(part)?.iter().map(|schema| node(schema, depth + 1)).collect()
    }

    fn values(&self, depth: usize) -> Result<ValueValidation, ReadError> {
        let pattern = self.text("pattern")?;
        Ok(ValueValidation {
            format: self.text("format")?,
            maximum: self.number("maximum")?,
            exclusive_maximum: self.flag("exclusiveMaximum")?,
            minimum: self.number("minimum")?,
            exclusive_minimum: self.flag("exclusiveMinimum")?,
            multiple_of: self.number("multipleOf")?,
            max_length: self.count("maxLength")?,
            min_length: self.count("minLength")?,
            pattern: (!pattern.is_empty()).then(|| Pattern::new(&pattern)),
            max_items: self.count("maxItems")?,
            min_items: self.count("minItems")?,
            unique_items: self.flag("uniqueItems")?,
            max_properties: self.count("maxProperties")?,
            min_properties: self.count("minProperties")?,
            enumeration: self.list("enum")?,
            required: self.texts("required")?,
            all_of: self.schemas("allOf", depth)?,
            any_of: self.schemas("anyOf", depth)?,
            one_of: self.schemas("oneOf", depth)?,
            not: self.get("not").map(|schema| node(schema, depth + 1)).transpose()?.map(Box::new),
        })
    }

    fn extensions(&self) -> Result<Extensions, ReadError> {
        let preserve = self.part("x-kubernetes-preserve-unknown-fields", "a boolean", Value::as_bool)?;
        if preserve == Some(false) {
            return Err(ReadError::Malformed("x-kubernetes-preserve-unknown-fields".into(), "true or undefined"));
        }
        let optional = |part: &str| self.part(part, "a string", |v| v.as_str().map(str::to_owned));
        Ok(Extensions {
            preserve_unknown_fields: preserve.unwrap_or_default(),
            embedded_resource: self.flag("x-kubernetes-embedded-resource")?,
            int_or_string: self.flag("x-kubernetes-int-or-string")?,
            list_type: optional("x-kubernetes-list-type")?,
            list_map_keys: self.texts("x-kubernetes-list-map-keys")?,
            map_type: optional("x-kubernetes-map-type")?,
            validations: self.list("x-kubernetes-validations")?.iter().map(rule).collect::<Result<_, _>>()?,
        })
    }
}

fn rule(value: &Value) -> Result<ValidationRule, ReadError> {
    let malformed = || ReadError::Malformed("x-kubernetes-validations".into(), "a list of rules");
    let reader = Reader(value.as_object().ok_or_else(malformed)?);
    Ok(ValidationRule {
        rule: reader.text("rule")?,
        message: reader.text("message")?,
        message_expression: reader.text("messageExpression")?,
        reason: reader.part("reason", "a string", |v| v.as_str().map(str::to_owned))?,
        field_path: reader.text("fieldPath")?,
        optional_old_self: reader.part("optionalOldSelf", "a boolean", Value::as_bool)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_can_not_be_represented_is_refused() {
        let table = [
            (json!({"id": "x"}), "OpenAPIV3Schema 'id' is not supported"),
            (json!({"properties": {"a": {"$ref": "#/b"}}}), "OpenAPIV3Schema '$ref' is not supported"),
            (json!({"items": [{}]}), "OpenAPIV3Schema 'items' must be a schema, but is an array"),
            (json!({"not": {"definitions": {"a": {}}}}), "OpenAPIV3Schema 'definitions' is not supported"),
            (json!({"maxItems": "3"}), "OpenAPIV3Schema 'maxItems' must be an integer"),
            (json!(3), "OpenAPIV3Schema 'schema' must be an object"),
        ];
        for (schema, expected) in table {
            assert_eq!(Structural::read(&schema).unwrap_err().to_string(), expected, "{schema}");
        }
        assert!(Structural::read(&json!({"id": "", "definitions": {}})).is_ok(), "empty is unset");
    }

    #[test]
    fn a_schema_that_is_nested_too_deep_is_refused() {
        let mut schema = json!({});
        for _ in 0..=MAX_DEPTH {
            schema = json!({"items": schema});
        }
        assert_eq!(Structural::read(&schema), Err(ReadError::TooDeep));
    }
}

//! A schema as JSON again.

use crate::structural::{Additional, Extensions, Structural, ValidationRule, ValueValidation};
use serde_json::{Map, Value};

impl Structural {
    /// This schema as JSON, with everything that it says.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = Writer(Map::new());
        out.text("description", &self.description);
        out.text("title", &self.title);
        out.text("type", &self.kind);
        out.flag("nullable", self.nullable);
        out.some("default", self.default.clone());
        out.some("externalDocs", self.external_docs.clone());
        out.some("example", self.example.clone());
        out.some("items", self.items.as_ref().map(|items| items.to_json()));
        if !self.properties.is_empty() {
            let properties = self.properties.iter().map(|(name, schema)| (name.clone(), schema.to_json()));
            out.some("properties", Some(Value::Object(properties.collect())));
        }
        out.some(
            "additionalProperties",
            self.additional.as_ref().map(|additional| match additional {
                Additional::Any(any) => Value::Bool(*any),
                Additional::Schema(schema) => schema.to_json(),
            }),
        );
        out.extensions(&self.extensions);
        out.values(&self.values);
        Value::Object(out.0)
    }

    /// Calls `visit` for this node and every node below it on the spine, children first.
    pub(crate) fn each_on_spine(&mut self, visit: &mut impl FnMut(&mut Self)) {
        if let Some(items) = &mut self.items {
            items.each_on_spine(visit);
        }
        if let Some(Additional::Schema(schema)) = &mut self.additional {
            schema.each_on_spine(visit);
        }
        self.properties.values_mut().for_each(|property| property.each_on_spine(visit));
        visit(self);
    }
}

/// Writes what is set.
struct Writer(Map<String, Value>);

impl Writer {
    fn some(&mut self, part: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(part.to_owned(), value.into());
        }
    }

    fn text(&mut self, part: &str, text: &str) {
        self.some(part, (!text.is_empty()).then_some(text));
    }

    fn flag(&mut self, part: &str, flag: bool) {
        self.some(part, flag.then_some(true));
    }

    fn list(&mut self, part: &str, list: Vec<Value>) {
        self.some(part, (!list.is_empty()).then_some(list));
    }

    fn schemas(&mut self, part: &str, schemas: &[Structural]) {
        self.list(part, schemas.iter().map(Structural::to_json).collect());
    }

    fn values(&mut self, values: &ValueValidation) {
        self.text("format", &values.format);
        self.some("maximum", values.maximum.clone());
        self.flag("exclusiveMaximum", values.exclusive_maximum);
        self.some("minimum", values.minimum.clone());
        self.flag("exclusiveMinimum", values.exclusive_minimum);
        self.some("multipleOf", values.multiple_of.clone());
        self.some("maxLength", values.max_length);
        self.some("minLength", values.min_length);
        self.some("pattern", values.pattern.as_ref().map(|pattern| pattern.source()));
        self.some("maxItems", values.max_items);
        self.some("minItems", values.min_items);
        self.flag("uniqueItems", values.unique_items);
        self.some("maxProperties", values.max_properties);
        self.some("minProperties", values.min_properties);
        self.list("enum", values.enumeration.clone());
        self.list("required", values.required.iter().map(|name| name.as_str().into()).collect());
        self.schemas("allOf", &values.all_of);
        self.schemas("anyOf", &values.any_of);
        self.schemas("oneOf", &values.one_of);
        self.some("not", values.not.as_ref().map(|schema| schema.to_json()));
    }

    fn extensions(&mut self, extensions: &Extensions) {
        self.flag("x-kubernetes-preserve-unknown-fields", extensions.preserve_unknown_fields);
        self.flag("x-kubernetes-embedded-resource", extensions.embedded_resource);
        self.flag("x-kubernetes-int-or-string", extensions.int_or_string);
        self.some("x-kubernetes-list-type", extensions.list_type.clone());
        let keys = extensions.list_map_keys.iter().map(|key| key.as_str().into());
        self.list("x-kubernetes-list-map-keys", keys.collect());
        self.some("x-kubernetes-map-type", extensions.map_type.clone());
        self.list("x-kubernetes-validations", extensions.validations.iter().map(ValidationRule::to_json).collect());
    }
}

impl ValidationRule {
    /// This rule as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = Writer(Map::new());
        out.some("rule", Some(self.rule.as_str()));
        out.text("message", &self.message);
        out.text("messageExpression", &self.message_expression);
        out.some("reason", self.reason.clone());
        out.text("fieldPath", &self.field_path);
        out.some("optionalOldSelf", self.optional_old_self);
        Value::Object(out.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_survives_reading_and_writing() {
        let schema = json!({
            "type": "object", "description": "d", "externalDocs": {"url": "u"}, "required": ["a"], "maxProperties": 3,
            "properties": {
                "a": {"type": "string", "enum": ["x", null], "pattern": "^x", "nullable": true, "default": "x",
                    "not": {"maxLength": 1}},
                "m": {"type": "object", "additionalProperties": {"type": "number", "maximum": 1.5, "exclusiveMaximum": true},
                    "x-kubernetes-map-type": "atomic"},
                "l": {"type": "array", "items": {"type": "integer", "format": "int32"}, "x-kubernetes-list-type": "set"},
            },
            "x-kubernetes-validations": [{"rule": "r", "message": "m", "reason": "FieldValueInvalid", "fieldPath": ".a",
                "optionalOldSelf": true, "messageExpression": "e"}],
        });
        assert_eq!(Structural::read(&schema).unwrap().to_json(), schema);
    }
}

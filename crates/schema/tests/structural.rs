//! What a definition's schema may be, with upstream's fields and texts.

use orrery_schema::structural::Structural;
use serde_json::{Value, json};

fn problems(schema: &Value) -> Vec<String> {
    match Structural::parse_at(schema, "s") {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect(),
    }
}

/// `schema` as the property `x` of a root.
fn at_x(schema: &Value) -> Value {
    json!({"type": "object", "properties": {"x": schema}})
}

#[test]
fn structural_schemas_are_accepted() {
    let table = [
        json!({"type": "object"}),
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        at_x(&json!({"x-kubernetes-int-or-string": true})),
        at_x(&json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})),
        at_x(&json!({"x-kubernetes-int-or-string": true, "allOf": [
            {"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^a"}]})),
        at_x(
            &json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
        ),
        at_x(&json!({"type": "string", "nullable": true, "default": "a", "maxLength": 3})),
        at_x(
            &json!({"type": "array", "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
        ),
        json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {
            "name": {"type": "string", "pattern": "^a"}}}}}),
    ];
    for schema in table {
        assert_eq!(problems(&schema), Vec::<String>::new(), "{schema}");
    }
}

#[test]
fn what_is_not_structural_is_refused_in_the_words_of_upstream() {
    let table: Vec<(Value, &[&str])> = vec![
        (json!({}), &["s.type: Required value: must not be empty at the root"]),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            &["s.type: Invalid value: \"array\": must be object at the root"],
        ),
        (json!({"type": "object", "nullable": true}), &["s.nullable: Forbidden: nullable cannot be true at the root"]),
        (
            json!({"type": "object", "additionalProperties": true}),
            &["s.additionalProperties: Forbidden: must not be used at the root"],
        ),
        (at_x(&json!({})), &["s.properties[x].type: Required value: must not be empty for specified object fields"]),
        (at_x(&json!({"type": "array"})), &["s.properties[x].items: Required value: must be specified"]),
        (
            at_x(&json!({"type": "array", "items": {}})),
            &["s.properties[x].items.type: Required value: must not be empty for specified array items"],
        ),
        (
            at_x(&json!({"type": "text"})),
            &[
                "s.properties[x].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \
               \"number\", \"object\", \"string\"",
            ],
        ),
        (
            at_x(&json!({"type": "string", "anyOf": [{"type": "string", "description": "d"}]})),
            &[
                "s.properties[x].anyOf[0].description: Forbidden: must be empty to be structural",
                "s.properties[x].anyOf[0].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"y": {"minLength": 1}}}]}),
            &["s.properties[y]: Required value: because it is defined in s.anyOf[0].properties[y]"],
        ),
        (
            json!({"type": "object", "not": {"properties": {"metadata": {}}}, "properties": {"metadata": {"type": "object"}}}),
            &["s.not.properties[metadata]: Forbidden: must not be specified in a nested context"],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &[
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata \
               is implicitly specified",
            ],
        ),
        (
            json!({"type": "object", "properties": {"kind": {"type": "integer"}}}),
            &["s.properties[kind].type: Invalid value: \"integer\": must be string"],
        ),
        (
            at_x(
                &json!({"type": "object", "properties": {"y": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            ),
            &[
                "s.properties[x].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            at_x(&json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})),
            &[
                "s.properties[x].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes \
               quadratic",
            ],
        ),
        (at_x(&json!({"$ref": "#/x"})), &["s.properties[x].$ref: Forbidden: $ref is not supported"]),
        (
            at_x(&json!({"type": "null"})),
            &[
                "s.properties[x].type: Unsupported value: \"null\": supported values: \"array\", \"boolean\", \"integer\", \
               \"number\", \"object\", \"string\"",
                "s.properties[x].type: Forbidden: type cannot be set to null, use nullable as an alternative",
            ],
        ),
        (
            at_x(&json!({"type": "string", "pattern": "("})),
            &[
                "s.properties[x].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing \
               regexp: missing closing ): `(`",
            ],
        ),
        (
            at_x(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false})),
            &["s.properties[x].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
        ),
        (
            at_x(&json!({"type": "object", "x-kubernetes-embedded-resource": true})),
            &[
                "s.properties[x].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true \
               without x-kubernetes-preserve-unknown-fields",
            ],
        ),
        (
            at_x(&json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true})),
            &["s.properties[x].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if \
               x-kubernetes-int-or-string is true"],
        ),
        (
            at_x(&json!({"type": "object", "x-kubernetes-map-type": "odd"})),
            &[
                "s.properties[x].x-kubernetes-map-type: Unsupported value: \"odd\": supported values: \"atomic\", \"granular\"",
            ],
        ),
    ];
    for (schema, expected) in table {
        assert_eq!(problems(&schema), expected, "{schema}");
    }
}

#[test]
fn lists_that_are_sets_or_maps_have_rules_of_their_own() {
    let item = json!({"type": "object", "properties": {"k": {"type": "string"}}});
    let map = |keys: Value, items: &Value| {
        at_x(
            &json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items}),
        )
    };
    let table: Vec<(Value, &[&str])> = vec![
        (
            map(json!(["k"]), &item),
            &[
                "s.properties[x].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, \
               so it must have a default or be a required property",
            ],
        ),
        (
            map(json!([]), &item),
            &[
                "s.properties[x].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ],
        ),
        (
            map(json!(["z"]), &item),
            &["s.properties[x].x-kubernetes-list-map-keys: Invalid value: [\"z\"]: entries must all be names of item \
               properties"],
        ),
        (
            map(json!(["k"]), &json!({"type": "string"})),
            &["s.properties[x].items.type: Invalid value: \"string\": must be object if parent array's \
               x-kubernetes-list-type is map"],
        ),
        (
            at_x(&json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}})),
            &[
                "s.properties[x].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with \
               x-kubernetes-list-type=set",
            ],
        ),
        (
            at_x(
                &json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "nullable": true}}),
            ),
            &["s.properties[x].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"],
        ),
        (
            at_x(&json!({"type": "string", "x-kubernetes-list-type": "set"})),
            &["s.properties[x].type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified"],
        ),
        (
            at_x(&json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["k"]})),
            &["s.properties[x].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is \
               non-empty"],
        ),
    ];
    for (schema, expected) in table {
        assert_eq!(problems(&schema), expected, "{schema}");
    }
}

#[test]
fn defaults_are_valid_and_name_known_fields_only() {
    let table: Vec<(Value, &[&str])> = vec![
        (
            at_x(&json!({"type": "string", "default": 3})),
            &["s.properties[x].default: Invalid value: \"integer\": s.properties[x].default in body"],
        ),
        (
            at_x(&json!({"type": "object", "default": {"odd": 1}})),
            &["s.properties[x].default: Invalid value: {\"odd\":1}: must not have unknown fields"],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {
            "name": {"type": "string", "default": "n"}}}}}),
            &["s.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"],
        ),
        (
            at_x(&json!({"type": "integer", "maximum": 3, "default": 4})),
            &["s.properties[x].default: Invalid value: 4:  in body should be less than or equal to 3"],
        ),
    ];
    for (schema, expected) in table {
        let found = problems(&schema);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            let (field, _) = expected.split_once(':').unwrap();
            assert!(found.starts_with(field), "{found} / {expected}");
        }
    }
}

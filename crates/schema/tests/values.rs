//! Values against schemas: pruning, defaulting, validation, ratcheting, in the words of upstream.

use orrery_schema::resource::Schema;
use orrery_schema::structural::Structural;
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema(spec: &Value) -> Schema {
    let whole = json!({"type": "object", "properties": {"spec": spec}});
    Schema::new(Structural::read(&whole).expect("a readable schema"))
}

fn problems(spec: &Value, value: &Value) -> Vec<String> {
    let outcome = schema(spec).validate(&json!({ "spec": value }), None);
    outcome.errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
}

#[test]
fn values_are_refused_in_the_words_of_upstream() {
    let object = json!({"type": "object", "required": ["name"], "maxProperties": 2, "properties": {
        "name": {"type": "string"}, "replicas": {"type": "integer", "maximum": 10, "minimum": 1}}});
    let table: Vec<(Value, Value, &[&str])> = vec![
        (
            object.clone(),
            json!({"name": "a", "replicas": 11}),
            &["spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10"],
        ),
        (
            object.clone(),
            json!({"name": "a", "replicas": 0}),
            &["spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1"],
        ),
        (object.clone(), json!({"replicas": 1}), &["spec.name: Required value"]),
        (
            object.clone(),
            json!({"name": "a", "replicas": "1"}),
            &["spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\""],
        ),
        (
            object.clone(),
            json!({"name": null}),
            &["spec.name: Invalid value: \"null\": spec.name in body must be of type string: \"null\""],
        ),
        (object, json!({"name": "a", "b": 1, "c": 1}), &["spec: Too many: 3: must have at most 2 items"]),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("x"),
            &["spec: Unsupported value: \"x\": supported values: \"a\", \"b\""],
        ),
        (
            json!({"type": "number", "exclusiveMaximum": true, "maximum": 1.5}),
            json!(1.5),
            &["spec: Invalid value: 1.5: spec in body should be less than 1.5"],
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(4),
            &["spec: Invalid value: 4: spec in body should be a multiple of 3"],
        ),
        (json!({"type": "number", "multipleOf": 0.1}), json!(0.3), &[]),
        (json!({"type": "string", "maxLength": 2}), json!("äöü"), &["spec: Too long: may not be more than 2 bytes"]),
        (
            json!({"type": "string", "minLength": 2}),
            json!("ä"),
            &["spec: Invalid value: \"ä\": spec in body should be at least 2 chars long"],
        ),
        (
            json!({"type": "string", "pattern": "^a"}),
            json!("b"),
            &["spec: Invalid value: \"b\": spec in body should match '^a'"],
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("b"),
            &["spec: Invalid value: \"b\": spec in body must be of type ipv4: \"b\""],
        ),
        (json!({"type": "string", "format": "unheard-of"}), json!("b"), &[]),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "integer"}}),
            json!([1, "a"]),
            &[
                "spec[1]: Invalid value: \"string\": spec[1] in body must be of type integer: \"string\"",
                "spec: Too many: 2: must have at most 1 item",
            ],
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "integer"}}),
            json!([]),
            &["spec: Invalid value: 0: spec in body should have at least 1 items"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"a.b": "x"}),
            &["spec.a.b: Invalid value: \"string\": spec.a.b in body must be of type integer: \"string\""],
        ),
        (
            json!({"type": "integer", "oneOf": [{"minimum": 1}, {"minimum": 2}]}),
            json!(3),
            &[
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            json!({"type": "integer", "anyOf": [{"minimum": 4}, {"minimum": 5}]}),
            json!(3),
            &[
                "<nil>: Invalid value: \"\": \"spec\" must validate at least one schema (anyOf)",
                "spec: Invalid value: 3: spec in body should be greater than or equal to 4",
            ],
        ),
        (
            json!({"type": "integer", "allOf": [{"minimum": 4}]}),
            json!(3),
            &[
                "spec: Invalid value: 3: spec in body should be greater than or equal to 4",
                "<nil>: Invalid value: \"\": \"spec\" must validate all the schemas (allOf). None validated",
            ],
        ),
        (
            json!({"type": "integer", "not": {"minimum": 2}}),
            json!(3),
            &["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"],
        ),
        (json!({"type": "integer"}), json!(1.0), &[]),
        (
            json!({"type": "integer"}),
            json!(1.5),
            &["spec: Invalid value: \"number\": spec in body must be of type integer: \"number\""],
        ),
        (json!({"type": "number"}), json!(1), &[]),
        (json!({"type": "string", "nullable": true}), json!(null), &[]),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
            json!(["a", "a"]),
            &["spec[1]: Duplicate value: \"a\""],
        ),
    ];
    for (spec, value, expected) in table {
        assert_eq!(problems(&spec, &value), expected, "{value} against {spec}");
    }
}

#[test]
fn what_is_unchanged_does_not_fail_on_an_update() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "integer", "maximum": 1},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        "atomic": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "integer", "maximum": 1}},
    }});
    let schema = schema(&spec);
    let old = json!({"spec": {"a": 5, "list": [{"k": "x", "v": 5}], "atomic": [5]}});
    // new spec, fields that fail
    let table = [
        (json!({"a": 5, "list": [{"k": "x", "v": 5}], "atomic": [5]}), vec![]),
        (json!({"a": 5, "list": [{"k": "y", "v": 0}, {"k": "x", "v": 5}]}), vec![]),
        (json!({"a": 6}), vec!["spec.a"]),
        (json!({"a": 1, "list": [{"k": "z", "v": 5}]}), vec!["spec.list[0].v"]),
        (json!({"a": 1, "atomic": [5, 0]}), vec!["spec.atomic[0]"]),
    ];
    for (new, expected) in table {
        let outcome = schema.validate(&json!({"spec": new}), Some(&old));
        let fields: Vec<&str> = outcome.errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, expected, "{new}");
    }
    assert_eq!(schema.validate(&old, Some(&old)).warnings.len(), 3);
}

#[test]
fn a_request_is_brought_into_shape_and_tells_what_it_loses() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "string", "default": "A"}, "b": {"type": "string"}}});
    let mut object = json!({"apiVersion": "x/v1", "kind": "K", "metadata": {"name": "n", "odd": 1},
        "spec": {"b": null, "c": {"d": 1}}});
    let dropped = schema(&spec).admit(&mut object).unwrap();
    assert_eq!(dropped, ["unknown field \"metadata.odd\"", "unknown field \"spec.c\""]);
    assert_eq!(object, json!({"apiVersion": "x/v1", "kind": "K", "metadata": {"name": "n"}, "spec": {"a": "A"}}));
}

/// Any JSON, not too large.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]|metadata|kind", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A schema of any kind, mostly structural.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "maxLength": 2})),
        Just(json!({"type": "string", "default": "a", "pattern": "^[a-c]*$"})),
        Just(json!({"type": "integer", "default": 1, "minimum": 0})),
        Just(json!({"type": "number", "nullable": true, "multipleOf": 0.5})),
        Just(json!({"type": "boolean"})),
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
        Just(json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), prop::sample::select(vec!["atomic", "set", "map"])).prop_map(|(items, list_type)| json!({
                "type": "array", "items": items, "x-kubernetes-list-type": list_type,
                "x-kubernetes-list-map-keys": ["a"], "maxItems": 2})),
            inner.clone().prop_map(|any| json!({"type": "object", "additionalProperties": any, "default": {}})),
            prop::collection::btree_map("[a-c]|metadata", inner.clone(), 0..4)
                .prop_map(|map| json!({"type": "object", "properties": map, "required": ["a"]})),
            prop::collection::vec(inner, 1..3)
                .prop_map(|of| json!({"type": "object", "anyOf": of, "oneOf": of, "allOf": of})),
        ]
    })
}

proptest! {
    #[test]
    fn shaping_an_object_again_changes_nothing(spec in any_schema(), value in any_value()) {
        let schema = schema(&spec);
        let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": value});
        schema.restore(&mut object);
        let mut again = object.clone();
        prop_assert_eq!(schema.structural().prune(&mut again), Vec::<String>::new());
        prop_assert_eq!(&again, &object);
        schema.apply_defaults(&mut again);
        prop_assert_eq!(&again, &object);
        schema.restore(&mut again);
        prop_assert_eq!(&again, &object);
        prop_assert_eq!(schema.validate(&object, None), schema.validate(&again, None));
        prop_assert!(schema.validate(&object, Some(&object)).errors.iter().all(|e| !e.message.contains("in body")));
    }

    #[test]
    fn any_schema_is_read_or_refused_without_panic(schema in any_value(), value in any_value()) {
        let _ = Structural::parse(&schema);
        if let Ok(schema) = Structural::read(&schema) {
            let _ = schema.check("");
            let schema = Schema::new(schema);
            let mut value = value;
            schema.restore(&mut value);
            let _ = schema.validate(&value, None);
        }
    }
}

//! `x-kubernetes-validations`: when a definition is written, and on its objects.

use orrery_schema::resource::Schema;
use orrery_schema::structural::Structural;
use serde_json::{Value, json};

fn root(spec: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

/// What is wrong with a definition.
fn mistakes(spec: &Value) -> Vec<String> {
    match Structural::parse_at(&root(spec), "s") {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect(),
    }
}

/// What is wrong with an object.
fn problems(spec: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Structural::parse(&root(spec)).unwrap_or_else(|e| panic!("{spec}: {e:?}"));
    let old = old.map(|old| json!({ "spec": old }));
    let outcome = Schema::new(schema).validate(&json!({ "spec": new }), old.as_ref());
    outcome.errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
}

fn with_rule(rule: &Value) -> Value {
    json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string", "maxLength": 20},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "tags": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}},
    }})
}

#[test]
fn rules_are_compiled_when_a_definition_is_written() {
    const RULE: &str = "s.properties[spec].x-kubernetes-validations[0].rule";
    let table: Vec<(Value, String)> = vec![
        (json!({"rule": "self.min <= self.max"}), String::new()),
        (json!({"rule": "self.mn <= self.max"}), format!(
            "{RULE}: Invalid value: {{\"rule\":\"self.mn <= self.max\"}}: compilation failed: ERROR: <input>:1:5: undefined \
             field 'mn'\n | self.mn <= self.max\n | ....^")),
        (json!({"rule": "self.min"}), format!(
            "{RULE}: Invalid value: {{\"rule\":\"self.min\"}}: cel expression must evaluate to a bool")),
        (json!({"rule": "self.any.x == 1"}), format!(
            "{RULE}: Invalid value: {{\"rule\":\"self.any.x == 1\"}}: compilation failed: ERROR: <input>:1:5: undefined field \
             'any'\n | self.any.x == 1\n | ....^")),
        (json!({"rule": "object.min == 1"}), format!(
            "{RULE}: Invalid value: {{\"rule\":\"object.min == 1\"}}: compilation failed: ERROR: <input>:1:1: undeclared \
             reference to 'object' (in container '')\n | object.min == 1\n | ^")),
        (json!({"rule": " "}), format!("{RULE}: Required value: rule is not specified")),
        (json!({"rule": "true", "message": " "}),
            "s.properties[spec].x-kubernetes-validations[0].message: Invalid value: \" \": message must be non-empty if \
             specified".into()),
        (json!({"rule": "true ||\nfalse"}),
            "s.properties[spec].x-kubernetes-validations[0].message: Required value: message must be specified if rule \
             contains line breaks".into()),
        (json!({"rule": "true", "reason": "Odd"}),
            "s.properties[spec].x-kubernetes-validations[0].reason: Unsupported value: \"Odd\": supported values: \
             \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"".into()),
        (json!({"rule": "true", "fieldPath": ".odd"}),
            "s.properties[spec].x-kubernetes-validations[0].fieldPath: Invalid value: \".odd\": fieldPath must be a valid \
             path".into()),
        (json!({"rule": "true", "messageExpression": "1"}),
            "s.properties[spec].x-kubernetes-validations[0].messageExpression: Invalid value: \
             {\"messageExpression\":\"1\",\"rule\":\"true\"}: messageExpression must evaluate to a string".into()),
        (json!({"rule": "true", "optionalOldSelf": true}),
            "s.properties[spec].x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf \
             is not used in rule".into()),
        (json!({"rule": "self.min == oldSelf.min"}), String::new()),
        (json!({"rule": "oldSelf.hasValue() || true", "optionalOldSelf": true}), String::new()),
    ];
    for (rule, expected) in table {
        assert_eq!(mistakes(&with_rule(&rule)).join("; "), expected, "{rule}");
    }
}

#[test]
fn a_rule_that_can_not_be_afforded_is_refused() {
    let open = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}}},
        "x-kubernetes-validations": [{"rule": "self.list.all(x, self.list.all(y, x == y))"}]});
    let found = mistakes(&open);
    assert!(found[0].starts_with(
        "s.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more \
         than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings \
         are declared)"), "{found:?}");
    assert!(found.iter().any(|e| e.contains("for entire OpenAPIv3 schema exceeds budget")), "{found:?}");
    // A cheap rule becomes expensive where there may be any number of values.
    let repeated = json!({"type": "array", "items": {"type": "object", "properties": {"s": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.s.matches('^a.*b.*c$')"}]}});
    assert!(mistakes(&repeated)[0].contains("estimated rule cost exceeds budget"));
    let bounded = json!({"type": "array", "maxItems": 10, "items": {"type": "object",
        "properties": {"s": {"type": "string", "maxLength": 100}},
        "x-kubernetes-validations": [{"rule": "self.s.matches('^a.*b.*c$')"}]}});
    assert_eq!(mistakes(&bounded), Vec::<String>::new());
}

#[test]
fn old_self_needs_a_value_that_can_be_found() {
    let item = json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "may not shrink"}]});
    let atomic = json!({"type": "array", "maxItems": 10, "items": item});
    assert_eq!(
        mistakes(&atomic),
        ["s.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: \"self.v >= \
        oldSelf.v\": oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[spec]"]
    );
    let map = json!({"type": "array", "maxItems": 10, "items": item, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"]});
    let old = json!([{"k": "a", "v": 3}, {"k": "b", "v": 3}]);
    let new = json!([{"k": "b", "v": 2}, {"k": "c", "v": 0}, {"k": "a", "v": 4}]);
    assert_eq!(problems(&map, &new, Some(&old)), ["spec[0]: Invalid value: \"object\": may not shrink"]);
    assert_eq!(problems(&map, &new, None), Vec::<String>::new());
}

#[test]
fn rules_fail_with_their_message_reason_and_field() {
    let values = json!({"min": 5, "max": 3, "name": "n"});
    let table = [
        (json!({"rule": "self.min <= self.max"}), "spec: Invalid value: \"object\": failed rule: self.min <= self.max"),
        (
            json!({"rule": "self.min <= self.max", "message": " too small "}),
            "spec: Invalid value: \"object\": too small",
        ),
        (
            json!({"rule": "self.min <= self.max", "messageExpression": "'%d > %d'.format([self.min, self.max])"}),
            "spec: Invalid value: \"object\": 5 > 3",
        ),
        (
            json!({"rule": "self.min <= self.max", "messageExpression": "''", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.min <= self.max", "messageExpression": "'a' + string(1 / (self.max - 3))", "message": "m"}),
            "spec: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "self.min <= self.max", "reason": "FieldValueForbidden", "message": "no", "fieldPath": ".min"}),
            "spec.min: Forbidden: no",
        ),
        (
            json!({"rule": "self.min <= self.max", "reason": "FieldValueRequired", "message": "no"}),
            "spec: Required value: no",
        ),
        (json!({"rule": "self.min <= self.max", "reason": "FieldValueDuplicate"}), "spec: Duplicate value: \"object\""),
        (
            json!({"rule": "self.tags.size() > 1"}),
            "spec: Invalid value: \"object\": no such key: tags evaluating rule: self.tags.size() > 1",
        ),
        (
            json!({"rule": "self.min / (self.max - 3) == 0"}),
            "spec: Invalid value: \"object\": division by zero evaluating rule: self.min / (self.max - 3) == 0",
        ),
    ];
    for (rule, expected) in table {
        assert_eq!(problems(&with_rule(&rule), &values, None), [expected], "{rule}");
    }
    let scalar = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 3"}]});
    assert_eq!(problems(&scalar, &json!(1), None), ["spec: Invalid value: \"integer\": failed rule: self > 3"]);
}

#[test]
fn a_transition_rule_sees_the_value_before() {
    let immutable = with_rule(&json!({"rule": "self.name == oldSelf.name", "message": "name is immutable"}));
    let (a, b) = (json!({"name": "a"}), json!({"name": "b"}));
    assert_eq!(problems(&immutable, &a, None), Vec::<String>::new());
    assert_eq!(problems(&immutable, &b, Some(&a)), ["spec: Invalid value: \"object\": name is immutable"]);
    let once = with_rule(&json!({"rule": "!oldSelf.hasValue() || oldSelf.value().name == self.name", "message": "m",
        "optionalOldSelf": true}));
    assert_eq!(problems(&once, &a, None), Vec::<String>::new());
    assert_eq!(problems(&once, &b, Some(&a)), ["spec: Invalid value: \"object\": m"]);
}

#[test]
fn what_is_unchanged_does_not_fail_its_rules() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 3"}]}, "b": {"type": "integer"}}});
    let old = json!({"a": 5, "b": 1});
    assert_eq!(problems(&spec, &json!({"a": 5, "b": 2}), Some(&old)), Vec::<String>::new());
    assert_eq!(
        problems(&spec, &json!({"a": 6, "b": 1}), Some(&old)),
        ["spec.a: Invalid value: \"integer\": failed rule: self < 3"]
    );
    assert_eq!(problems(&spec, &old, None), ["spec.a: Invalid value: \"integer\": failed rule: self < 3"]);
}

#[test]
fn rules_are_not_run_on_values_of_another_shape() {
    let found = problems(&with_rule(&json!({"rule": "self.min > 0"})), &json!({"min": "text"}), None);
    assert_eq!(found[0], "spec.min: Invalid value: \"string\": spec.min in body must be of type integer: \"string\"");
    assert!(
        found[1].starts_with("<nil>: Invalid value: \"null\": some validation rules were not checked"),
        "{found:?}"
    );
}

#[test]
fn an_object_that_uses_up_its_budget_is_refused() {
    // What a definition written today could not have: a rule from before the limits, or an estimate that was wrong.
    let schema = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer"}}},
        "x-kubernetes-validations": [{"rule": "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c >= 0)))"},
            {"rule": "false"}]});
    let schema = Schema::new(Structural::read(&schema).unwrap());
    let list: Vec<i32> = (0..1000).collect();
    let errors = schema.validate(&json!({ "list": list }), None).errors;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].message.contains(
        "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds \
         limit for rule"), "{errors:?}");
    assert_eq!(errors[0].field, "<nil>");
}

#[test]
fn a_default_obeys_the_rules() {
    let spec = json!({"type": "object", "default": {"a": 5}, "x-kubernetes-validations": [{"rule": "self.a < 3"}],
        "properties": {"a": {"type": "integer"}}});
    assert_eq!(mistakes(&spec), ["s.properties[spec].default: Invalid value: \"object\": failed rule: self.a < 3"]);
}

//! Policies from their spec to what they decide.

use super::*;
use crate::structural::Structural;
use orrery_cel::{Authorizer, Budget, Check, Decision as Answer};
use serde_json::{Value, json};
use std::sync::Arc;

/// Allows what is done to deployments.
#[derive(Debug)]
struct Deployments;

impl Authorizer for Deployments {
    fn decide(&self, check: &Check) -> Answer {
        let allowed = check.resource == "deployments" || check.path.as_deref() == Some("/healthz");
        Answer { allowed, reason: format!("{} {}/{}", check.verb, check.namespace, check.name), error: String::new() }
    }
}

fn request() -> Value {
    json!({
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "name": "web", "namespace": "n", "operation": "CREATE", "dryRun": false,
        "userInfo": {"username": "alice", "groups": ["dev"], "extra": {"k": ["v"]}},
    })
}

fn object() -> Value {
    json!({"metadata": {"name": "web", "labels": {"env": "prod"}}, "spec": {"replicas": 7, "containers": [{"image": "a:1"}]}})
}

fn input<'a>(object: &'a Value, request: &'a Value, params: &'a Value, namespace: &'a Value) -> Input<'a> {
    let authorizer: Option<&dyn Authorizer> = Some(&Deployments);
    Input {
        object: Some(object),
        old_object: None,
        request,
        params: Some(params),
        namespace: Some(namespace),
        authorizer,
    }
}

fn namespace() -> Value {
    json!({"metadata": {"name": "n", "labels": {"tier": "gold"}, "creationTimestamp": "2020-01-02T03:04:05Z"}})
}

fn decide(spec: &Value) -> ValidatingOutcome {
    let (object, request, params, namespace) = (object(), request(), json!({"max": 5}), namespace());
    ValidatingPolicy::compile(spec).evaluate(&input(&object, &request, &params, &namespace), &mut Budget::default())
}

#[test]
fn a_validating_policy_decides_with_all_its_variables() {
    let spec = json!({
        "paramKind": {"apiVersion": "x/v1", "kind": "Limit"},
        "matchConditions": [{"name": "not-system", "expression": "!request.userInfo.username.startsWith('system:')"}],
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "excess", "expression": "variables.replicas - params.max"},
        ],
        "validations": [
            {"expression": "variables.excess <= 0", "messageExpression": "'too many by ' + string(variables.excess)"},
            {"expression": "object.metadata.labels.env != 'prod'", "message": "no prod", "reason": "Forbidden"},
            {"expression": "object.spec.containers.all(c, c.image.contains(':'))"},
            {"expression": "namespaceObject.metadata.labels.tier == 'gold' && oldObject == null"},
            {"expression": "namespaceObject.metadata.creationTimestamp.getFullYear() == 2020"},
            {"expression": "authorizer.group('apps').resource('deployments').namespace('n').check('create').allowed()"},
            {"expression": "authorizer.requestResource.check('delete').reason() == 'delete n/web'"},
            {"expression": "authorizer.path('/healthz').check('get').allowed() && !authorizer.path('/x').check('get').allowed()"},
            {"expression": "authorizer.serviceAccount('n', 'sa').group('').resource('pods').check('get').allowed()"},
            {"expression": "object.spec.missing == 1"},
        ],
        "auditAnnotations": [
            {"key": "replicas", "valueExpression": "'has ' + string(variables.replicas)"},
            {"key": "none", "valueExpression": "null"},
        ],
    });
    assert_eq!(check_validating(&spec, "spec"), Vec::new());
    let outcome = decide(&spec);
    let denials: Vec<String> = outcome.denials.iter().map(|d| format!("{}: {}", d.reason, d.message)).collect();
    let expected = [
        "Invalid: too many by 2",
        "Forbidden: no prod",
        "Invalid: failed expression: authorizer.serviceAccount('n', 'sa').group('').resource('pods').check('get').allowed()",
        "Invalid: expression 'object.spec.missing == 1' resulted in error: no such key: missing",
    ];
    assert_eq!(denials, expected);
    assert_eq!(outcome.annotations, [AuditAnnotation { key: "replicas".into(), value: Ok("has 7".into()) }]);
}

#[test]
fn a_failure_is_ignored_when_the_policy_says_so() {
    let spec = |policy: &str| json!({"failurePolicy": policy, "validations": [{"expression": "object.missing == 1"}]});
    assert_eq!(decide(&spec("Ignore")).denials, []);
    assert!(decide(&spec("Fail")).denials[0].is_error);
}

#[test]
fn one_false_condition_decides_whatever_the_others_are() {
    let (object, request, params, namespace) = (object(), request(), Value::Null, namespace());
    let input = input(&object, &request, &params, &namespace);
    let compiler = Compiler::new(Options { authorizer: true, ..Options::default() });
    let matches = |expressions: &[&str], policy| {
        let list: Vec<Value> = expressions.iter().map(|e| json!({"name": "c", "expression": e})).collect();
        MatchConditions::compile(&list.into(), &compiler).matches(&input, policy)
    };
    assert_eq!(matches(&[], FailurePolicy::Fail), Ok(true));
    assert_eq!(matches(&["request.operation == 'CREATE'"], FailurePolicy::Fail), Ok(true));
    assert_eq!(matches(&["object.missing == 1", "false"], FailurePolicy::Fail), Ok(false));
    assert_eq!(matches(&["object.missing == 1", "true"], FailurePolicy::Ignore), Ok(false));
    let error = "expression 'object.missing == 1' resulted in error: no such key: missing";
    assert_eq!(matches(&["object.missing == 1", "true"], FailurePolicy::Fail), Err(error.to_owned()));
}

#[test]
fn a_mutating_policy_makes_patches() {
    let spec = json!({
        "variables": [{"name": "tier", "expression": "namespaceObject.metadata.labels.tier"}],
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                "Object{metadata: Object.metadata{labels: Object.metadata.labels{tier: variables.tier}}, \
                 spec: Object.spec{?replicas: object.spec.replicas > 5 ? optional.of(5) : optional.none(), \
                 containers: [Object.spec.containers{image: 'b'}]}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression":
                "[JSONPatch{op: 'test', path: '/spec/replicas', value: 7}, \
                 JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}, \
                 JSONPatch{op: 'copy', from: '/spec/a', path: '/spec/b'}, \
                 JSONPatch{op: 'add', path: '/spec', value: Object.spec{replicas: 1}}]"}},
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                "Object{spec: Object.wrong{replicas: 1}}"}},
        ],
    });
    assert_eq!(check_mutating(&spec, "spec"), Vec::new());
    let policy = MutatingPolicy::compile(&spec);
    let (object, request, params, namespace) = (object(), request(), Value::Null, namespace());
    let input = input(&object, &request, &params, &namespace);
    assert_eq!(policy.matches(&input), Ok(true));
    let patch = |index| policy.patch(index, &input, &mut Budget::default());
    let applied =
        json!({"metadata": {"labels": {"tier": "gold"}}, "spec": {"replicas": 5, "containers": [{"image": "b"}]}});
    assert_eq!(patch(0), Ok(Patch::Apply(applied)));
    let operations = json!([
        {"op": "test", "path": "/spec/replicas", "value": 7},
        {"op": "add", "path": "/metadata/labels/a~1b", "value": "x"},
        {"op": "copy", "from": "/spec/a", "path": "/spec/b"},
        {"op": "add", "path": "/spec", "value": {"replicas": 1}},
    ]);
    assert_eq!(patch(1), Ok(Patch::Json(operations)));
    let why = "type mismatch: unexpected type name \"Object.wrong\", expected \"Object.spec\", which matches field name path \
        from root Object type";
    assert_eq!(patch(2), Err(why.to_owned()));
}

#[test]
fn expressions_are_checked_when_a_policy_is_written() {
    let texts = |errors: Vec<orrery_machinery::status::FieldError>| -> Vec<String> {
        errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    };
    let validating = json!({
        "variables": [{"name": "1a", "expression": "1"}, {"name": "v", "expression": "foo"}, {"name": "v", "expression": ""}],
        "matchConditions": [{"name": "", "expression": "1"}],
        "validations": [
            {"expression": "object.x"},
            {"expression": "true ||\nfalse", "reason": "Odd", "messageExpression": "authorizer.path('/x').check('get').reason()"},
            {"expression": ""},
            {"expression": "params.x == 1", "message": " "},
        ],
        "auditAnnotations": [{"key": "k", "valueExpression": "1"}],
    });
    let expected = [
        "spec.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got int",
        "spec.matchConditions[0].name: Required value",
        "spec.variables[0].name: Invalid value: \"1a\": name is not a valid CEL identifier",
        "spec.variables[1].expression: Invalid value: \"foo\": compilation failed: ERROR: <input>:1:1: undeclared reference to \
         'foo' (in container '')\n | foo\n | ^",
        "spec.variables[2].name: Duplicate value: \"v\"",
        "spec.variables[2].expression: Required value: expression is not specified",
        "spec.validations[0].expression: Invalid value: \"object.x\": must evaluate to bool but got dyn",
        "spec.validations[1].message: Required value: message must be specified if expression contains line breaks",
        "spec.validations[1].messageExpression: Invalid value: \"authorizer.path('/x').check('get').reason()\": compilation \
         failed: ERROR: <input>:1:1: undeclared reference to 'authorizer' (in container '')\n | \
         authorizer.path('/x').check('get').reason()\n | ^",
        "spec.validations[1].reason: Unsupported value: \"Odd\": supported values: \"Forbidden\", \"Invalid\", \
         \"RequestEntityTooLarge\", \"Unauthorized\"",
        "spec.validations[2].expression: Required value: expression is not specified",
        "spec.validations[3].expression: Invalid value: \"params.x == 1\": compilation failed: ERROR: <input>:1:1: undeclared \
         reference to 'params' (in container '')\n | params.x == 1\n | ^",
        "spec.validations[3].message: Invalid value: \" \": message must be non-empty if specified",
        "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null_type] but got int",
    ];
    assert_eq!(texts(check_validating(&validating, "spec")), expected);
    let mutating = json!({"mutations": [
        {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 1}]"}},
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object.spec{}"}},
        {"patchType": "Odd"},
    ]});
    let expected = [
        "spec.mutations[0].jsonPatch.expression: Invalid value: \"[JSONPatch{op: 1}]\": compilation failed: ERROR: \
         <input>:1:14: expected type of field 'op' is 'string' but provided type is 'int'\n | [JSONPatch{op: 1}]\n | \
         .............^",
        "spec.mutations[1].applyConfiguration.expression: Invalid value: \"Object.spec{}\": must evaluate to Object but got \
         Object.spec",
        "spec.mutations[2].patchType: Unsupported value: \"Odd\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
    ];
    assert_eq!(texts(check_mutating(&mutating, "spec")), expected);
}

#[test]
fn a_policy_is_checked_against_the_types_it_applies_to() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "replicas": {"type": "integer"}}}}});
    let decl = Arc::new(Structural::read(&schema).unwrap().decl(true).unwrap());
    let kinds = [TypedKind { group: "apps".into(), version: "v1".into(), kind: "Deployment".into(), decl }];
    let spec = json!({
        "variables": [{"name": "r", "expression": "object.spec.replicas"}],
        "validations": [
            {"expression": "object.spec.replicas > 1 && variables.r < 5"},
            {"expression": "object.spec.replica > 1"},
            {"expression": "variables.r == 'a'", "messageExpression": "object.x"},
        ],
    });
    let found = type_check(&spec, &kinds, None);
    let expected = [
        json!({"fieldRef": "spec.validations[1].expression", "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:12: \
            undefined field 'replica'\n | object.spec.replica > 1\n | ...........^\n"}),
        json!({"fieldRef": "spec.validations[2].expression", "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:13: found \
            no matching overload for '_==_' applied to '(int, string)'\n | variables.r == 'a'\n | ............^\n"}),
        json!({"fieldRef": "spec.validations[2].messageExpression", "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:7: \
            undefined field 'x'\n | object.x\n | ......^\n"}),
    ];
    assert_eq!(found, expected);
}

#[test]
fn variables_are_evaluated_once_and_never_without_bound() {
    let doubling: Vec<Value> = (0..60)
        .map(|i| {
            let source = if i == 0 { "[1, 2]".to_owned() } else { format!("variables.v{0} + variables.v{0}", i - 1) };
            json!({"name": format!("v{i}"), "expression": source})
        })
        .collect();
    let spec = json!({"variables": doubling, "validations": [{"expression": "variables.v59.size() > 0"}]});
    let outcome = decide(&spec);
    assert!(outcome.denials[0].message.contains("cost"), "{outcome:?}");
    // A chain of variables is as deep as its expressions together.
    let chain: Vec<Value> = (0..500)
        .map(|i| {
            let source = if i == 0 { "1".to_owned() } else { format!("(variables.v{} + 1)", i - 1) };
            json!({"name": format!("v{i}"), "expression": source})
        })
        .collect();
    let spec = json!({"variables": chain, "validations": [
        {"expression": "variables.v50 == 51"}, {"expression": "variables.v499 == 500"}]});
    let outcome = decide(&spec);
    assert_eq!(outcome.denials.len(), 1);
    assert!(outcome.denials[0].message.contains("nested too deep"), "{outcome:?}");
    // Each variable has a limit of its own, and all have the budget.
    let work = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]";
    let heavy = format!("{work}.all(a, {work}.all(b, {work}.all(c, {work}.all(d, a + b + c + d > 0))))");
    let variables: Vec<Value> = (0..3).map(|i| json!({"name": format!("v{i}"), "expression": heavy})).collect();
    let spec = json!({"variables": variables, "validations": [{"expression": "variables.v0 && variables.v1 && variables.v2"}]});
    let message = &decide(&spec).denials.first().map(|d| d.message.clone()).unwrap_or_default();
    assert!(message.contains("cost limit exceeded"), "{message}");
}

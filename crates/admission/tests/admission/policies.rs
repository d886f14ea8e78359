use crate::support::{GROUP, Hooks, MAPS, Server, map};
use orrery_apiserver::User;
use serde_json::{Value, json};

fn rules() -> Value {
    json!({"resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["configmaps"]}]})
}

fn policy(kind: &str, name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    if spec["matchConstraints"].is_null() {
        spec["matchConstraints"] = rules();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

async fn validating(server: &Server, spec: &Value, binding: &Value) {
    let body = policy("ValidatingAdmissionPolicy", "p", spec);
    server.register("validatingadmissionpolicies", &body).await;
    let mut spec = binding.clone();
    spec["policyName"] = "p".into();
    let body = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": spec});
    server.register("validatingadmissionpolicybindings", &body).await;
}

async fn mutating(server: &Server, name: &str, spec: &Value) {
    let mut spec = spec.clone();
    if spec["reinvocationPolicy"].is_null() {
        spec["reinvocationPolicy"] = "Never".into();
    }
    let body = policy("MutatingAdmissionPolicy", name, &spec);
    server.register("mutatingadmissionpolicies", &body).await;
    let body = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name}});
    server.register("mutatingadmissionpolicybindings", &body).await;
}

#[tokio::test]
async fn a_policy_refuses_what_its_expressions_do_not_hold_for() {
    let server = Server::start().await;
    let spec = json!({
        "variables": [{"name": "size", "expression": "size(object.data)"}],
        "validations": [{"expression": "variables.size < 2", "messageExpression": "'too many: ' + string(variables.size)"}],
    });
    validating(&server, &spec, &json!({"validationActions": ["Deny"]})).await;
    server.post(MAPS, &map("a")).await.expect(201);
    let mut large = map("b");
    large["data"] = json!({"a": "1", "b": "2"});
    let answer = server.post(MAPS, &large).await;
    let said = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many: 2";
    assert_eq!(answer.message(), format!("configmaps \"b\" is forbidden: {said}"));
    assert_eq!((answer.status, &answer.body["reason"]), (422, &json!("Invalid")));
    assert_eq!(answer.body["details"]["causes"], json!([{"message": said}]));
    let answer = server.call("PATCH", &format!("{MAPS}/a"), Some(&json!({"data": {"b": "2"}}))).await;
    assert_eq!(answer.status, 422);
}

#[tokio::test]
async fn a_policy_warns_where_its_binding_says_so_and_has_the_reason_it_names() {
    for (action, status) in [("Warn", 201), ("Audit", 201), ("Deny", 403)] {
        let server = Server::start().await;
        let spec = json!({"validations": [{"expression": "false", "message": "never", "reason": "Forbidden"}]});
        validating(&server, &spec, &json!({"validationActions": [action]})).await;
        let answer = server.post(MAPS, &map("a")).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let warned = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': never";
        assert_eq!(answer.warnings().iter().any(|warning| warning.contains(warned)), action == "Warn");
    }
}

#[tokio::test]
async fn a_policy_is_set_by_parameters() {
    for (missing, status) in [("Deny", 422), ("Allow", 201)] {
        let server = Server::start().await;
        let spec = json!({
            "paramKind": {"apiVersion": "v1", "kind": "Secret"},
            "validations": [{"expression": "object.metadata.name in params.data"}],
        });
        let reference = json!({"name": "names", "parameterNotFoundAction": missing});
        validating(&server, &spec, &json!({"validationActions": ["Deny"], "paramRef": reference})).await;
        let answer = server.post(MAPS, &map("a")).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(status == 201 || answer.message().contains("no params found for policy binding"), "{answer:?}");
        let names =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "names"}, "stringData": {"b": "x"}});
        server.post("/api/v1/namespaces/default/secrets", &names).await.expect(201);
        server.post(MAPS, &map("b")).await.expect(201);
        let answer = server.post(MAPS, &map("c")).await;
        let expected = "failed expression: object.metadata.name in params.data";
        assert!(answer.message().ends_with(expected), "{answer:?}");
    }
}

#[tokio::test]
async fn a_failing_expression_refuses_unless_failures_are_ignored() {
    for (policy, status) in [("Fail", 422), ("Ignore", 201)] {
        let server = Server::start().await;
        let spec = json!({"failurePolicy": policy, "validations": [{"expression": "object.data.missing == '1'"}]});
        validating(&server, &spec, &json!({"validationActions": ["Deny"]})).await;
        assert_eq!(server.post(MAPS, &map("a")).await.status, status);
    }
}

#[tokio::test]
async fn a_policy_changes_objects_by_fields_and_by_operations() {
    let server = Server::start().await;
    let fields = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{metadata: Object.metadata{labels: {'env': namespaceObject.metadata.name}}}"}});
    let operations = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        "[JSONPatch{op: 'add', path: '/data/b', value: object.metadata.labels['env']}]"}});
    mutating(&server, "m", &json!({"mutations": [fields, operations]})).await;
    let mut sent = map("a");
    sent["metadata"]["labels"] = json!({"own": "x"});
    let made = server.post(MAPS, &sent).await.expect(201);
    assert_eq!(made["metadata"]["labels"], json!({"own": "x", "env": "default"}));
    assert_eq!(made["data"], json!({"a": "1", "b": "default"}));
}

#[tokio::test]
async fn a_changing_policy_is_asked_again_when_a_later_one_changed_the_object() {
    for (again, expected) in [("Never", "1"), ("IfNeeded", "2")] {
        let server = Server::start().await;
        let set = |expression: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
        let copy = set("[JSONPatch{op: 'add', path: '/data/copy', value: object.data.a}]");
        let raise = set("[JSONPatch{op: 'replace', path: '/data/a', value: '2'}]");
        mutating(&server, "a", &json!({"mutations": [copy], "reinvocationPolicy": again})).await;
        mutating(&server, "b", &json!({"mutations": [raise]})).await;
        let made = server.post(MAPS, &map("x")).await.expect(201);
        assert_eq!(made["data"], json!({"a": "2", "copy": expected}));
    }
}

#[tokio::test]
async fn a_change_that_fails_refuses_the_request() {
    let server = Server::start().await;
    let patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        "[JSONPatch{op: 'remove', path: '/data/missing'}]"}});
    mutating(&server, "m", &json!({"mutations": [patch]})).await;
    let answer = server.post(MAPS, &map("a")).await;
    assert!(answer.message().starts_with("policy 'm' with binding 'm' denied request: "), "{answer:?}");
    assert_eq!((answer.status, &answer.body["reason"]), (403, &json!("Invalid")));
}

#[tokio::test]
async fn a_policy_whose_expressions_do_not_compile_is_refused() {
    let server = Server::start().await;
    let spec = json!({"validations": [{"expression": "object.metadata.name"}, {"expression": "1 +"}]});
    let body = policy("ValidatingAdmissionPolicy", "p", &spec);
    let answer = server.post(&format!("{GROUP}/validatingadmissionpolicies"), &body).await;
    assert_eq!(answer.status, 422);
    let fields: Vec<&str> = answer.body["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    assert!(fields.contains(&"spec.validations[1].expression"), "{fields:?}");
}

#[tokio::test]
async fn a_policy_goes_by_what_the_requester_may_do() {
    let server = Server::start().await;
    let secrets = "authorizer.group('').resource('secrets').namespace('default').name('x')";
    let spec = json!({"validations": [{
        "expression": format!("{secrets}.check('get').allowed() && authorizer.requestResource.check('create').allowed()"),
        "message": "who writes here may read the secret",
    }], "matchConditions": [{"name": "known", "expression": "!authorizer.path('/healthz').check('get').errored()"}]});
    validating(&server, &spec, &json!({"validationActions": ["Deny"]})).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let role = json!({"metadata": {"name": "makers"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]});
    server.post(rbac, &role).await.expect(201);
    let binding = json!({"metadata": {"name": "makers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "makers"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]});
    server.post(&rbac.replace("roles", "rolebindings"), &binding).await.expect(201);
    server.post(MAPS, &map("a")).await.expect(201);
    let jane = || User::new("jane", ["people"]);
    let mut answer = server.call_as(jane(), "POST", MAPS, Some(&map("b"))).await;
    // Roles are followed: the new one may not be known at once.
    for _ in 0..500 {
        if !answer.message().contains("cannot create resource") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        answer = server.call_as(jane(), "POST", MAPS, Some(&map("b"))).await;
    }
    assert!(answer.message().contains("denied request: who writes here may read the secret"), "{answer:?}");
    assert_eq!(answer.status, 422);
}

#[tokio::test]
async fn a_policy_sees_what_a_webhook_changed_if_it_wants_to() {
    for (again, expected) in [("Never", Value::Null), ("IfNeeded", json!("1"))] {
        let server = Server::start().await;
        let hooks = Hooks::start(&server).await;
        let expression =
            "has(object.data.count) ? [JSONPatch{op: 'add', path: '/data/seen', value: object.data.count}] : []";
        let patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
        mutating(&server, "m", &json!({"mutations": [patch], "reinvocationPolicy": again})).await;
        let hook = hooks.configuration("MutatingWebhookConfiguration", "count", "count", &json!({}));
        server.register("mutatingwebhookconfigurations", &hook).await;
        let made = server.post(MAPS, &map("x")).await.expect(201);
        assert_eq!((&made["data"]["count"], &made["data"]["seen"]), (&json!("1"), &expected), "{again}");
        assert_eq!(hooks.asked().len(), 1);
    }
}

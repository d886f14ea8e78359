use crate::support::{GROUP, Hooks, MAPS, Server, map};
use serde_json::{Value, json};

const MUTATING: &str = "mutatingwebhookconfigurations";
const VALIDATING: &str = "validatingwebhookconfigurations";

async fn with(validating: &[(&str, &str, Value)], mutating: &[(&str, &str, Value)]) -> (Server, Hooks) {
    let server = Server::start().await;
    let hooks = Hooks::start(&server).await;
    for (name, what, changes) in validating {
        let body = hooks.configuration("ValidatingWebhookConfiguration", name, what, changes);
        server.register(VALIDATING, &body).await;
    }
    for (name, what, changes) in mutating {
        let body = hooks.configuration("MutatingWebhookConfiguration", name, what, changes);
        server.register(MUTATING, &body).await;
    }
    (server, hooks)
}

#[tokio::test]
async fn a_webhook_refuses_what_it_is_asked_about_and_nothing_else() {
    let (server, hooks) = with(&[("no", "deny", json!({}))], &[]).await;
    let answer = server.post(MAPS, &map("a")).await;
    assert_eq!(answer.message(), "admission webhook \"no.example.org\" denied the request: not today");
    assert_eq!((answer.status, &answer.body["reason"]), (422, &json!("Invalid")));
    let asked = hooks.asked();
    let request = &asked[0];
    assert_eq!(asked.len(), 1);
    assert_eq!(request["operation"], "CREATE");
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(request["requestResource"], request["resource"]);
    assert_eq!((&request["name"], &request["namespace"]), (&json!("a"), &json!("default")));
    assert_eq!(request["userInfo"]["username"], "admin");
    assert_eq!(request["object"]["data"]["a"], "1");
    assert_eq!((&request["oldObject"], &request["dryRun"]), (&json!(null), &json!(false)));
    assert_eq!(request["options"]["kind"], "CreateOptions");
    server.call("GET", &format!("{MAPS}/a"), None).await.expect(404);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    server.post("/api/v1/namespaces/default/secrets", &secret).await.expect(201);
    assert_eq!(hooks.asked().len(), 0);
}

#[tokio::test]
async fn a_refusal_without_a_status_is_403() {
    let (server, _hooks) = with(&[("no", "silent", json!({}))], &[]).await;
    let answer = server.post(MAPS, &map("a")).await;
    assert_eq!(answer.message(), "admission webhook \"no.example.org\" denied the request without explanation");
    assert_eq!((answer.status, &answer.body["reason"]), (403, &json!("Forbidden")));
}

#[tokio::test]
async fn warnings_are_passed_on_and_deletions_show_the_old_object() {
    let (server, hooks) = with(&[("w", "warn", json!({}))], &[]).await;
    let answer = server.post(MAPS, &map("a")).await;
    assert!(answer.warnings().iter().any(|warning| warning.contains("beware")), "{answer:?}");
    hooks.asked();
    server.call("DELETE", &format!("{MAPS}/a"), None).await.expect(200);
    let asked = hooks.asked();
    assert_eq!(asked[0]["operation"], "DELETE");
    assert_eq!((&asked[0]["object"], &asked[0]["oldObject"]["data"]["a"]), (&json!(null), &json!("1")));
}

#[tokio::test]
async fn what_a_webhook_changes_is_stored_and_seen_by_those_after_it() {
    let (server, hooks) = with(&[("z", "allow", json!({}))], &[("a", "label", json!({}))]).await;
    let made = server.post(MAPS, &map("a")).await.expect(201);
    assert_eq!(made["metadata"]["labels"], json!({"by": "hook"}));
    let asked = hooks.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1]["object"]["metadata"]["labels"], json!({"by": "hook"}));
    let stored = server.call("GET", &format!("{MAPS}/a"), None).await.expect(200);
    assert_eq!(stored["metadata"]["labels"], json!({"by": "hook"}));
}

#[tokio::test]
async fn a_webhook_is_asked_once_more_when_a_later_one_changed_the_object() {
    for (policy, expected) in [("Never", "1"), ("IfNeeded", "2")] {
        let count = json!({"reinvocationPolicy": policy});
        let (server, _hooks) = with(&[], &[("a", "count", count), ("b", "label", json!({}))]).await;
        let made = server.post(MAPS, &map("a")).await.expect(201);
        assert_eq!(made["data"]["count"], expected, "{policy}");
    }
}

#[tokio::test]
async fn a_webhook_that_hangs_is_given_up_after_its_time() {
    let hang = json!({"timeoutSeconds": 1});
    let (server, hooks) = with(&[("h", "hang", hang)], &[]).await;
    let answer = server.post(MAPS, &map("a")).await;
    assert_eq!((answer.status, &answer.body["reason"]), (500, &json!("InternalError")));
    let url = format!("https://{}/hang?timeout=1s", hooks.address);
    let expected = format!(
        "Internal error occurred: failed calling webhook \"h.example.org\": failed to call webhook: Post {url:?}: \
         context deadline exceeded"
    );
    assert_eq!(answer.message(), expected);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_decides_by_its_failure_policy() {
    // A port on which nobody listens any more.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = json!({"url": format!("https://{free}/x")});
    for (what, client, why) in [
        ("x", Some(down), format!("dial tcp {free}: connect: connection refused")),
        ("other", None, "received invalid webhook response: expected response.uid=".to_owned()),
        ("broken", None, "an error on the server (\"oops\") has prevented the request from succeeding".to_owned()),
    ] {
        for (policy, status) in [("Fail", 500), ("Ignore", 201)] {
            let mut changes = json!({"failurePolicy": policy});
            if let Some(client) = &client {
                changes["clientConfig"] = client.clone();
            }
            let (server, _hooks) = with(&[("d", what, changes.clone())], &[("m", what, changes)]).await;
            let answer = server.post(MAPS, &map("a")).await;
            assert_eq!(answer.status, status, "{what} {policy}: {answer:?}");
            assert!(status == 201 || answer.message().contains(&why), "{}", answer.message());
        }
    }
}

#[tokio::test]
async fn a_server_with_another_authority_is_not_trusted() {
    let server = Server::start().await;
    let (hooks, others) = (Hooks::start(&server).await, Server::start().await);
    let other = Hooks::start(&others).await;
    let client = json!({"url": format!("https://{}/allow", other.address)});
    let body = hooks.configuration("ValidatingWebhookConfiguration", "v", "allow", &json!({"clientConfig": client}));
    server.register(VALIDATING, &body).await;
    let answer = server.post(MAPS, &map("a")).await;
    assert_eq!(answer.status, 500);
    assert!(answer.message().contains("tls: "), "{}", answer.message());
    assert_eq!(other.asked().len(), 0);
}

#[tokio::test]
async fn a_dry_run_asks_and_says_so() {
    let (server, hooks) = with(&[("v", "allow", json!({}))], &[]).await;
    server.post(&format!("{MAPS}?dryRun=All"), &map("a")).await.expect(201);
    assert_eq!(hooks.asked()[0]["dryRun"], true);
    server.call("GET", &format!("{MAPS}/a"), None).await.expect(404);
}

#[tokio::test]
async fn selectors_and_conditions_decide_whether_a_webhook_is_asked() {
    let picks = json!({"matchLabels": {"team": "blue"}});
    let named_b = json!([{"name": "b", "expression": "object.metadata.name == 'b' && request.operation == 'CREATE'"}]);
    let (server, hooks) = with(
        &[
            ("c", "allow", json!({"matchConditions": named_b})),
            ("o", "allow", json!({"objectSelector": picks})),
            ("n", "allow", json!({"namespaceSelector": picks})),
        ],
        &[],
    )
    .await;
    server.post(MAPS, &map("a")).await.expect(201);
    assert_eq!(hooks.asked().len(), 0);
    server.post(MAPS, &map("b")).await.expect(201);
    assert_eq!(hooks.asked().len(), 1);
    let mut labelled = map("c");
    labelled["metadata"]["labels"] = json!({"team": "blue"});
    server.post(MAPS, &labelled).await.expect(201);
    assert_eq!(hooks.asked().len(), 1);
    let label = json!({"metadata": {"labels": {"team": "blue"}}});
    server.call("PATCH", "/api/v1/namespaces/default", Some(&label)).await.expect(200);
    server.post(MAPS, &map("d")).await.expect(201);
    assert_eq!(hooks.asked().len(), 1);
}

#[tokio::test]
async fn a_condition_that_does_not_compile_is_refused_when_it_is_written() {
    let server = Server::start().await;
    let hooks = Hooks::start(&server).await;
    let wrong = json!({"matchConditions": [{"name": "c", "expression": "object."}]});
    let body = hooks.configuration("ValidatingWebhookConfiguration", "v", "allow", &wrong);
    let answer = server.post(&format!("{GROUP}/{VALIDATING}"), &body).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.body["details"]["causes"][0]["field"], "webhooks[0].matchConditions[0].expression");
}

#[tokio::test]
async fn a_webhook_behind_a_service_is_found_at_a_ready_endpoint() {
    let client = json!({"service": {"name": "hooks", "namespace": "default", "path": "/deny"}});
    let (server, hooks) = with(&[("s", "", json!({"clientConfig": client}))], &[]).await;
    let answer = server.post(MAPS, &map("a")).await;
    assert!(answer.message().contains("Post \"https://hooks.default.svc:443/deny?timeout=30s\": service \"hooks\""));
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hooks"},
        "spec": {"ports": [{"port": 443, "targetPort": hooks.address.port()}]}});
    server.post("/api/v1/namespaces/default/services", &service).await.expect(201);
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "hooks-1", "labels": {"kubernetes.io/service-name": "hooks"}},
        "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"name": "", "port": hooks.address.port()}]});
    server.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &slice).await.expect(201);
    // Loopback addresses are no endpoints, says validation; the server of the test has no other.
    server.edit_stored("endpointslices", "192.0.2.1", "127.0.0.1").await;
    let answer = server.post(MAPS, &map("a")).await;
    assert_eq!(answer.message(), "admission webhook \"s.example.org\" denied the request: not today");
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/hooks-1";
    server.call("DELETE", path, None).await.expect(200);
    let answer = server.post(MAPS, &map("a")).await;
    assert!(answer.message().ends_with("no endpoints available for service \"hooks\""), "{}", answer.message());
}

#[tokio::test]
async fn connections_are_asked_about_with_their_options() {
    let rules =
        json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}]);
    let rules = json!({"rules": rules});
    for (validating, mutating) in [(vec![("v", "deny", rules.clone())], vec![]), (vec![], vec![("m", "deny", rules)])] {
        let (server, hooks) = with(&validating, &mutating).await;
        let answer = server.call("POST", "/api/v1/namespaces/default/pods/a/exec?command=ls&stdout=true", None).await;
        assert!(answer.message().contains("denied the request: not today"), "{answer:?}");
        let asked = hooks.asked();
        let request = &asked[0];
        assert_eq!((&request["operation"], &request["subResource"]), (&json!("CONNECT"), &json!("exec")));
        assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "PodExecOptions"}));
        assert_eq!((&request["name"], &request["object"]["command"]), (&json!("a"), &json!(["ls"])));
    }
}

#[tokio::test]
async fn webhooks_have_no_say_in_webhooks_and_policies() {
    let all = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]});
    let (server, hooks) = with(&[("no", "deny", all.clone())], &[]).await;
    server.call("DELETE", &format!("{GROUP}/{VALIDATING}/no"), None).await.expect(200);
    assert_eq!(hooks.asked().len(), 0);
    server.post(MAPS, &map("a")).await.expect(201);
}

//! The roles that every cluster has, and those that gather the rules of others.

use crate::support::{Server, admin};
use orrery_apiserver::{ApiServer, Config, User};
use serde_json::{Value, json};
use std::sync::Arc;

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

async fn rules(server: &Server, role: &str) -> String {
    server.get(&format!("{ROLES}/{role}")).await.expect(200)["rules"].to_string()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// A server over the same store, as after a restart.
async fn restarted(server: &Server) -> Arc<ApiServer> {
    let mut config = Config::new(orrery_kinds::resources(), Arc::clone(&server.store) as _);
    config.bootstrap = true;
    ApiServer::new(config).await.unwrap()
}

#[tokio::test]
async fn roles_hold_from_the_start_what_they_gather_and_follow_labels() {
    let server = Server::start().await;
    for role in ["view", "edit", "admin"] {
        assert!(rules(&server, role).await.contains("pods/log"), "{role}");
    }
    assert!(!rules(&server, "view").await.contains("secrets"));
    let widgets = json!({"metadata": {"name": "widgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["get"], "apiGroups": ["test.io"], "resources": ["widgets"]}]});
    server.post(ROLES, &widgets).await.expect(201);
    until("admin holds widgets", async || rules(&server, "admin").await.contains("widgets")).await;
    server.delete(&format!("{ROLES}/widgets")).await.expect(200);
    until("view lost widgets", async || !rules(&server, "view").await.contains("widgets")).await;
    until("admin lost widgets", async || !rules(&server, "admin").await.contains("widgets")).await;
    assert!(rules(&server, "admin").await.contains("pods/log"));
}

#[tokio::test]
async fn a_restart_brings_back_what_is_missing_and_keeps_what_was_added() {
    let server = Server::start().await;
    let dns = format!("{ROLES}/system:kube-dns");
    let own = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}]);
    server.patch(&dns, &json!({"rules": own})).await.expect(200);
    server.delete(&format!("{BINDINGS}/system:discovery")).await.expect(200);
    let monitoring = format!("{ROLES}/system:monitoring");
    let keep =
        json!({"rules": [], "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    server.patch(&monitoring, &keep).await.expect(200);
    let _second = restarted(&server).await;
    let rules = server.get(&dns).await.expect(200)["rules"].clone();
    assert_eq!(rules[0], own[0]);
    assert!(rules.to_string().contains("endpoints"), "{rules}");
    server.get(&format!("{BINDINGS}/system:discovery")).await.expect(200);
    assert_eq!(server.get(&monitoring).await.expect(200)["rules"], json!([]));
}

#[tokio::test]
async fn a_role_that_is_not_there_can_not_be_bound_and_gathering_needs_everything() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let bind = |namespace: &str, role: &str, user: &str| {
        let body = json!({"metadata": {"name": format!("{role}-{user}")}, "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}});
        (format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"), body)
    };
    let (path, body) = bind("demo", "admin", "alice");
    server.post(&path, &body).await.expect(201);
    let alice = User::new("alice", Vec::<String>::new());
    let (path, body) = bind("demo", "later", "eve");
    until("alice is known", async || server.call(&alice, "POST", &path, Some(&body)).await.status == 404).await;
    // Whoever may do anything with roles but does not hold everything may not gather.
    let rules = json!([{"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
        "resourceNames": ["none"]}, {"verbs": ["create", "update"], "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"]}]);
    server.post(ROLES, &json!({"metadata": {"name": "roles"}, "rules": rules})).await.expect(201);
    let binding = json!({"metadata": {"name": "roles"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "roles"}, "subjects": [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}]});
    server.post(BINDINGS, &binding).await.expect(201);
    let plain = json!({"metadata": {"name": "mine"}, "rules": []});
    until("alice may", async || server.call(&alice, "POST", ROLES, Some(&plain)).await.status != 403).await;
    let gathers =
        json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {}}]}});
    let refused = server.call(&alice, "POST", ROLES, Some(&gathers)).await;
    assert_eq!(refused.status, 403);
    server.call(&admin(), "POST", ROLES, Some(&gathers)).await.expect(201);
    let wider: Value = json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    let mut mine = server.get(&format!("{ROLES}/mine")).await.expect(200);
    mine["rules"] = wider["rules"].clone();
    server.call(&alice, "PUT", &format!("{ROLES}/mine"), Some(&mine)).await.expect(403);
}

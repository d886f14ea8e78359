//! Who may do what.

use crate::support::{Server, admin, config_map, pod};
use orrery_apiserver::User;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn user(name: &str) -> User {
    User::new(name, Vec::<String>::new())
}

fn node(name: &str) -> User {
    User::new(format!("system:node:{name}"), ["system:nodes"])
}

async fn bind(server: &Server, namespace: &str, role: &str, user: &str) {
    let body = json!({"metadata": {"name": format!("{role}-{user}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    server.post(&format!("{RBAC}/namespaces/{namespace}/rolebindings"), &body).await.expect(201);
}

/// Waits until the server's view of roles and bindings holds what was written before.
async fn settled(server: &Server, user: &User, verb: &str, resource: &str, namespace: &str) {
    for _ in 0..1000 {
        if can(server, user, verb, resource, namespace).await {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("{user:?} is never allowed to {verb} {resource}");
}

async fn can(server: &Server, user: &User, verb: &str, resource: &str, namespace: &str) -> bool {
    let review = json!({"spec": {"resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    server.call(user, "POST", path, Some(&review)).await.expect(201)["status"]["allowed"] == true
}

#[tokio::test]
async fn a_user_may_do_what_bindings_say_and_nothing_else() {
    let server = Server::start().await;
    server.namespace("demo").await;
    server.namespace("other").await;
    bind(&server, "demo", "edit", "alice").await;
    bind(&server, "demo", "view", "bob").await;
    let (alice, bob) = (user("alice"), user("bob"));
    settled(&server, &bob, "get", "configmaps", "demo").await;
    let maps = "/api/v1/namespaces/demo/configmaps";
    server.call(&alice, "POST", maps, Some(&config_map("a", &json!({})))).await.expect(201);
    let table = [
        (&bob, "GET", "/api/v1/namespaces/demo/configmaps/a", 200),
        (&bob, "GET", "/api/v1/namespaces/demo/secrets", 403),
        (&alice, "GET", "/api/v1/namespaces/demo/secrets", 200),
        (&bob, "DELETE", "/api/v1/namespaces/demo/configmaps/a", 403),
        (&bob, "GET", "/api/v1/namespaces/demo", 200),
        (&bob, "GET", "/api/v1/namespaces/other/configmaps", 403),
        (&bob, "GET", "/api/v1/configmaps", 403),
        (&bob, "GET", "/api/v1/nodes", 403),
        (&bob, "GET", "/version", 200),
        (&bob, "GET", "/metrics", 403),
    ];
    for (user, method, path, status) in table {
        let answer = server.call(user, method, path, None).await;
        assert_eq!(answer.status, status, "{user:?} {method} {path}: {}", answer.message());
    }
    let refused = server.call(&bob, "DELETE", "/api/v1/namespaces/demo/configmaps/a", None).await;
    assert_eq!(
        refused.message(),
        "configmaps \"a\" is forbidden: User \"bob\" cannot delete resource \"configmaps\" in API group \"\" in the \
         namespace \"demo\""
    );
}

#[tokio::test]
async fn whoever_may_only_read_may_not_run_commands() {
    let server = Server::start().await;
    server.namespace("demo").await;
    let role = json!({"metadata": {"name": "reader"}, "rules": [
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/exec"]}]});
    server.post(&format!("{RBAC}/clusterroles"), &role).await.expect(201);
    bind(&server, "demo", "reader", "bob").await;
    let bob = user("bob");
    settled(&server, &bob, "get", "pods", "demo").await;
    let answer = server.call(&bob, "GET", "/api/v1/namespaces/demo/pods/a/exec?command=ls&stdout=1", None).await;
    assert_eq!(answer.status, 403);
    assert!(answer.message().contains("cannot create resource \"pods/exec\""), "{}", answer.message());
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let server = Server::start().await;
    server.namespace("demo").await;
    bind(&server, "demo", "admin", "alice").await;
    let alice = user("alice");
    settled(&server, &alice, "get", "configmaps", "demo").await;
    let role = |rules: Value| json!({"metadata": {"name": "r"}, "rules": rules});
    let roles = format!("{RBAC}/namespaces/demo/roles");
    let too_much = role(json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]));
    let refused = server.call(&alice, "POST", &roles, Some(&too_much)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.message().contains("permissions not currently held"), "{}", refused.message());
    let held = role(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]));
    server.call(&alice, "POST", &roles, Some(&held)).await.expect(201);
    server.call(&alice, "PUT", &format!("{roles}/r"), Some(&too_much)).await.expect(403);
    let binding = |role: &str| {
        json!({"metadata": {"name": role}, "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    let bindings = format!("{RBAC}/namespaces/demo/rolebindings");
    server.call(&alice, "POST", &bindings, Some(&binding("cluster-admin"))).await.expect(403);
    server.call(&alice, "POST", &bindings, Some(&binding("view"))).await.expect(201);
}

#[tokio::test]
async fn reviews_answer_truthfully() {
    let server = Server::start().await;
    server.namespace("demo").await;
    bind(&server, "demo", "view", "bob").await;
    let bob = user("bob");
    settled(&server, &bob, "list", "pods", "demo").await;
    assert!(!can(&server, &bob, "delete", "pods", "demo").await);
    assert!(can(&server, &admin(), "delete", "pods", "demo").await);
    let post = |user: User, path: &'static str, body: Value| {
        let server = &server;
        async move { server.call(&user, "POST", path, Some(&body)).await }
    };
    let other = json!({"spec": {"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "demo"}}});
    // RBAC gives no reason: `kubectl auth can-i` is to say `no`, and nothing else.
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let forbidden = json!({"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}});
    let answer = post(bob.clone(), own, forbidden).await.expect(201);
    assert_eq!(answer["status"], json!({"allowed": false}));
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(post(admin(), path, other.clone()).await.expect(201)["status"]["allowed"], true);
    post(bob.clone(), path, other).await.expect(403);
    let rules = json!({"spec": {"namespace": "demo"}});
    let rules = post(bob.clone(), "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await.expect(201);
    assert!(rules["status"]["resourceRules"].as_array().unwrap().len() > 3, "{rules:#}");
    let me = post(bob, "/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.expect(201);
    assert_eq!(me["status"]["userInfo"], json!({"username": "bob", "groups": ["system:authenticated"]}));
}

#[tokio::test]
async fn a_kubelet_sees_its_own_node_and_pods_and_what_they_refer_to() {
    let server = Server::start().await;
    server.namespace("demo").await;
    for name in ["used", "unused"] {
        server.post("/api/v1/namespaces/demo/configmaps", &config_map(name, &json!({}))).await.expect(201);
    }
    let mut own = pod("own");
    own["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "used"}}]);
    server.bound_pod("demo", &own, "n1").await;
    server.bound_pod("demo", &pod("foreign"), "n2").await;
    let kubelet = node("n1");
    let table = [
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403),
        ("GET", "/api/v1/pods", 403),
        ("GET", "/api/v1/namespaces/demo/pods/own", 200),
        ("GET", "/api/v1/namespaces/demo/pods/foreign", 403),
        ("GET", "/api/v1/namespaces/demo/pods/gone", 404),
        ("GET", "/api/v1/namespaces/demo/configmaps/used", 200),
        ("GET", "/api/v1/namespaces/demo/configmaps/unused", 403),
        ("GET", "/api/v1/namespaces/demo/configmaps", 403),
        ("GET", "/api/v1/namespaces/demo/secrets/any", 403),
        ("DELETE", "/api/v1/namespaces/demo/pods/foreign", 403),
        ("DELETE", "/api/v1/nodes/n1", 403),
        ("DELETE", "/api/v1/namespaces/demo", 403),
    ];
    for (method, path, status) in table {
        let answer = server.call(&kubelet, method, path, None).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.message());
    }
}

#[tokio::test]
async fn a_kubelet_writes_only_its_own_node_lease_and_pod_status() {
    let server = Server::start().await;
    server.namespace("demo").await;
    server.bound_pod("demo", &pod("own"), "n1").await;
    server.bound_pod("demo", &pod("foreign"), "n2").await;
    let kubelet = node("n1");
    let send = |method: &'static str, path: &'static str, body: Value| {
        let (server, kubelet) = (&server, &kubelet);
        async move { server.call(kubelet, method, path, Some(&body)).await }
    };
    let nodes = "/api/v1/nodes";
    let made =
        send("POST", nodes, json!({"metadata": {"name": "n1"}, "status": {"phase": "Running"}})).await.expect(201);
    assert_eq!(made["status"]["phase"], "Running");
    send("POST", nodes, json!({"metadata": {"name": "n2"}})).await.expect(403);
    send("PATCH", "/api/v1/nodes/n1/status", json!({"status": {"phase": "Terminated"}})).await.expect(200);
    let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    send("PATCH", "/api/v1/nodes/n1", taint).await.expect(403);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    send("POST", leases, json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}})).await.expect(201);
    send("POST", leases, json!({"metadata": {"name": "n2"}, "spec": {}})).await.expect(403);
    let running = json!({"status": {"phase": "Running"}});
    send("PATCH", "/api/v1/namespaces/demo/pods/own/status", running.clone()).await.expect(200);
    send("PATCH", "/api/v1/namespaces/demo/pods/foreign/status", running.clone()).await.expect(403);
    send("PATCH", "/api/v1/namespaces/demo/pods/own", running).await.expect(403);
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    send("PATCH", "/api/v1/namespaces/demo/pods/own/status", labels).await.expect(403);
    send("POST", "/api/v1/namespaces/demo/pods", pod("static")).await.expect(403);
}

#[tokio::test]
async fn without_roles_only_masters_pass() {
    let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| {
        config.resources.retain(|resource| resource.group != "rbac.authorization.k8s.io");
    })
    .await;
    server.get("/api/v1/namespaces").await.expect(200);
    server.call(&user("alice"), "GET", "/api/v1/namespaces", None).await.expect(403);
    server.call(&user("alice"), "GET", "/version", None).await.expect(403);
}

//! Acting as somebody else, over HTTPS.

use crate::{
    remote::Remote,
    support::{Listening, Server, admin},
};
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn grant(server: &Server, user: &str, rules: Value) {
    let role = json!({"metadata": {"name": user}, "rules": rules});
    server.post(&format!("{RBAC}/clusterroles"), &role).await.expect(201);
    let binding = json!({"metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    server.post(&format!("{RBAC}/clusterrolebindings"), &binding).await.expect(201);
}

/// Asks as `alice`, who wants to be somebody else, until the server's view of roles holds what was written before.
async fn who(listening: &Listening, headers: &[(&str, &str)], expected: u16) -> Value {
    let mut alice = Remote::certified(listening, "alice", None);
    for (name, value) in headers {
        alice = alice.header(name, value);
    }
    for _ in 0..200 {
        let answer = alice.who().await;
        if answer.status == expected {
            return answer.body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    alice.who().await.expect(expected)
}

#[tokio::test]
async fn whoever_may_acts_as_another_and_only_then() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let rules = json!([
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["devs"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]},
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["uids"], "resourceNames": ["7"]},
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes"],
            "resourceNames": ["read"]},
    ]);
    who(&listening, &[("impersonate-user", "bob")], 403).await;
    grant(&server, "alice", rules).await;
    let bob = who(&listening, &[("impersonate-user", "bob")], 201).await;
    assert_eq!(bob["status"]["userInfo"], json!({"username": "bob", "groups": ["system:authenticated"]}));
    let all = [
        ("impersonate-user", "bob"),
        ("impersonate-group", "devs"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-scopes", "read"),
    ];
    let info = who(&listening, &all, 201).await["status"]["userInfo"].clone();
    assert_eq!((&info["groups"], &info["uid"]), (&json!(["devs", "system:authenticated"]), &json!("7")));
    assert_eq!(info["extra"], json!({"scopes": ["read"]}));
    let robot = who(&listening, &[("impersonate-user", "system:serviceaccount:demo:robot")], 201).await;
    assert_eq!(robot["status"]["userInfo"]["groups"][1], "system:serviceaccounts:demo");
    for refused in [
        &[("impersonate-user", "eve")][..],
        &[("impersonate-user", "bob"), ("impersonate-group", "system:masters")],
        &[("impersonate-user", "bob"), ("impersonate-group", "devs"), ("impersonate-group", "ops")],
        &[("impersonate-user", "bob"), ("impersonate-uid", "8")],
        &[("impersonate-user", "bob"), ("impersonate-extra-scopes", "write")],
        &[("impersonate-user", "bob"), ("impersonate-extra-other", "read")],
    ] {
        let body = who(&listening, refused, 403).await;
        assert!(body["message"].as_str().unwrap().contains("cannot impersonate resource"), "{body:#}");
    }
    for senseless in
        [&[("impersonate-group", "devs")][..], &[("impersonate-user", "bob"), ("impersonate-nothing", "x")]]
    {
        who(&listening, senseless, 400).await;
    }
}

#[tokio::test]
async fn whom_one_acts_as_is_whose_rights_count() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let root = || Remote::admin(&listening);
    assert_eq!(root().get("/api/v1/namespaces").await.status, 200);
    let as_eve = root().header("impersonate-user", "eve");
    let refused = as_eve.get("/api/v1/namespaces").await;
    assert_eq!(refused.status, 403);
    assert!(refused.message().contains("User \"eve\" cannot list"), "{}", refused.message());
    let as_nobody = root().header("impersonate-user", "system:anonymous");
    assert_eq!(as_nobody.get("/version").await.status, 200);
    assert_eq!(as_nobody.get("/apis").await.status, 403);
}

#[tokio::test]
async fn nothing_else_in_a_request_says_who_it_is_from() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let mut alice = Remote::certified(&listening, "alice", None);
    for (name, value) in [
        ("x-remote-user", "root"),
        ("x-remote-group", "system:masters"),
        ("x-forwarded-user", "root"),
        ("authorization", "Bearer garbage"),
    ] {
        alice = alice.header(name, value);
    }
    assert_eq!(alice.who().await.expect(201)["status"]["userInfo"]["username"], "alice");
    // A client within the process is who its type says.
    for header in [("impersonate-user", "eve"), ("impersonate-group", "system:masters")] {
        let answer = server.send(&admin(), "GET", "/api/v1/namespaces", &[header], Vec::new()).await;
        assert_eq!(answer.status, 400);
    }
}

//! Tokens of service accounts, over HTTPS.

use crate::{
    remote::Remote,
    support::{Answer, Listening, Server, config_map, pod, token_config},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use orrery_apiserver::User;
use orrery_identity::SigningKeys;
use serde_json::{Value, json};

const ACCOUNT: &str = "/api/v1/namespaces/demo/serviceaccounts/robot";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A server with the account `robot` of the namespace `demo`.
async fn server() -> Server {
    let server = Server::start().await;
    prepare(&server).await;
    server
}

async fn prepare(server: &Server) {
    server.namespace("demo").await;
    let account = json!({"metadata": {"name": "robot"}});
    server.post("/api/v1/namespaces/demo/serviceaccounts", &account).await.expect(201);
}

async fn request(server: &Server, spec: Value) -> Answer {
    server.post(&format!("{ACCOUNT}/token"), &json!({"spec": spec})).await
}

async fn token(server: &Server, spec: Value) -> String {
    request(server, spec).await.expect(201)["status"]["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A pod of the account.
fn robot_pod(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["serviceAccountName"] = json!("robot");
    pod
}

async fn pod_uid(server: &Server, name: &str) -> String {
    let pod = server.get(&format!("/api/v1/namespaces/demo/pods/{name}")).await.expect(200);
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn bound(kind: &str, name: &str, uid: &str) -> Value {
    json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}})
}

async fn status(listening: &Listening, token: &str) -> u16 {
    Remote::bearer(listening, token).who().await.status
}

#[tokio::test]
async fn a_token_proves_its_account_and_what_it_is_bound_to() {
    let server = server().await;
    let listening = server.listen().await;
    let plain = token(&server, json!({})).await;
    let me = Remote::bearer(&listening, &plain).who().await.expect(201)["status"]["userInfo"].clone();
    assert_eq!(me["username"], "system:serviceaccount:demo:robot");
    assert_eq!(me["groups"], json!(["system:serviceaccounts", "system:serviceaccounts:demo", "system:authenticated"]));
    let account = server.get(ACCOUNT).await.expect(200);
    assert_eq!(me["uid"], account["metadata"]["uid"]);
    let id = format!("JTI={}", claims(&plain)["jti"].as_str().unwrap());
    assert_eq!(me["extra"], json!({"authentication.kubernetes.io/credential-id": [id]}));

    server.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.expect(201);
    server.bound_pod("demo", &robot_pod("p"), "n1").await;
    let uid = pod_uid(&server, "p").await;
    let of_pod = token(&server, bound("Pod", "p", &uid)).await;
    let extra = Remote::bearer(&listening, &of_pod).who().await.expect(201)["status"]["userInfo"]["extra"].clone();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([uid]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]));
    assert!(extra["authentication.kubernetes.io/node-uid"][0].as_str().is_some_and(|uid| !uid.is_empty()));
    // It is known, and may what RBAC says.
    assert_eq!(Remote::bearer(&listening, &of_pod).get("/api/v1/namespaces").await.status, 403);
    assert_eq!(Remote::bearer(&listening, &of_pod).get("/version").await.status, 200);
}

#[tokio::test]
async fn what_a_token_says_is_what_was_asked_for() {
    let server = server().await;
    let answer = request(&server, json!({"audiences": ["vault"], "expirationSeconds": 7200})).await.expect(201);
    assert_eq!((&answer["kind"], &answer["apiVersion"]), (&json!("TokenRequest"), &json!("authentication.k8s.io/v1")));
    assert_eq!(answer["metadata"]["name"], "robot");
    assert_eq!((&answer["spec"]["audiences"], &answer["spec"]["expirationSeconds"]), (&json!(["vault"]), &json!(7200)));
    let claims = claims(answer["status"]["token"].as_str().unwrap());
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!(["vault"]), &json!(ISSUER)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 7200);
    assert_eq!(claims["sub"], "system:serviceaccount:demo:robot");
    assert_eq!(claims["kubernetes.io"]["serviceaccount"]["name"], "robot");
    let refused = request(&server, json!({"expirationSeconds": 599})).await;
    assert_eq!(refused.status, 422);
    assert!(refused.message().contains("may not specify a duration less than 10 minutes"), "{}", refused.message());
    server.post("/api/v1/namespaces/demo/serviceaccounts/none/token", &json!({})).await.expect(404);
    let other = json!({"metadata": {"name": "other"}});
    server.post(&format!("{ACCOUNT}/token"), &other).await.expect(400);
}

#[tokio::test]
async fn a_token_is_bound_only_to_what_is_there_and_is_the_accounts() {
    let server = server().await;
    server.post("/api/v1/namespaces/demo/pods", &robot_pod("p")).await.expect(201);
    server.post("/api/v1/namespaces/demo/pods", &pod("other")).await.expect(201);
    let uid = pod_uid(&server, "p").await;
    let table = [
        (bound("Pod", "p", &uid), 201, ""),
        (bound("Pod", "p", ""), 201, ""),
        (bound("Pod", "p", "old"), 409, "does not match the UID in record"),
        (bound("Pod", "none", ""), 404, "pods \"none\" not found"),
        (bound("Pod", "other", ""), 400, "different serviceaccount name"),
        (bound("Secret", "none", ""), 404, "not found"),
        (bound("Node", "none", ""), 404, "not found"),
        (bound("ConfigMap", "p", ""), 400, "to object of type v1/ConfigMap"),
    ];
    for (spec, expected, message) in table {
        let answer = request(&server, spec.clone()).await;
        assert_eq!(answer.status, expected, "{spec}: {}", answer.message());
        assert!(answer.message().contains(message), "{spec}: {}", answer.message());
    }
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let server = server().await;
    let listening = server.listen().await;
    server.post("/api/v1/namespaces/demo/pods", &robot_pod("p")).await.expect(201);
    server.post("/api/v1/namespaces/demo/secrets", &json!({"metadata": {"name": "s"}})).await.expect(201);
    server.post("/api/v1/nodes", &json!({"metadata": {"name": "n"}})).await.expect(201);
    for (kind, name, path) in [
        ("Pod", "p", "/api/v1/namespaces/demo/pods/p"),
        ("Secret", "s", "/api/v1/namespaces/demo/secrets/s"),
        ("Node", "n", "/api/v1/nodes/n"),
    ] {
        let token = token(&server, bound(kind, name, "")).await;
        assert_eq!(status(&listening, &token).await, 201, "{kind}");
        server.delete(path).await.expect(200);
        assert_eq!(status(&listening, &token).await, 401, "{kind}");
    }
    // Another pod of the same name is another pod.
    server.post("/api/v1/namespaces/demo/pods", &robot_pod("p")).await.expect(201);
    let old = token(&server, bound("Pod", "p", "")).await;
    server.delete("/api/v1/namespaces/demo/pods/p").await.expect(200);
    server.post("/api/v1/namespaces/demo/pods", &robot_pod("p")).await.expect(201);
    assert_eq!(status(&listening, &old).await, 401);
    let plain = token(&server, json!({})).await;
    server.delete(ACCOUNT).await.expect(200);
    assert_eq!(status(&listening, &plain).await, 401);
}

#[tokio::test]
async fn garbage_foreign_and_unsigned_tokens_and_those_for_others_prove_nobody() {
    let server = server().await;
    let listening = server.listen().await;
    let good = token(&server, json!({})).await;
    let parts: Vec<&str> = good.split('.').collect();
    let b64 = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut admin = claims(&good);
    admin["sub"] = json!("system:serviceaccount:kube-system:admin");
    let foreign = {
        let other = Server::start().await;
        prepare(&other).await;
        token(&other, json!({})).await
    };
    let bad = [
        token(&server, json!({"audiences": ["vault"]})).await,
        foreign,
        format!("{}.{}.", b64(&json!({"alg": "none"})), parts[1]),
        format!("{}.{}.{}", b64(&json!({"alg": "none"})), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], b64(&admin), parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], parts[2].to_uppercase()),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
    ];
    for token in &bad {
        let answer = Remote::bearer(&listening, token).who().await;
        assert_eq!(answer.status, 401, "{token}");
        assert_eq!(answer.body["reason"], "Unauthorized");
        // Nor is it enough for what the token's bearer would be refused anyway; health needs no proof.
        assert_eq!(Remote::bearer(&listening, token).get("/api/v1/nodes").await.status, 401);
        assert_eq!(Remote::bearer(&listening, token).get("/readyz").await.status, 200);
    }
    assert_eq!(status(&listening, &good).await, 201);
    let basic = Remote { listening: &listening, credentials: None, headers: Vec::new() };
    assert_eq!(basic.header("authorization", "Basic cm9vdDpyb290").who().await.status, 401);
}

#[tokio::test]
async fn tokens_of_a_key_from_before_are_good_until_the_key_is_taken_away() {
    let mut old = String::new();
    let mut directory = None;
    for round in 0..3 {
        let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| {
            let directory = directory.get_or_insert_with(|| tempfile::tempdir().unwrap()).path();
            if round == 1 {
                SigningKeys::rotate(directory, "service-account").unwrap();
            }
            if round == 2 {
                let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
                entries
                    .filter(|p| p.extension().is_some_and(|e| e == "pub"))
                    .for_each(|p| std::fs::remove_file(p).unwrap());
            }
            config.tokens = Some(token_config(directory));
        })
        .await;
        prepare(&server).await;
        // The accounts differ, as each server has a store of its own: what is looked at is the signature.
        if round == 0 {
            old = token(&server, json!({})).await;
        }
        let review = server.post(REVIEWS, &json!({"spec": {"token": old}})).await.expect(201);
        let error = review["status"]["error"].as_str().unwrap_or("");
        match round {
            0 => assert_eq!(review["status"]["authenticated"], true, "{error}"),
            1 => assert!(error.contains("has another uid"), "{error}"),
            _ => assert_eq!(error, "invalid bearer token"),
        }
        let keys = server.get("/openid/v1/jwks").await.expect(200)["keys"].as_array().unwrap().len();
        assert_eq!(keys, if round == 1 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn reviews_tell_whose_a_token_is_and_for_whom() {
    let server = server().await;
    let plain = token(&server, json!({})).await;
    let vault = token(&server, json!({"audiences": ["vault", "other"]})).await;
    let review = |token: String, audiences: Value| {
        let server = &server;
        async move {
            let body = json!({"spec": {"token": token, "audiences": audiences}});
            server.post(REVIEWS, &body).await.expect(201)["status"].clone()
        }
    };
    let status = review(plain.clone(), json!([])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!([ISSUER])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:demo:robot");
    let status = review(vault.clone(), json!(["vault", "third"])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    for (token, audiences) in [(plain.clone(), json!(["vault"])), (vault, json!([])), ("x".to_owned(), json!([]))] {
        let status = review(token, audiences).await;
        assert_eq!(status["authenticated"], false);
        assert!(!status["error"].as_str().unwrap().is_empty());
    }
    server.post(REVIEWS, &json!({"spec": {}})).await.expect(400);
    let nobody = User::new("bob", Vec::<String>::new());
    let body = json!({"spec": {"token": plain}});
    server.call(&nobody, "POST", REVIEWS, Some(&body)).await.expect(403);
}

#[tokio::test]
async fn others_find_the_keys_by_the_issuer() {
    let server = server().await;
    let listening = server.listen().await;
    let robot = Remote::bearer(&listening, &token(&server, json!({})).await);
    let answer = robot.get("/.well-known/openid-configuration").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=3600");
    let configuration = answer.expect(200);
    assert_eq!(configuration["issuer"], ISSUER);
    assert_eq!(configuration["jwks_uri"], "https://127.0.0.1:6443/openid/v1/jwks");
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let keys = robot.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let key = keys.expect(200)["keys"][0].clone();
    assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("EC"), &json!("P-256"), &json!("sig")));
    let alice = Remote::certified(&listening, "alice", None);
    assert_eq!(alice.get("/openid/v1/jwks").await.status, 403);
    let stranger = Remote { listening: &listening, credentials: None, headers: Vec::new() };
    assert_eq!(stranger.get("/.well-known/openid-configuration").await.status, 401);
}

#[tokio::test]
async fn a_kubelet_gets_tokens_for_its_own_pods_only() {
    let server = server().await;
    server.bound_pod("demo", &robot_pod("own"), "n1").await;
    server.bound_pod("demo", &robot_pod("foreign"), "n2").await;
    let kubelet = User::new("system:node:n1", ["system:nodes"]);
    let ask = |spec: Value| {
        let (server, kubelet) = (&server, &kubelet);
        let body = json!({"spec": spec});
        async move { server.call(kubelet, "POST", &format!("{ACCOUNT}/token"), Some(&body)).await }
    };
    let (own, foreign) = (pod_uid(&server, "own").await, pod_uid(&server, "foreign").await);
    ask(bound("Pod", "own", &own)).await.expect(201);
    let mut other_audience = bound("Pod", "own", &own);
    other_audience["audiences"] = json!(["vault"]);
    for (spec, why) in [
        (json!({}), "not bound to a pod"),
        (bound("Pod", "own", ""), "without a uid"),
        (bound("Pod", "own", "old"), "does not match the UID"),
        (bound("Pod", "foreign", &foreign), "scheduled on a different node"),
        (other_audience, "audience \"vault\" not found in pod spec volume"),
    ] {
        let answer = ask(spec).await;
        assert_eq!(answer.status, 403, "{why}");
        assert!(answer.message().contains(why), "{}", answer.message());
    }
}

#[tokio::test]
async fn lifetimes_are_cut_to_what_is_allowed_and_a_warning_says_so() {
    let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| {
        config.tokens.as_mut().unwrap().settings.max_expiration_seconds = Some(3600);
    })
    .await;
    prepare(&server).await;
    let answer = request(&server, json!({"expirationSeconds": 86400})).await;
    let warning = answer.headers["warning"].to_str().unwrap().to_owned();
    assert!(warning.contains("requested expiration of 86400 seconds shortened to 3600 seconds"), "{warning}");
    assert_eq!(answer.expect(201)["spec"]["expirationSeconds"], 3600);
}

#[tokio::test]
async fn without_keys_there_are_no_tokens() {
    let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| config.tokens = None).await;
    prepare(&server).await;
    request(&server, json!({})).await.expect(404);
    server.get("/openid/v1/jwks").await.expect(404);
    server.post("/api/v1/namespaces/demo/configmaps", &config_map("a", &json!({}))).await.expect(201);
    let review = server.post(REVIEWS, &json!({"spec": {"token": "x"}})).await.expect(201);
    assert_eq!(review["status"]["authenticated"], false);
}

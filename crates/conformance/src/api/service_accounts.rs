//! Service accounts and their tokens.

use crate::{
    ensure,
    harness::{Api, Context, EVENT_TIMEOUT, Failure, Outcome, names, resource},
    registry::{Test, test},
    run, same,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature;
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-auth] ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview [Conformance]",
        run!(token_review),
    ),
    test(
        "[sig-auth] ServiceAccounts should run through the lifecycle of a ServiceAccount [Conformance]",
        run!(lifecycle),
    ),
    test("[sig-auth] ServiceAccounts should update a ServiceAccount [Conformance]", run!(update)),
    test(
        "[sig-auth] ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer [Conformance]",
        run!(issuer_discovery),
    ),
];

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Asks for a token of an account.
async fn token(context: &Context, namespace: &str, name: &str, spec: &Value) -> Outcome<Value> {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {"name": name}, "spec": spec});
    let accounts = context.objects(resource::service_accounts(), namespace).sub("token");
    let answer = accounts.post(&request, &[]).await?.expect(201)?;
    ensure!(answer["status"]["token"].as_str().is_some_and(|token| !token.is_empty()), "the token is empty: {answer}");
    ensure!(answer["status"]["expirationTimestamp"].is_string(), "the token has no expiration: {answer}");
    Ok(answer["status"].clone())
}

async fn token_review(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let accounts = context.objects(resource::service_accounts(), &namespace);
    let created = accounts.create(&json!({"metadata": {"name": "e2e-sa"}})).await?;
    let status = token(context, &namespace, "e2e-sa", &json!({"expirationSeconds": 3600})).await?;
    let review = |token: &Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let reviewed = context.api.post(REVIEWS, &review(&status["token"])).await?.expect(201)?;
    let status = &reviewed["status"];
    same!(status["authenticated"], true, "whether the token is good: {status}");
    ensure!(status["error"].as_str().unwrap_or_default().is_empty(), "the review has an error: {status}");
    let user = &status["user"];
    same!(user["username"], format!("system:serviceaccount:{namespace}:e2e-sa").as_str(), "the user of the token");
    same!(user["uid"], created["metadata"]["uid"], "the uid of the token's user");
    for group in ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")] {
        ensure!(
            user["groups"].as_array().is_some_and(|all| all.contains(&group.into())),
            "{group} is missing in {user}"
        );
    }
    let forged = context.api.post(REVIEWS, &review(&json!("a.b.c"))).await?.expect(201)?;
    ensure!(forged["status"]["authenticated"] != true, "a forged token is called good");
    Ok(())
}

async fn lifecycle(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let accounts = context.objects(resource::service_accounts(), &namespace);
    let set = context.name("set");
    let selector = format!("test-serviceaccount-static={set}");
    let mut watch = accounts.watch(&[("labelSelector", &selector)]).await?;
    let name = "testserviceaccount";
    accounts.create(&json!({"metadata": {"name": name, "labels": {"test-serviceaccount-static": set}}})).await?;
    watch.expect("ADDED", name).await?;
    accounts.strategic(name, &json!({"automountServiceAccountToken": false})).await?;
    let patched = |event: &crate::harness::Event| event.object["automountServiceAccountToken"] == false;
    same!(watch.find("the patched account", EVENT_TIMEOUT, patched).await?.kind, "MODIFIED", "the event of the patch");
    let listed = context.cluster(resource::service_accounts()).labelled(&selector).await?;
    same!(names(&listed), [name], "accounts with the label in all namespaces");
    same!(listed[0]["automountServiceAccountToken"], false, "the patched property in the list");
    accounts.delete_labelled(&selector).await?;
    watch.find("the end of the account", EVENT_TIMEOUT, |event| event.kind == "DELETED").await?;
    accounts.read(name).await?.refused(404, "NotFound").map(drop)
}

async fn update(context: &Context) -> Outcome {
    let accounts = context.objects(resource::service_accounts(), &context.namespace().await?);
    accounts.create(&json!({"metadata": {"name": "e2e-sa"}, "automountServiceAccountToken": false})).await?;
    let updated = accounts.update("e2e-sa", |account| account["automountServiceAccountToken"] = true.into()).await?;
    same!(updated["automountServiceAccountToken"], true, "the property in the answer");
    same!(accounts.get("e2e-sa").await?["automountServiceAccountToken"], true, "the property when it is read");
    Ok(())
}

/// A part of a token as JSON.
fn part(token: &str, index: usize) -> Outcome<Value> {
    let text = token.split('.').nth(index).unwrap_or_default();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| Failure::wrong(format!("the token: {error}")))?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// A number of a key, as bytes.
fn number(key: &Value, field: &str) -> Outcome<Vec<u8>> {
    let text = key[field].as_str().unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| Failure::wrong(format!("{field} of the key {key}: {error}")))
}

/// Verifies the signature of a token (RFC 7515) with a key of the set (RFC 7517).
fn verify(token: &str, key: &Value) -> Outcome {
    let (signed, signature) = token.rsplit_once('.').ok_or_else(|| Failure::wrong("the token has no signature"))?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(Failure::wrong)?;
    let message = signed.as_bytes();
    let verified = match part(token, 0)?["alg"].as_str() {
        Some("RS256") => {
            let (n, e) = (number(key, "n")?, number(key, "e")?);
            let key = signature::RsaPublicKeyComponents { n: &n, e: &e };
            key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, &signature)
        }
        Some("ES256") => {
            let point = [vec![4], number(key, "x")?, number(key, "y")?].concat();
            let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
            key.verify(message, &signature)
        }
        other => return Err(Failure::wrong(format!("the token is signed by {other:?}, not RS256 or ES256"))),
    };
    verified.map_err(|_| Failure::wrong(format!("the token is not signed with the published key {key}")))
}

async fn issuer_discovery(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let accounts = context.objects(resource::service_accounts(), &namespace);
    accounts.create(&json!({"metadata": {"name": "oidc"}})).await?;
    let spec = json!({"audiences": ["oidc-discovery-test"], "expirationSeconds": 600});
    let token_text = token(context, &namespace, "oidc", &spec).await?["token"].as_str().unwrap_or_default().to_owned();
    let reader = token(context, &namespace, "oidc", &json!({})).await?;
    // As the account itself, which the server lets read these documents.
    let bearer = format!("Bearer {}", reader["token"].as_str().unwrap_or_default());
    let account: Api = context.run.stranger.with_header("Authorization", &bearer);
    let discovery = account.get("/.well-known/openid-configuration").await?.expect(200)?;
    let claims = part(&token_text, 1)?;
    same!(discovery["issuer"], claims["iss"], "the issuer beside the token's");
    same!(claims["aud"], json!(["oidc-discovery-test"]), "the audience of the token");
    same!(claims["sub"], format!("system:serviceaccount:{namespace}:oidc").as_str(), "the subject of the token");
    let algorithms = discovery["id_token_signing_alg_values_supported"].as_array().cloned().unwrap_or_default();
    let header = part(&token_text, 0)?;
    ensure!(algorithms.contains(&header["alg"]), "{} is not among {algorithms:?}", header["alg"]);
    let url = discovery["jwks_uri"].as_str().unwrap_or_default();
    // The issuer's own address need not be reachable from here: it is the same server.
    let path = url.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| rest[at..].to_owned()));
    let path = path.ok_or_else(|| Failure::wrong(format!("jwks_uri is {url:?}, no URL with a path")))?;
    let keys = account.get(&path).await?.expect(200)?;
    let known = keys["keys"].as_array().cloned().unwrap_or_default();
    let key = known.iter().find(|key| key["kid"] == header["kid"]);
    let key = key.ok_or_else(|| Failure::wrong(format!("no key {} among {keys}", header["kid"])))?;
    verify(&token_text, key)
}

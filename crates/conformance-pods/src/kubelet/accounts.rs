//! Tokens of service accounts in pods.

use crate::pods::{Place, holds};
use orrery_harness::{Context, Outcome, Test, ensure, resource, run, same, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test("[sig-auth] ServiceAccounts should mount an API token into pods [Conformance]", run!(mounted)),
    test("[sig-auth] ServiceAccounts should mount projected service account token [Conformance]", run!(projected)),
    test("[sig-auth] ServiceAccounts should allow opting out of API token automount [Conformance]", run!(opted_out)),
];

const DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

async fn review(context: &Context, token: &str, audiences: &Value) -> Outcome<Value> {
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": { "token": token, "audiences": audiences } });
    let reviewed = context.api.post("/apis/authentication.k8s.io/v1/tokenreviews", &review).await?.success()?;
    Ok(reviewed["status"].clone())
}

async fn mounted(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    context
        .objects(resource::service_accounts(), &place.namespace)
        .create(&json!({ "metadata": { "name": "mount" } }))
        .await?;
    let mut pod = place.runs("holder", &format!("cd {DIRECTORY}; cat token; echo; cat namespace; echo; cat ca.crt"));
    pod["spec"]["serviceAccountName"] = "mount".into();
    pod["spec"]["automountServiceAccountToken"] = true.into();
    let said = place.said(&pod).await?;
    let mut lines = said.lines();
    let token = lines.next().unwrap_or_default();
    same!(lines.next(), Some(place.namespace.as_str()), "the namespace in the pod");
    holds(&said, &["-----BEGIN CERTIFICATE-----"])?;
    let status = review(context, token, &json!(null)).await?;
    let user = format!("system:serviceaccount:{}:mount", place.namespace);
    same!(status["user"]["username"].as_str(), Some(user.as_str()), "whose token it is");
    same!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"][0], "holder", "the pod that it is bound to");
    Ok(())
}

async fn projected(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("holder", "cat /tokens/it; echo; stat -L -c %a /tokens/it");
    let token = json!({ "path": "it", "expirationSeconds": 7200, "audience": "vault" });
    pod["spec"]["volumes"] = json!([{ "name": "t", "projected": { "sources": [{ "serviceAccountToken": token }] } }]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "t", "mountPath": "/tokens" }]);
    let said = place.said(&pod).await?;
    let token = said.lines().next().unwrap_or_default();
    let status = review(context, token, &json!(["vault"])).await?;
    ensure!(status["authenticated"] == true, "the token is not taken for its audience: {status}");
    let status = review(context, token, &json!(null)).await?;
    ensure!(status["authenticated"] != true, "the token is taken for another audience");
    Ok(())
}

async fn opted_out(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let accounts = context.objects(resource::service_accounts(), &place.namespace);
    accounts.create(&json!({ "metadata": { "name": "mount" }, "automountServiceAccountToken": true })).await?;
    accounts.create(&json!({ "metadata": { "name": "nomount" }, "automountServiceAccountToken": false })).await?;
    for (number, (account, asked, wanted)) in [
        ("default", None, true),
        ("mount", None, true),
        ("nomount", None, false),
        ("default", Some(true), true),
        ("nomount", Some(true), true),
        ("default", Some(false), false),
        ("mount", Some(false), false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut pod = place.runs(&format!("pod-{number}"), "true");
        pod["spec"]["serviceAccountName"] = account.into();
        pod["spec"]["automountServiceAccountToken"] = json!(asked);
        let made = place.pods.create(&pod).await?;
        let mounts = made["spec"]["containers"][0]["volumeMounts"].as_array();
        let has = mounts.into_iter().flatten().any(|mount| mount["mountPath"] == DIRECTORY);
        same!(has, wanted, "whether a pod of {account} that asks for {asked:?} has a token");
    }
    Ok(())
}

//! `ServiceAccount`: a pod acts as an account that exists, and its containers have a token of it, as upstream's plugin of that
//! name gives it to them.

use crate::forbidden;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::{
    meta::{GENERATED_SUFFIX, generated_name},
    status::ApiError,
};
use serde_json::{Value, json};
use std::time::Duration;

/// The account that a controller makes in each namespace.
const DEFAULT: &str = "default";
/// How often that one is looked for in a namespace that is just being made.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);
/// Where clients in a pod look for the token.
const TOKEN_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a token is good for; upstream's hour and some seconds by which it is recognized.
const TOKEN_SECONDS: u32 = 3607;
/// A pod that its node made and that no account acts for.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The plugin.
pub(crate) struct ServiceAccount;

#[async_trait::async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "pods")
    }

    async fn change(&self, request: &AdmissionRequest<'_>, pod: &mut Value, _: &mut Review) -> Result<bool, ApiError> {
        let account = account(request, pod).await?;
        let secrets = &account["imagePullSecrets"];
        let has_own = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|own| !own.is_empty());
        if !has_own && secrets.as_array().is_some_and(|secrets| !secrets.is_empty()) {
            pod["spec"]["imagePullSecrets"] = secrets.clone();
        }
        let [a, b, c, d, e, ..] = uuid::Uuid::new_v4().into_bytes();
        mount_token(pod, &account, [a, b, c, d, e]);
        Ok(false)
    }
}

/// Gives each container a token of the account, unless pod or account do not want it or the container has something else there.
fn mount_token(pod: &mut Value, account: &Value, random: [u8; GENERATED_SUFFIX]) {
    let wanted = pod["spec"]["automountServiceAccountToken"].as_bool();
    let wanted = wanted.or(account["automountServiceAccountToken"].as_bool()).unwrap_or(true);
    if !wanted || pod["metadata"]["annotations"][MIRROR].is_string() {
        return;
    }
    let name = generated_name("kube-api-access-", random);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mut mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().any(|mount| mount["mountPath"] == TOKEN_DIRECTORY) {
                continue;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": TOKEN_DIRECTORY}));
            container["volumeMounts"] = mounts.into();
            mounted = true;
        }
    }
    if mounted {
        let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        volumes.push(token_volume(&name));
        pod["spec"]["volumes"] = volumes.into();
    }
}

fn token_volume(name: &str) -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]}})
}

async fn account(request: &AdmissionRequest<'_>, pod: &Value) -> Result<Value, ApiError> {
    let name = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty()).unwrap_or(DEFAULT);
    let attempts = if name == DEFAULT { ATTEMPTS } else { 1 };
    for attempt in 0..attempts {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(account) = request.reader.get("", "serviceaccounts", request.namespace, name).await? {
            return Ok(account);
        }
    }
    let why =
        format!("error looking up service account {}/{name}: serviceaccount {name:?} not found", request.namespace);
    Err(forbidden(request, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(pod: &Value, account: &Value) -> Value {
        let mut pod = pod.clone();
        mount_token(&mut pod, account, [0; GENERATED_SUFFIX]);
        pod["spec"].take()
    }

    #[test]
    fn every_container_has_the_token_in_one_volume() {
        let pod = json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        let spec = mounted(&pod, &json!({}));
        let mount = json!({"name": "kube-api-access-bbbbb", "readOnly": true, "mountPath": TOKEN_DIRECTORY});
        assert_eq!(spec["initContainers"][0]["volumeMounts"], json!([mount]));
        assert_eq!(spec["containers"][0]["volumeMounts"][1], mount);
        assert_eq!(spec["volumes"][1], token_volume("kube-api-access-bbbbb"));
    }

    #[test]
    fn who_wants_none_gets_none() {
        let no = json!({"automountServiceAccountToken": false});
        let plain = json!([{"name": "a"}]);
        let own = json!([{"name": "a", "volumeMounts": [{"name": "t", "mountPath": TOKEN_DIRECTORY}]}]);
        let mirror = json!({"annotations": {MIRROR: "x"}});
        for (metadata, spec, account, volumes) in [
            (json!({}), json!({"containers": plain}), json!({}), 1),
            (json!({}), json!({"containers": plain}), no.clone(), 0),
            (json!({}), json!({"containers": plain, "automountServiceAccountToken": false}), json!({}), 0),
            (json!({}), json!({"containers": plain, "automountServiceAccountToken": true}), no, 1),
            (mirror, json!({"containers": plain}), json!({}), 0),
            (json!({}), json!({"containers": own}), json!({}), 0),
        ] {
            let pod = json!({"metadata": metadata, "spec": spec});
            let spec = mounted(&pod, &account);
            assert_eq!(spec["volumes"].as_array().map_or(0, Vec::len), volumes, "{pod} {account}");
        }
    }
}

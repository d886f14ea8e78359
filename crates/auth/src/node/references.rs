//! What a pod refers to. Pure.

use serde_json::Value;

/// What a kubelet reads because a pod of its node refers to it. All but the service account are of the pod's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Account,
}

/// Sources of volumes that name a secret at this pointer.
const VOLUME_SECRETS: &[&str] = &[
    "/secret/secretName",
    "/azureFile/secretName",
    "/cephfs/secretRef/name",
    "/cinder/secretRef/name",
    "/csi/nodePublishSecretRef/name",
    "/flexVolume/secretRef/name",
    "/iscsi/secretRef/name",
    "/rbd/secretRef/name",
    "/scaleIO/secretRef/name",
    "/storageos/secretRef/name",
];

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Everything that a pod refers to, each once.
pub(super) fn references(pod: &Value) -> Vec<(Kind, String)> {
    let mut all = Vec::new();
    let mut add = |kind, value: Option<&Value>| {
        if let Some(name) = value.and_then(Value::as_str).filter(|name| !name.is_empty()) {
            all.push((kind, name.to_owned()));
        }
    };
    add(Kind::Account, pod.pointer("/spec/serviceAccountName"));
    for secret in list(pod, "/spec/imagePullSecrets") {
        add(Kind::Secret, secret.get("name"));
    }
    for volume in list(pod, "/spec/volumes") {
        for pointer in VOLUME_SECRETS {
            add(Kind::Secret, volume.pointer(pointer));
        }
        add(Kind::ConfigMap, volume.pointer("/configMap/name"));
        add(Kind::Claim, volume.pointer("/persistentVolumeClaim/claimName"));
        for source in list(volume, "/projected/sources") {
            add(Kind::Secret, source.pointer("/secret/name"));
            add(Kind::ConfigMap, source.pointer("/configMap/name"));
        }
        if volume["ephemeral"].is_object() {
            let names = (pod["metadata"]["name"].as_str(), volume["name"].as_str());
            let claim = names.0.zip(names.1).map(|(pod, volume)| Value::String(format!("{pod}-{volume}")));
            add(Kind::Claim, claim.as_ref());
        }
    }
    let lists = ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"];
    for container in lists.iter().flat_map(|pointer| list(pod, pointer)) {
        for variable in list(container, "/env") {
            add(Kind::Secret, variable.pointer("/valueFrom/secretKeyRef/name"));
            add(Kind::ConfigMap, variable.pointer("/valueFrom/configMapKeyRef/name"));
        }
        for source in list(container, "/envFrom") {
            add(Kind::Secret, source.pointer("/secretRef/name"));
            add(Kind::ConfigMap, source.pointer("/configMapRef/name"));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// The secrets (namespace, name) that a PersistentVolume refers to.
pub(super) fn volume_secrets(volume: &Value) -> Vec<(String, String)> {
    let claim_namespace = volume["spec"]["claimRef"]["namespace"].as_str().unwrap_or("");
    let sources = volume["spec"].as_object().into_iter().flatten();
    let fields = sources.filter_map(|(_, source)| source.as_object()).flatten();
    let references = fields.filter(|(field, value)| field.to_lowercase().ends_with("secretref") && value.is_object());
    references
        .filter_map(|(_, reference)| {
            let namespace = reference["namespace"].as_str().filter(|text| !text.is_empty()).unwrap_or(claim_namespace);
            Some((namespace.to_owned(), reference["name"].as_str()?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_refers_to_what_its_volumes_environment_account_and_pull_secrets_name() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "serviceAccountName": "robot",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "vol"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "proj"}}, {"secret": {"name": "vol"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "d", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "e", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi"}}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "all"}}]}],
            "containers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "one", "key": "k"}}}]}],
        }});
        let expected = [
            (Kind::Secret, "csi"),
            (Kind::Secret, "one"),
            (Kind::Secret, "pull"),
            (Kind::Secret, "vol"),
            (Kind::ConfigMap, "all"),
            (Kind::ConfigMap, "proj"),
            (Kind::Claim, "claim"),
            (Kind::Claim, "p-d"),
            (Kind::Account, "robot"),
        ];
        let found = references(&pod);
        assert_eq!(found.iter().map(|(kind, name)| (*kind, name.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_volume_refers_to_the_secrets_of_its_source() {
        let volume = json!({"spec": {"claimRef": {"namespace": "demo", "name": "c"}, "csi": {
            "driver": "d", "nodeStageSecretRef": {"name": "a", "namespace": "kube-system"},
            "nodePublishSecretRef": {"name": "b"}}}});
        let mut found = volume_secrets(&volume);
        found.sort();
        assert_eq!(found, [("demo".into(), "b".into()), ("kube-system".into(), "a".into())]);
    }
}

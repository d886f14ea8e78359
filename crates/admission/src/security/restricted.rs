//! The level `restricted`: hardened as is good practice.

use super::{containers, name, named};
use serde_json::Value;

const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What goes beyond the level and not already beyond `baseline`, each as upstream says it.
pub(super) fn violations(spec: &Value) -> Vec<String> {
    let windows = spec["os"]["name"] == "windows";
    let linux_only = |check: Option<String>| check.filter(|_| !windows);
    let checks = [
        linux_only(privilege_escalation(spec)),
        linux_only(capabilities(spec)),
        volumes(spec),
        run_as_non_root(spec),
        run_as_user(spec),
        linux_only(seccomp(spec)),
    ];
    checks.into_iter().flatten().collect()
}

fn privilege_escalation(spec: &Value) -> Option<String> {
    let who = named(containers(spec).filter(|c| c["securityContext"]["allowPrivilegeEscalation"] != false))?;
    Some(format!("allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"))
}

fn capabilities(spec: &Value) -> Option<String> {
    let has = |container: &Value, list: &str, wanted: &str| {
        let list = container["securityContext"]["capabilities"][list].as_array();
        list.is_some_and(|list| list.iter().any(|capability| capability == wanted))
    };
    let added = |container: &Value| {
        let list = container["securityContext"]["capabilities"]["add"].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).any(|capability| capability != "NET_BIND_SERVICE")
    };
    let mut found = Vec::new();
    if let Some(who) = named(containers(spec).filter(|c| !has(c, "drop", "ALL"))) {
        found.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if let Some(who) = named(containers(spec).filter(|c| added(c))) {
        found.push(format!(
            "{who} must not include other than \"NET_BIND_SERVICE\" in securityContext.capabilities.add"
        ));
    }
    (!found.is_empty()).then(|| format!("unrestricted capabilities ({})", found.join("; ")))
}

fn volumes(spec: &Value) -> Option<String> {
    let kind = |volume: &Value| {
        let mut fields = volume.as_object().into_iter().flatten().map(|(field, _)| field.clone());
        fields.find(|field| field != "name").filter(|field| !VOLUMES.contains(&field.as_str()))
    };
    let all = spec["volumes"].as_array().into_iter().flatten();
    let bad: Vec<String> = all
        .filter_map(|volume| kind(volume).map(|kind| (name(volume), kind)))
        .map(|(name, kind)| format!("volume {name:?} uses restricted volume type {kind:?}"))
        .collect();
    (!bad.is_empty()).then(|| format!("restricted volume types ({})", bad.join(", ")))
}

fn run_as_non_root(spec: &Value) -> Option<String> {
    let own = &spec["securityContext"]["runAsNonRoot"];
    if *own == false {
        return Some("runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)".to_owned());
    }
    let of = |container: &Value| container["securityContext"]["runAsNonRoot"].as_bool();
    if let Some(who) = named(containers(spec).filter(|c| of(c) == Some(false))) {
        return Some(format!("runAsNonRoot != true ({who} must not set securityContext.runAsNonRoot=false)"));
    }
    if *own == true {
        return None;
    }
    let who = named(containers(spec).filter(|c| of(c).is_none()))?;
    Some(format!("runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"))
}

fn run_as_user(spec: &Value) -> Option<String> {
    if spec["securityContext"]["runAsUser"] == 0 {
        return Some("runAsUser=0 (pod must not set runAsUser=0)".to_owned());
    }
    let who = named(containers(spec).filter(|c| c["securityContext"]["runAsUser"] == 0))?;
    Some(format!("runAsUser=0 ({who} must not set runAsUser=0)"))
}

fn seccomp(spec: &Value) -> Option<String> {
    let allowed = |context: &Value| {
        context["seccompProfile"]["type"].as_str().map(|kind| matches!(kind, "RuntimeDefault" | "Localhost"))
    };
    if allowed(&spec["securityContext"]) == Some(true) {
        return None;
    }
    let who = named(containers(spec).filter(|c| allowed(&c["securityContext"]).is_none()))?;
    Some(format!(
        "seccompProfile (pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plain_pod_is_not_hardened_and_a_hardened_one_is() {
        let plain = json!({"containers": [{"name": "c"}]});
        let expected = [
            "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)",
            "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"])",
            "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
            "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
             \"Localhost\")",
        ];
        assert_eq!(violations(&plain), expected);
        let hardened = json!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        });
        assert_eq!(violations(&hardened), [""; 0]);
        let mut mounted = hardened;
        mounted["volumes"] = json!([{"name": "v", "nfs": {}}]);
        assert_eq!(
            violations(&mounted),
            ["restricted volume types (volume \"v\" uses restricted volume type \"nfs\")"]
        );
    }
}

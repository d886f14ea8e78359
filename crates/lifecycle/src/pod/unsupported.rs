//! What a pod may ask for that is not built.
//!
//! Running such a pod without it would be silently wrong, so the pod stays pending and says why. A thing leaves this
//! list when it is built.

use super::view::Unsupported;
use crate::volume;
use orrery_api::k8s::api::core::v1::{
    AppArmorProfile, Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, Volume,
};

/// The first thing in `spec` that is not built, if there is one.
pub(super) fn first(spec: &PodSpec) -> Option<Unsupported> {
    if let Some(volume) = spec.volumes.iter().flatten().find(|volume| !volume::is_built(volume)) {
        let message =
            format!("volume type {} is not supported yet by this Spherelet (volume {:?})", kind(volume), volume.name);
        return Some(Unsupported { event_reason: "FailedMount", message });
    }
    let containers = spec.init_containers.iter().flatten().map(|c| (c, true));
    let mut containers = containers.chain(spec.containers.iter().map(|c| (c, false)));
    let what = of_pod(spec)
        .map(str::to_owned)
        .or_else(|| containers.find_map(|(container, init)| of_container(container, init)))?;
    Some(Unsupported { event_reason: "Failed", message: format!("{what} is not supported yet by this Spherelet") })
}

/// The volume's type: the name of its only field besides `name`.
fn kind(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let field = value.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| *key != "name");
    field.cloned().unwrap_or_else(|| "emptyDir".to_owned())
}

fn of_pod(spec: &PodSpec) -> Option<&'static str> {
    let set = |flag: Option<bool>| flag == Some(true);
    let security = spec.security_context.as_ref();
    let table = [
        (set(spec.host_network), "hostNetwork"),
        (set(spec.host_pid), "hostPID"),
        (set(spec.host_ipc), "hostIPC"),
        (set(spec.set_hostname_as_fqdn), "setHostnameAsFQDN"),
        (spec.resources.is_some(), "resources of the whole pod"),
        (spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()), "resourceClaims"),
        (spec.dns_policy.as_deref() == Some("Default"), "dnsPolicy Default"),
        (spec.os.as_ref().is_some_and(|os| os.name != "linux"), "an operating system other than linux"),
    ];
    let named = table.into_iter().find_map(|(asked, what)| asked.then_some(what));
    named.or_else(|| {
        let PodSecurityContext { seccomp_profile, app_armor_profile, se_linux_options, windows_options, .. } =
            security?;
        let confined = profiles(seccomp_profile.as_ref(), app_armor_profile.as_ref());
        let other =
            (se_linux_options.is_some() || windows_options.is_some()).then_some("seLinuxOptions or windowsOptions");
        confined.or(other)
    })
}

fn of_container(container: &Container, init: bool) -> Option<String> {
    let lifecycle = container.lifecycle.as_ref();
    let sidecar = init && container.restart_policy.as_deref() == Some("Always");
    let own_policy = (container.restart_policy.is_some() && !sidecar) || container.restart_policy_rules.is_some();
    let table = [
        (own_policy, "a restart policy of its own"),
        (container.volume_devices.as_ref().is_some_and(|list| !list.is_empty()), "volumeDevices"),
        (container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|p| p != 0)), "hostPort"),
        (container.stdin_once == Some(true), "stdinOnce"),
        (
            lifecycle.and_then(|l| l.stop_signal.as_deref()).is_some_and(|s| crate::signal::number(s).is_none()),
            "its stopSignal",
        ),
    ];
    let named = table.into_iter().find_map(|(asked, what)| asked.then_some(what));
    let what = named.or_else(|| of_security(container.security_context.as_ref()?))?;
    Some(format!("{what} (container {})", container.name))
}

fn of_security(security: &SecurityContext) -> Option<&'static str> {
    let table = [
        (security.se_linux_options.is_some(), "seLinuxOptions"),
        (security.windows_options.is_some(), "windowsOptions"),
    ];
    let named = table.into_iter().find_map(|(asked, what)| asked.then_some(what));
    named.or_else(|| profiles(security.seccomp_profile.as_ref(), security.app_armor_profile.as_ref()))
}

fn profiles(seccomp: Option<&SeccompProfile>, app_armor: Option<&AppArmorProfile>) -> Option<&'static str> {
    if seccomp.is_some_and(|profile| profile.type_ == "Localhost") {
        return Some("seccompProfile of type Localhost");
    }
    app_armor.is_some_and(|profile| profile.type_ != "Unconfined").then_some("appArmorProfile")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn message(spec: Value) -> Option<String> {
        first(&serde_json::from_value(spec).unwrap()).map(|unsupported| unsupported.message)
    }

    #[test]
    fn a_plain_pod_asks_for_nothing_that_is_missing() {
        let spec = json!({
            "restartPolicy": "Never",
            "securityContext": { "runAsUser": 1 },
            "shareProcessNamespace": true,
            "containers": [{
                "name": "a", "image": "i", "tty": true, "ports": [{ "containerPort": 80 }],
                "securityContext": { "privileged": true, "procMount": "Unmasked" }
            }]
        });
        assert_eq!(message(spec), None);
    }

    #[test]
    fn what_is_not_built_is_named() {
        let table = [
            (
                json!({ "containers": [], "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }] }),
                "persistentVolumeClaim",
            ),
            (
                json!({ "containers": [], "volumes": [{ "name": "v", "emptyDir": { "medium": "HugePages" } }] }),
                "emptyDir",
            ),
            (
                json!({ "containers": [], "volumes": [{ "name": "v", "projected": { "sources": [
                    { "clusterTrustBundle": { "path": "ca" } },
                ] } }] }),
                "projected",
            ),
            (json!({ "containers": [], "hostNetwork": true }), "hostNetwork"),
            (json!({ "containers": [{ "name": "a", "restartPolicy": "Never" }] }), "a restart policy of its own"),
            (
                json!({ "containers": [{ "name": "a", "securityContext": {
                    "seccompProfile": { "type": "Localhost", "localhostProfile": "own.json" }
                } }] }),
                "seccompProfile of type Localhost (container a)",
            ),
            (
                json!({ "containers": [], "securityContext": { "seccompProfile": { "type": "Localhost" } } }),
                "seccompProfile of type Localhost",
            ),
            (json!({ "containers": [{ "name": "a", "ports": [{ "containerPort": 1, "hostPort": 2 }] }] }), "hostPort"),
        ];
        for (spec, word) in table {
            let found = message(spec.clone()).unwrap_or_default();
            assert!(
                found.contains(word) && found.contains("is not supported yet by this Spherelet"),
                "{spec}: {found}"
            );
        }
    }
}

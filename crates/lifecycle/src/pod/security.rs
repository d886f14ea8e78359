//! What containers may do, projected from the security settings of pod and container.

use orrery_api::k8s::api::core::v1::{Capabilities, PodSecurityContext, SecurityContext};
use orrery_wire::guest::DEFAULT_CAPABILITIES;

/// The settings of the kernel that a pod may change: they concern nobody but itself
/// (<https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/#safe-and-unsafe-sysctls>).
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The name of the profile that every container runtime has.
const RUNTIME_DEFAULT: &str = "RuntimeDefault";
const ALL: &str = "ALL";

/// The capabilities that a container may have: the default ones, without what it drops, with what it adds.
fn capabilities(asked: &Capabilities) -> Vec<String> {
    let list = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|name| name.to_uppercase().trim_start_matches("CAP_").to_owned()).collect()
    };
    let (add, drop) = (list(&asked.add), list(&asked.drop));
    if add.iter().any(|name| name == ALL) {
        // The guest knows which there are.
        let without: Vec<_> = drop.into_iter().map(|name| format!("-{name}")).collect();
        return [vec![ALL.to_owned()], without].concat();
    }
    let defaults = DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned());
    let mut kept: Vec<_> =
        defaults.filter(|name| !drop.contains(name) && !drop.iter().any(|name| name == ALL)).collect();
    for name in add {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Whether the pod's whole machine lies open to it.
    pub privileged: bool,
    /// Whether nothing of its `/proc` is hidden or sealed.
    pub unmasked_proc: bool,
    /// The capabilities that it may have at most, without `CAP_`, when it says anything about them.
    pub capabilities: Option<Vec<String>>,
    /// Whether system calls are refused to it that containers have no use for.
    pub filter_system_calls: bool,
    /// Whether no program may give it more privileges than it has.
    pub no_new_privileges: bool,
}

/// What a container asks for, itself or through its pod. As in every cluster, who says nothing about new privileges may
/// get them, and to who is privileged neither capabilities nor a profile matter.
pub(super) fn privileges(pod: Option<&PodSecurityContext>, own: Option<&SecurityContext>) -> Privileges {
    let empty = SecurityContext::default();
    let security = own.unwrap_or(&empty);
    let privileged = security.privileged == Some(true);
    let profile = security.seccomp_profile.as_ref().or(pod.and_then(|pod| pod.seccomp_profile.as_ref()));
    Privileges {
        privileged,
        unmasked_proc: security.proc_mount.as_deref() == Some("Unmasked"),
        capabilities: if privileged {
            Some(vec![ALL.to_owned()])
        } else {
            security.capabilities.as_ref().map(capabilities)
        },
        filter_system_calls: !privileged && profile.is_some_and(|profile| profile.type_ == RUNTIME_DEFAULT),
        no_new_privileges: security.allow_privilege_escalation == Some(false),
    }
}

/// The settings of the kernel that a pod asks for, by their names with dots.
pub(super) fn sysctls(security: &PodSecurityContext) -> Vec<(String, String)> {
    let asked = security.sysctls.iter().flatten();
    asked.map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone())).collect()
}

/// The first of a pod's settings of the kernel that it may not change.
pub(super) fn forbidden_sysctl(sysctls: &[(String, String)]) -> Option<&str> {
    sysctls.iter().map(|(name, _)| name.as_str()).find(|name| !SAFE_SYSCTLS.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn capabilities_are_dropped_from_the_default_ones_and_added_to_them() {
        let made = |add: &[&str], drop: &[&str]| {
            let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
            capabilities(&Capabilities { add: list(add), drop: list(drop) })
        };
        assert_eq!(made(&[], &[]), DEFAULT_CAPABILITIES);
        assert_eq!(made(&["NET_BIND_SERVICE"], &["all"]), ["NET_BIND_SERVICE"]);
        assert_eq!(made(&["CAP_SYS_TIME"], &["ALL"]), ["SYS_TIME"]);
        assert_eq!(made(&["KILL"], &["CHOWN"]).len(), 13);
        assert_eq!(made(&["ALL"], &["MKNOD"]), ["ALL", "-MKNOD"]);
    }

    #[test]
    fn who_says_nothing_is_confined_as_runtimes_do_and_who_is_privileged_is_not() {
        let asked = |pod: serde_json::Value, own: serde_json::Value| {
            let pod: PodSecurityContext = serde_json::from_value(pod).unwrap();
            let own: SecurityContext = serde_json::from_value(own).unwrap();
            privileges(Some(&pod), Some(&own))
        };
        assert_eq!(privileges(None, None), Privileges::default());
        let filtered = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
        assert!(asked(filtered.clone(), json!({})).filter_system_calls);
        assert!(!asked(filtered.clone(), json!({ "seccompProfile": { "type": "Unconfined" } })).filter_system_calls);
        assert!(asked(json!({}), json!({ "allowPrivilegeEscalation": false })).no_new_privileges);
        assert!(!asked(json!({}), json!({ "allowPrivilegeEscalation": true })).no_new_privileges);
        assert!(asked(json!({}), json!({ "procMount": "Unmasked" })).unmasked_proc);
        let all = asked(filtered, json!({ "privileged": true, "capabilities": { "drop": ["ALL"] } }));
        assert_eq!((all.privileged, all.filter_system_calls), (true, false));
        assert_eq!(all.capabilities.unwrap(), ["ALL"]);
    }

    #[test]
    fn only_settings_that_concern_the_pod_alone_may_be_changed() {
        let pair = |name: &str| (name.to_owned(), "1".to_owned());
        assert_eq!(forbidden_sysctl(&[pair("kernel.shm_rmid_forced")]), None);
        assert_eq!(forbidden_sysctl(&[pair("kernel.shm_rmid_forced"), pair("kernel.msgmax")]), Some("kernel.msgmax"));
    }
}

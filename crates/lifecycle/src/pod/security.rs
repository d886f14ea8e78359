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
pub(super) fn capabilities(asked: &Capabilities) -> Vec<String> {
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

/// Whether a container asks for the default profile, itself or through its pod.
pub(super) fn filters_system_calls(pod: Option<&PodSecurityContext>, own: Option<&SecurityContext>) -> bool {
    let own = own.and_then(|security| security.seccomp_profile.as_ref());
    let profile = own.or(pod.and_then(|security| security.seccomp_profile.as_ref()));
    profile.is_some_and(|profile| profile.type_ == RUNTIME_DEFAULT)
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
    fn only_settings_that_concern_the_pod_alone_may_be_changed() {
        let pair = |name: &str| (name.to_owned(), "1".to_owned());
        assert_eq!(forbidden_sysctl(&[pair("kernel.shm_rmid_forced")]), None);
        assert_eq!(forbidden_sysctl(&[pair("kernel.shm_rmid_forced"), pair("kernel.msgmax")]), Some("kernel.msgmax"));
    }
}

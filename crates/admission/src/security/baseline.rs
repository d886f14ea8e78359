//! The level `baseline`: no known ways out of a container.

use super::{containers, name, named, plural};
use serde_json::Value;
use std::collections::BTreeSet;

const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
const SELINUX_TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// What goes beyond the level, each as upstream says it.
pub(super) fn violations(spec: &Value) -> Vec<String> {
    let checks = [
        host_namespaces(spec),
        privileged(spec),
        capabilities(spec),
        host_paths(spec),
        host_ports(spec),
        selinux(spec),
        proc_mount(spec),
        seccomp(spec),
        sysctls(spec),
    ];
    checks.into_iter().flatten().collect()
}

fn host_namespaces(spec: &Value) -> Option<String> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| spec[**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!shared.is_empty()).then(|| format!("host namespaces ({})", shared.join(", ")))
}

fn privileged(spec: &Value) -> Option<String> {
    let who = named(containers(spec).filter(|container| container["securityContext"]["privileged"] == true))?;
    Some(format!("privileged ({who} must not set securityContext.privileged=true)"))
}

fn capabilities(spec: &Value) -> Option<String> {
    let added = |container: &Value| -> Vec<String> {
        let list = container["securityContext"]["capabilities"]["add"].as_array().into_iter().flatten();
        let foreign = list.filter_map(Value::as_str).filter(|capability| !CAPABILITIES.contains(capability));
        foreign.map(str::to_owned).collect()
    };
    let who = named(containers(spec).filter(|container| !added(container).is_empty()))?;
    let what: BTreeSet<String> = containers(spec).flat_map(added).collect();
    let what: Vec<String> = what.iter().map(|capability| format!("{capability:?}")).collect();
    let what = what.join(", ");
    Some(format!("non-default capabilities ({who} must not include {what} in securityContext.capabilities.add)"))
}

fn host_paths(spec: &Value) -> Option<String> {
    let volumes = spec["volumes"].as_array().into_iter().flatten().filter(|volume| volume["hostPath"].is_object());
    plural("volume", volumes.map(name)).map(|which| format!("hostPath volumes ({which})"))
}

fn host_ports(spec: &Value) -> Option<String> {
    let ports = |container: &Value| -> Vec<i64> {
        let ports = container["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| port["hostPort"].as_i64().filter(|port| *port != 0)).collect()
    };
    let who = named(containers(spec).filter(|container| !ports(container).is_empty()))?;
    let all: BTreeSet<i64> = containers(spec).flat_map(ports).collect();
    let word = if all.len() == 1 { "hostPort" } else { "hostPorts" };
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    let verb = if who.starts_with("containers") { "use" } else { "uses" };
    Some(format!("hostPort ({who} {verb} {word} {})", all.join(", ")))
}

/// The security contexts of the pod and of its containers, with who has them.
fn contexts(spec: &Value) -> Vec<(String, &Value)> {
    let own = std::iter::once(("pod".to_owned(), &spec["securityContext"]));
    own.chain(containers(spec).map(|c| (format!("container {:?}", name(c)), &c["securityContext"]))).collect()
}

fn selinux(spec: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bad = |context: &Value| {
        let options = &context["seLinuxOptions"];
        !SELINUX_TYPES.contains(&text(&options["type"]).as_str())
            || !text(&options["user"]).is_empty()
            || !text(&options["role"]).is_empty()
    };
    let who: Vec<String> = contexts(spec).into_iter().filter(|(_, context)| bad(context)).map(|(who, _)| who).collect();
    (!who.is_empty())
        .then(|| format!("seLinuxOptions ({} set forbidden securityContext.seLinuxOptions)", who.join(", ")))
}

fn proc_mount(spec: &Value) -> Option<String> {
    let who = named(containers(spec).filter(|c| c["securityContext"]["procMount"] == "Unmasked"))?;
    Some(format!("procMount ({who} must not set securityContext.procMount to \"Unmasked\")"))
}

fn seccomp(spec: &Value) -> Option<String> {
    let unconfined = |context: &Value| context["seccompProfile"]["type"] == "Unconfined";
    let who: Vec<String> =
        contexts(spec).into_iter().filter(|(_, context)| unconfined(context)).map(|(who, _)| who).collect();
    (!who.is_empty()).then(|| {
        format!(
            "seccompProfile ({} must not set securityContext.seccompProfile.type to \"Unconfined\")",
            who.join(", ")
        )
    })
}

fn sysctls(spec: &Value) -> Option<String> {
    let set = spec["securityContext"]["sysctls"].as_array().into_iter().flatten().map(name);
    let foreign: Vec<&str> = set.filter(|name| !SYSCTLS.contains(name)).collect();
    (!foreign.is_empty()).then(|| format!("forbidden sysctls ({})", foreign.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_way_out_is_named() {
        let table = [
            (json!({"containers": [{"name": "c"}]}), vec![]),
            (json!({"hostPID": true, "hostNetwork": true}), vec!["host namespaces (hostNetwork=true, hostPID=true)"]),
            (
                json!({"containers": [{"name": "a", "securityContext": {"privileged": true}},
                    {"name": "b", "securityContext": {"privileged": true}}]}),
                vec!["privileged (containers \"a\", \"b\" must not set securityContext.privileged=true)"],
            ),
            (
                json!({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "KILL"]}},
                    "ports": [{"hostPort": 80}]}], "volumes": [{"name": "v", "hostPath": {}}]}),
                vec![
                    "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in \
                     securityContext.capabilities.add)",
                    "hostPath volumes (volume \"v\")",
                    "hostPort (container \"a\" uses hostPort 80)",
                ],
            ),
            (
                json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}], "seccompProfile": {"type": "Unconfined"}}}),
                vec![
                    "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
                    "forbidden sysctls (kernel.msgmax)",
                ],
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(violations(&spec), expected, "{spec}");
        }
    }
}

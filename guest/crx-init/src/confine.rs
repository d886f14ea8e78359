//! What a container's processes may do: capabilities, and settings of the kernel that are given to it.

use crate::refusal::{Doing, Refusal};
use orrery_wire::guest::{Confinement, DEFAULT_CAPABILITIES, reason};
use rustix::thread::CapabilitySet;

/// The capabilities that a container may have at most.
pub(crate) fn capabilities(confinement: &Confinement) -> Result<CapabilitySet, Refusal> {
    let defaults = || DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned()).collect();
    let names: Vec<String> = confinement.capabilities.clone().unwrap_or_else(defaults);
    let mut set = CapabilitySet::empty();
    for name in &names {
        let (name, dropped) = name.strip_prefix('-').map_or((name.as_str(), false), |name| (name, true));
        let one = if name == "ALL" { Some(CapabilitySet::all()) } else { CapabilitySet::from_name(name) };
        let one = one.ok_or_else(|| Refusal::new(reason::BAD_REQUEST, format!("there is no capability {name:?}")))?;
        set = if dropped { set.difference(one) } else { set.union(one) };
    }
    Ok(set)
}

/// Sets settings of the kernel in the namespaces of this process, whose `/proc` must be mounted.
pub(crate) fn set_sysctls(sysctls: &[(String, String)]) -> Result<(), Refusal> {
    for (name, value) in sysctls {
        let path = sysctl_path(name)
            .ok_or_else(|| Refusal::new(reason::BAD_REQUEST, format!("{name:?} is no setting of the kernel")))?;
        std::fs::write(&path, value).doing(|| format!("setting {name} to {value:?}"))?;
    }
    Ok(())
}

fn sysctl_path(name: &str) -> Option<String> {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    name.split('.').all(plain).then(|| format!("/proc/sys/{}", name.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &[&str]) -> Result<CapabilitySet, Refusal> {
        let capabilities = Some(names.iter().map(|name| (*name).to_owned()).collect());
        capabilities_of(capabilities)
    }

    fn capabilities_of(capabilities: Option<Vec<String>>) -> Result<CapabilitySet, Refusal> {
        super::capabilities(&Confinement { capabilities, ..Confinement::default() })
    }

    #[test]
    fn capabilities_are_known_by_their_names() {
        assert_eq!(asked(&[]).unwrap(), CapabilitySet::empty());
        assert_eq!(asked(&["KILL", "NET_ADMIN"]).unwrap(), CapabilitySet::KILL | CapabilitySet::NET_ADMIN);
        assert_eq!(asked(&["ALL", "-KILL"]).unwrap(), CapabilitySet::all().difference(CapabilitySet::KILL));
        assert_eq!(asked(&["FLY"]).unwrap_err().reason, reason::BAD_REQUEST);
        assert_eq!(capabilities_of(None).unwrap().iter().count(), DEFAULT_CAPABILITIES.len());
    }

    #[test]
    fn a_setting_has_a_plain_name() {
        assert_eq!(sysctl_path("net.ipv4.tcp_rmem").as_deref(), Some("/proc/sys/net/ipv4/tcp_rmem"));
        for name in ["", ".", "kernel..a", "../x", "kernel./x"] {
            assert_eq!(sysctl_path(name), None, "{name}");
        }
    }
}

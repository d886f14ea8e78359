//! What a container's processes may not do: capabilities, system calls, and settings of the kernel that are given to it.

use crate::refusal::{Doing, Refusal};
use orrery_wire::guest::{Confinement, DEFAULT_CAPABILITIES, reason};
use rustix::thread::CapabilitySet;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;

/// System calls that programs in containers have no use for, and that have opened the kernel to attacks: those that the default
/// profile of container runtimes refuses whatever capabilities a container has, and those that it refuses without a
/// capability that containers do not have by default
/// (<https://docs.docker.com/engine/security/seccomp/#significant-syscalls-blocked-by-the-default-profile>).
const REFUSED: [i64; 45] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

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

/// Refuses [`REFUSED`] to this process and all that come from it. New privileges must have been given up.
pub(crate) fn filter_system_calls() -> Result<(), Refusal> {
    let program = program().doing(|| "making the filter of system calls".to_owned())?;
    seccompiler::apply_filter(&program).doing(|| "setting the filter of system calls".to_owned())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    // No rules for a system call: it matches whatever its arguments are.
    let rules: BTreeMap<_, _> = REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).expect("error numbers are small"));
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64)?.try_into()
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
        super::capabilities(&Confinement { capabilities, filter_system_calls: false })
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
    fn a_refused_call_fails_and_others_do_not() {
        // In a process of its own: a filter is never taken off again. Between fork and exit nothing is allocated by others.
        let program = program().unwrap();
        // SAFETY: the child calls only what is safe after a fork, and ends without running destructors.
        let code = unsafe {
            match libc::fork() {
                0 => {
                    libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                    let set = seccompiler::apply_filter(&program).is_ok();
                    let refused = libc::unshare(libc::CLONE_NEWUTS) == -1 && *libc::__errno_location() == libc::EPERM;
                    let allowed = libc::getppid() > 0;
                    libc::_exit(i32::from(!(set && refused && allowed)))
                }
                child => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                    status
                }
            }
        };
        assert_eq!(code, 0);
    }

    #[test]
    fn a_setting_has_a_plain_name() {
        assert_eq!(sysctl_path("net.ipv4.tcp_rmem").as_deref(), Some("/proc/sys/net/ipv4/tcp_rmem"));
        for name in ["", ".", "kernel..a", "../x", "kernel./x"] {
            assert_eq!(sysctl_path(name), None, "{name}");
        }
    }
}

//! The filter of system calls: what programs in containers need is allowed, the rest refused.
//!
//! It allows what the default profile of container runtimes allows
//! (<https://docs.docker.com/engine/security/seccomp/#significant-syscalls-blocked-by-the-default-profile>), and like it follows the
//! capabilities: who may mount may call `mount`. A call that this kernel's programs know and that is refused gives `EPERM`;
//! any other, such as one that a newer kernel has, gives `ENOSYS`, which makes C libraries use what was there before.
//! `clone3` is one of these: its flags lie in memory, where a filter cannot see whether namespaces are asked for.
//!
//! There is one way into the kernel, that of 64-bit programs. A process that takes another (`int 0x80`) is killed; the
//! numbers of x32 are no numbers that are known.

use crate::refusal::{Doing, Refusal};
use crate::sys;
use libc::c_long;
use rustix::thread::CapabilitySet;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What everybody may call. Numbers stand for calls that the C library's headers do not name yet:
/// `io_pgetevents`, `cachestat`, `map_shadow_stack`, `futex_wake`, `futex_wait`, `futex_requeue` and `setxattrat` to `removexattrat`.
#[rustfmt::skip]
const EVERYBODY: &[c_long] = { use libc::*; &[
    // Files: contents, names, attributes.
    SYS_read, SYS_write, SYS_open, SYS_close, SYS_lseek, SYS_pread64, SYS_pwrite64, SYS_readv, SYS_writev, SYS_preadv, SYS_pwritev,
    SYS_preadv2, SYS_pwritev2, SYS_openat, SYS_openat2, SYS_creat, SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_ioctl, SYS_flock,
    SYS_close_range, SYS_stat, SYS_fstat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_access, SYS_faccessat,
    SYS_faccessat2, SYS_fsync, SYS_fdatasync, SYS_sync, SYS_syncfs, SYS_sync_file_range, SYS_truncate, SYS_ftruncate, SYS_fallocate,
    SYS_fadvise64, SYS_readahead, SYS_getdents, SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_rename, SYS_renameat,
    SYS_renameat2, SYS_mkdir, SYS_mkdirat, SYS_rmdir, SYS_link, SYS_linkat, SYS_unlink, SYS_unlinkat, SYS_symlink, SYS_symlinkat,
    SYS_readlink, SYS_readlinkat, SYS_mknod, SYS_mknodat, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_chown, SYS_fchown,
    SYS_lchown, SYS_fchownat, SYS_umask, SYS_utime, SYS_utimes, SYS_futimesat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr, SYS_llistxattr, SYS_flistxattr, SYS_removexattr,
    SYS_lremovexattr, SYS_fremovexattr, 463, 464, 465, 466, SYS_name_to_handle_at, SYS_inotify_init, SYS_inotify_init1,
    SYS_inotify_add_watch, SYS_inotify_rm_watch, SYS_fanotify_mark, SYS_sendfile, SYS_splice, SYS_tee, SYS_vmsplice,
    SYS_copy_file_range, SYS_io_setup, SYS_io_destroy, SYS_io_getevents, 333, SYS_io_submit, SYS_io_cancel, SYS_ioprio_set,
    SYS_ioprio_get, SYS_landlock_create_ruleset, SYS_landlock_add_rule, SYS_landlock_restrict_self, 451,
    // Memory.
    SYS_mmap, SYS_mprotect, SYS_munmap, SYS_brk, SYS_mremap, SYS_msync, SYS_mincore, SYS_madvise, SYS_mlock, SYS_mlock2, SYS_munlock,
    SYS_mlockall, SYS_munlockall, SYS_remap_file_pages, SYS_memfd_create, SYS_memfd_secret, SYS_pkey_mprotect, SYS_pkey_alloc,
    SYS_pkey_free, SYS_mseal, SYS_membarrier, SYS_modify_ldt, SYS_arch_prctl, SYS_set_thread_area, SYS_get_thread_area, 453,
    // Processes and threads.
    SYS_fork, SYS_vfork, SYS_clone, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_getpid, SYS_getppid,
    SYS_gettid, SYS_getpgid, SYS_setpgid, SYS_getpgrp, SYS_getsid, SYS_setsid, SYS_set_tid_address, SYS_pidfd_open, SYS_prctl,
    SYS_personality, SYS_seccomp, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_mrelease, SYS_uname,
    SYS_getrlimit, SYS_setrlimit, SYS_prlimit64, SYS_getrusage, SYS_sysinfo, SYS_times, SYS_getpriority, SYS_setpriority,
    SYS_sched_yield, SYS_sched_setparam, SYS_sched_getparam, SYS_sched_setscheduler, SYS_sched_getscheduler, SYS_sched_setattr,
    SYS_sched_getattr, SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_rr_get_interval, SYS_sched_setaffinity,
    SYS_sched_getaffinity, SYS_getcpu, SYS_futex, SYS_futex_waitv, 454, 455, 456, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq,
    SYS_restart_syscall, SYS_getrandom,
    // Users, groups, capabilities.
    SYS_getuid, SYS_getgid, SYS_geteuid, SYS_getegid, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_getresuid,
    SYS_setresgid, SYS_getresgid, SYS_getgroups, SYS_setgroups, SYS_setfsuid, SYS_setfsgid, SYS_capget, SYS_capset,
    // Signals.
    SYS_kill, SYS_tkill, SYS_tgkill, SYS_pidfd_send_signal, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending,
    SYS_rt_sigtimedwait, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_rt_sigsuspend, SYS_sigaltstack, SYS_signalfd, SYS_signalfd4,
    SYS_pause,
    // Waiting, and time.
    SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd, SYS_eventfd2, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres,
    SYS_clock_adjtime, SYS_adjtimex, SYS_gettimeofday, SYS_time, SYS_alarm, SYS_getitimer, SYS_setitimer, SYS_timer_create,
    SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete, SYS_timerfd_create, SYS_timerfd_settime,
    SYS_timerfd_gettime,
    // Between processes: pipes, sockets, queues.
    SYS_pipe, SYS_pipe2, SYS_socket, SYS_socketpair, SYS_connect, SYS_accept, SYS_accept4, SYS_bind, SYS_listen, SYS_shutdown,
    SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg,
    SYS_recvmmsg, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop, SYS_msgget,
    SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_mq_notify,
    SYS_mq_getsetattr,
] };

/// What only those may call who have one of these capabilities.
const WITH_CAPABILITY: &[(CapabilitySet, &[c_long])] = &[
    (
        CapabilitySet::SYS_ADMIN,
        &[
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_lookup_dcookie,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (CapabilitySet::SYS_ADMIN.union(CapabilitySet::BPF), &[libc::SYS_bpf]),
    (CapabilitySet::SYS_ADMIN.union(CapabilitySet::PERFMON), &[libc::SYS_perf_event_open]),
    (CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYSLOG), &[libc::SYS_syslog]),
    (CapabilitySet::DAC_READ_SEARCH, &[libc::SYS_open_by_handle_at]),
    (CapabilitySet::SYS_BOOT, &[libc::SYS_reboot]),
    (CapabilitySet::SYS_CHROOT, &[libc::SYS_chroot]),
    (CapabilitySet::SYS_MODULE, &[libc::SYS_delete_module, libc::SYS_finit_module, libc::SYS_init_module]),
    (
        CapabilitySet::SYS_NICE,
        &[libc::SYS_get_mempolicy, libc::SYS_mbind, libc::SYS_set_mempolicy, libc::SYS_set_mempolicy_home_node],
    ),
    (CapabilitySet::SYS_PACCT, &[libc::SYS_acct]),
    (CapabilitySet::SYS_PTRACE, &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise]),
    (CapabilitySet::SYS_RAWIO, &[libc::SYS_ioperm, libc::SYS_iopl]),
    (CapabilitySet::SYS_TIME, &[libc::SYS_clock_settime, libc::SYS_settimeofday]),
    (CapabilitySet::SYS_TTY_CONFIG, &[libc::SYS_vhangup]),
];

/// What nobody may call who is under the filter.
const NOBODY: &[c_long] = &[
    libc::SYS__sysctl,
    libc::SYS_add_key,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_pivot_root,
    libc::SYS_request_key,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_userfaultfd,
    libc::SYS_ustat,
];

/// The flags of `clone` that ask for namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What `personality` may be asked for: Linux, that of 32 bits, each also with the name of Linux 2.6, and which it is.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Puts this process and all that come from it under the filter that fits `capabilities`. It takes `CAP_SYS_ADMIN`.
pub(crate) fn apply(capabilities: CapabilitySet) -> Result<(), Refusal> {
    let programs = programs(capabilities).doing(|| "making the filter of system calls".to_owned())?;
    for program in &programs {
        sys::filter_system_calls(program).doing(|| "setting the filter of system calls".to_owned())?;
    }
    Ok(())
}

/// Two filters, of which the kernel asks both: of two error numbers it gives that of the one which was set last.
fn programs(capabilities: CapabilitySet) -> Result<[BpfProgram; 2], BackendError> {
    let may = |needed: CapabilitySet| capabilities.intersects(needed);
    // No rules for a call: it matches whatever its arguments are.
    let always = |call: &c_long| (*call, Vec::new());
    let (mut allowed, mut refused): (Rules, Rules) =
        (EVERYBODY.iter().map(always).collect(), NOBODY.iter().map(always).collect());
    for (needed, calls) in WITH_CAPABILITY {
        if may(*needed) { &mut allowed } else { &mut refused }.extend(calls.iter().map(always));
    }
    if may(CapabilitySet::SYS_ADMIN) {
        allowed.extend([always(&libc::SYS_clone3)]);
    } else {
        let flag = |flag: &i32| rule(&[(Is::MaskedEq(*flag as u64), *flag as u64)]);
        refused.insert(libc::SYS_clone, NAMESPACES.iter().map(flag).collect::<Result<_, _>>()?);
    }
    let family = u64::try_from(libc::AF_VSOCK).expect("families of addresses are small");
    refused.insert(libc::SYS_socket, vec![rule(&[(Is::Eq, family)])?]);
    refused.insert(libc::SYS_personality, vec![rule(&PERSONALITIES.map(|value| (Is::Ne, value)))?]);
    let error = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let program = |rules, others, these| SeccompFilter::new(rules, others, these, TargetArch::x86_64)?.try_into();
    Ok([
        program(allowed, error(libc::ENOSYS), SeccompAction::Allow)?,
        program(refused, SeccompAction::Allow, error(libc::EPERM))?,
    ])
}

/// That the first argument of a call is all of this.
fn rule(conditions: &[(Is, u64)]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.iter().map(|(is, value)| SeccompCondition::new(0, Length::Dword, is.clone(), *value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::c_ulong;

    /// The error number of each call, in a process under the filter for `capabilities`. All arguments but the first are 0.
    fn tried<const N: usize>(capabilities: CapabilitySet, calls: [(c_long, c_ulong); N]) -> [u8; N] {
        let programs = programs(capabilities).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut numbers = [0; N];
        // SAFETY: between fork and exit the child does what is safe after a fork, and ends without running destructors.
        let status = unsafe {
            match libc::fork() {
                0 => {
                    libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                    let set = programs.iter().all(|program| sys::filter_system_calls(program).is_ok());
                    for (number, (call, first)) in numbers.iter_mut().zip(calls) {
                        let failed = libc::syscall(call, first, 0, 0, 0, 0, 0) == -1;
                        *number = if failed { *libc::__errno_location() as u8 } else { 0 };
                    }
                    let written = rustix::io::write(&write, &numbers) == Ok(N);
                    libc::_exit(i32::from(!(set && written)))
                }
                child => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                    status
                }
            }
        };
        assert_eq!(status, 0);
        assert_eq!(rustix::io::read(&read, &mut numbers), Ok(N));
        numbers
    }

    const EPERM: u8 = libc::EPERM as u8;
    const ENOSYS: u8 = libc::ENOSYS as u8;
    const EFAULT: u8 = libc::EFAULT as u8;
    const EINVAL: u8 = libc::EINVAL as u8;
    const EBADF: u8 = libc::EBADF as u8;

    #[test]
    fn calls_are_allowed_refused_and_unknown() {
        const X32: c_long = 0x4000_0000;
        let (namespace, personality) = (libc::CLONE_NEWUSER as c_ulong, 0x0400_0000);
        let asked = [
            (libc::SYS_getppid, 0),
            (libc::SYS_keyctl, 0),
            (libc::SYS_io_uring_setup, 0),
            (libc::SYS_unshare, 0),
            (libc::SYS_clone, namespace),
            (libc::SYS_clone3, 0),
            (libc::SYS_socket, libc::AF_VSOCK as c_ulong),
            (libc::SYS_socket, 200),
            (libc::SYS_personality, personality),
            (libc::SYS_personality, 0xffff_ffff),
            (4000, 0),
            (X32 + libc::SYS_getppid, 0),
            (libc::SYS_syslog, 1000),
        ];
        let found = tried(CapabilitySet::empty(), asked);
        let not_supported = libc::EAFNOSUPPORT as u8;
        assert_eq!(
            found,
            [0, EPERM, EPERM, EPERM, EPERM, ENOSYS, EPERM, not_supported, EPERM, 0, ENOSYS, ENOSYS, EPERM]
        );
    }

    #[test]
    fn what_a_capability_is_for_is_allowed_with_it() {
        let capabilities = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE;
        let asked = [
            (libc::SYS_unshare, 0),
            (libc::SYS_setns, 1 << 20),
            (libc::SYS_clone3, 0),
            (libc::SYS_process_madvise, 1 << 20),
            (libc::SYS_bpf, 1 << 20),
            (libc::SYS_init_module, 0),
            (libc::SYS_keyctl, 0),
        ];
        let found = tried(capabilities, asked);
        assert_eq!((found[0], found[1], found[2], found[5], found[6]), (0, EBADF, EINVAL, EPERM, EPERM));
        assert!([EBADF, EINVAL].contains(&found[3]), "{found:?}");
        assert!([EINVAL, EFAULT, EPERM].contains(&found[4]), "as the kernel says: {found:?}");
    }

    #[test]
    fn each_call_stands_in_one_list() {
        let lists = WITH_CAPABILITY.iter().map(|(_, calls)| *calls).chain([EVERYBODY, NOBODY, &[libc::SYS_clone3]]);
        let mut all: Vec<_> = lists.flatten().copied().collect();
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!(all.len() > 350, "{}", all.len());
    }
}

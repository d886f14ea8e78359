//! What happens to QEMU's process between fork and exec.
//!
//! ```text
//!   fork -> control groups -> empty network -> groups, gid, uid -> death signal -> descriptors -> exec
//! ```
//! Taps and sockets are handed over open, so QEMU needs no network: one that a guest has taken over reaches nothing of the
//! host, not even its loopback.
//!
//! Control groups come first, because afterwards the process has no right to enter them; the death signal comes after
//! the change of user, because that change clears it.
#![allow(unsafe_code)] // `pre_exec` and the system calls in it have no safe wrapper.

use crate::machine::Credentials;
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
};
use tokio::process::Command;

/// All that the child needs, opened and allocated before the fork.
#[derive(Debug)]
pub(crate) struct Preparation {
    control_groups: Vec<File>,
    credentials: Option<Credentials>,
    supplementary: Vec<libc::gid_t>,
    kept: Vec<OwnedFd>,
    parent: libc::pid_t,
}

impl Preparation {
    /// Opens the control groups. `kept` are the descriptors that QEMU inherits, under the numbers that they have here;
    /// `device_group` is a group that QEMU gets beside its own, for a device.
    pub(crate) fn new(
        cgroups: &[PathBuf],
        credentials: Option<Credentials>,
        device_group: Option<u32>,
        kept: Vec<OwnedFd>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let open = |directory: &PathBuf| {
            let path = directory.join("cgroup.procs");
            OpenOptions::new().write(true).open(&path).map_err(|error| (path, error))
        };
        let control_groups = cgroups.iter().map(open).collect::<Result<_, _>>()?;
        // SAFETY: `getpid` has no preconditions and cannot fail.
        let parent = unsafe { libc::getpid() };
        Ok(Self { control_groups, credentials, supplementary: device_group.into_iter().collect(), kept, parent })
    }

    /// Makes `command` carry the preparation out in its child.
    pub(crate) fn install(self, command: &mut Command) {
        // SAFETY: `apply` makes system calls only; it neither allocates nor takes locks, as is required after a fork.
        unsafe { command.pre_exec(move || self.apply()) };
    }

    fn apply(&self) -> io::Result<()> {
        for group in &self.control_groups {
            // `0` stands for the writing process.
            // SAFETY: the buffer is static and its length is right.
            check(unsafe { libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1) } as libc::c_long)?;
        }
        if let Some(Credentials { uid, gid }) = self.credentials {
            // SAFETY: the flag takes no memory; the process has one thread.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into())?;
            // SAFETY: the pointer and length are those of a vector that is not changed.
            check(unsafe { libc::setgroups(self.supplementary.len(), self.supplementary.as_ptr()) }.into())?;
            // SAFETY: plain numbers. All three ids are set, so that there is no way back.
            check(unsafe { libc::setresgid(gid, gid, gid) }.into())?;
            // SAFETY: as above.
            check(unsafe { libc::setresuid(uid, uid, uid) }.into())?;
        }
        // SAFETY: this option takes one number.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }.into())?;
        // SAFETY: no preconditions. The parent may have died before the death signal was set.
        if unsafe { libc::getppid() } != self.parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.keep_only_wanted_descriptors()
    }

    fn keep_only_wanted_descriptors(&self) -> io::Result<()> {
        const FIRST: libc::c_uint = 3;
        // SAFETY: the call takes numbers; it marks descriptors and closes none of them before exec.
        check(unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
        for fd in &self.kept {
            // SAFETY: the descriptor is ours and open.
            check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }.into())?;
        }
        Ok(())
    }
}

/// The number under which a kept descriptor is known to QEMU.
pub(crate) fn number(fd: &OwnedFd) -> RawFd {
    fd.as_raw_fd()
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

//! Processes that may not be our children: finding the shim of a machine, waiting for its end, and starting it so that
//! it outlives us.
#![allow(unsafe_code)]

use orrery_vmm::Template;
use orrery_wire::machine::ShimPid;
use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setpriority_process},
};
use std::{
    fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::Path,
    process::Stdio,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
};

/// A process that is pinned: its id can't become another's while this value is held.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    handle: AsyncFd<OwnedFd>,
}

impl Process {
    /// The process `pid`, if it runs and `is_it` says that it is the one that is meant.
    pub(crate) fn open(pid: u32, is_it: impl FnOnce(u32) -> bool) -> Option<Self> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let handle = pidfd_open(raw, PidfdFlags::empty()).ok()?;
        // Looked at only now that it is pinned.
        if !is_it(pid) {
            return None;
        }
        // SAFETY: the descriptor is owned by the value that is registered: it stays the same and open until that is
        // dropped.
        let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.ok()?;
        Some(Self { pid: raw, handle })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&self) {
        // An error here means that the handle is of no use; whoever waits has a time limit of their own.
        let _ = self.handle.readable().await;
    }

    /// Kills the process. It may have ended already.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(self.handle.get_ref(), Signal::KILL);
    }
}

/// When a process was started, in clock ticks since the kernel's boot; none when there is no such process.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, also parentheses and blanks.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether the process was started with `--config` and this file, as shims are, and not just with the file, as an
/// editor might be. A process that has ended has no arguments.
fn is_shim_of(pid: u32, config: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    arguments.windows(2).any(|pair| pair == [b"--config", config.as_os_str().as_bytes()])
}

/// The running shim that was started with the configuration file `config`: by its pid file, or, when it has not come to
/// writing that, by looking at every process.
pub(crate) fn find_shim(pid_file: &Path, config: &Path) -> Option<Process> {
    shim_by_file(pid_file, config).or_else(|| {
        let processes = fs::read_dir("/proc").ok()?;
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| is_shim_of(*pid, config))
            .find_map(|pid| Process::open(pid, |pid| is_shim_of(pid, config)))
    })
}

/// The running shim that `pid_file` names.
pub(crate) fn shim_by_file(pid_file: &Path, config: &Path) -> Option<Process> {
    let record: ShimPid = serde_json::from_slice(&fs::read(pid_file).ok()?).ok()?;
    Process::open(record.pid, |pid| start_time(pid) == Some(record.start_time) && is_shim_of(pid, config))
}

/// How a shim is started beyond its configuration.
#[derive(Debug, Default)]
pub(crate) struct Manner<'a> {
    /// What it goes on from.
    pub(crate) template: Option<&'a Template>,
    /// Whether it makes the template and ends, with whatever time others leave to it.
    pub(crate) makes_template: bool,
    /// Its agent's socket, when it is to be warm and to wait there for its machine.
    pub(crate) agent: Option<&'a UnixStream>,
}

/// The niceness of what nobody waits for.
const LAST_IN_LINE: i32 = 19;

/// Starts a shim in a session of its own, so that no signal to ours reaches it, with its output appended to `log`. It
/// goes on when we end; while we live, the runtime reaps it.
pub(crate) fn spawn_shim(command: &[String], config: &Path, log: &Path, manner: &Manner<'_>) -> io::Result<Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the shim's command is empty"))?;
    let output = fs::OpenOptions::new().create(true).append(true).open(log)?;
    let errors = output.try_clone()?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).arg("--config").arg(config).current_dir("/");
    let given = manner.template.map(|template| template.files().map(|file| file.as_raw_fd()));
    if let Some([memory, state]) = given {
        command.arg("--template").arg(format!("{memory},{state}"));
    }
    if manner.makes_template {
        command.arg("--make-template");
    }
    let mut input = Stdio::null();
    if let Some(agent) = manner.agent {
        command.arg("--warm");
        input = OwnedFd::from(agent.try_clone()?).into();
    }
    let last = manner.makes_template;
    command.stdin(input).stdout(output).stderr(errors).kill_on_drop(false);
    // SAFETY: between fork and exec only system calls are made, which are async-signal-safe and allocate nothing. The
    // template's files are open: it is borrowed until the child was started.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            for file in given.into_iter().flatten() {
                fcntl_setfd(BorrowedFd::borrow_raw(file), FdFlags::empty())?;
            }
            if last {
                setpriority_process(None, LAST_IN_LINE)?;
            }
            Ok(())
        });
    }
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_of_this_process_is_read_and_does_not_change() {
        let own = std::process::id();
        assert!(start_time(own).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(own), start_time(own));
        assert_eq!(start_time(u32::MAX), None);
    }

    #[tokio::test]
    async fn a_spawned_process_is_found_by_its_configuration_file_and_its_end_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("shim.json");
        let never_written = directory.path().join("fifo");
        nix::unistd::mkfifo(&never_written, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // `sh -c TEXT --config FILE` waits for a writer and has the file among its arguments.
        let command = ["sh", "-c", &format!("read line < {}", never_written.display())].map(str::to_owned);
        let log = directory.path().join("log");
        let pid = spawn_shim(&command, &config, &log, &Manner::default()).unwrap().id().unwrap();
        let found = find_shim(&directory.path().join("none.pid"), &config).expect("it runs");
        assert_eq!(found.pid(), pid);
        let record = |start_time| serde_json::to_vec(&ShimPid { pid, start_time }).unwrap();
        let pid_file = directory.path().join("shim.pid");
        fs::write(&pid_file, record(start_time(pid).unwrap())).unwrap();
        assert!(shim_by_file(&pid_file, &config).is_some());
        assert!(find_shim(&pid_file, &directory.path().join("other.json")).is_none());
        fs::write(&pid_file, record(1)).unwrap();
        assert!(shim_by_file(&pid_file, &config).is_none(), "another process has the id now");
        found.kill();
        found.ended().await;
        assert!(find_shim(&pid_file, &config).is_none());
    }
}

//! Processes: started, adopted, told to end, waited for. A process is known by its id and its start time, so that an id
//! that the kernel gave to somebody else is never taken for ours.

use crate::protocol::RoleSpec;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::{Child, Command};

/// How often an adopted process is looked for.
const ADOPTED_INTERVAL: Duration = Duration::from_millis(100);

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks from the kernel's boot to the process's start.
    pub start_time: u64,
}

/// Whether the process runs. One that has ended but was not waited for does not.
#[must_use]
pub fn is_alive(process: ProcessId) -> bool {
    stat(process.pid).is_some_and(|(state, start_time)| start_time == process.start_time && state != 'Z')
}

/// State and start time of a process.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, also parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

/// A running process of a role.
pub(crate) enum Process {
    /// Started by this keeper.
    Child { id: ProcessId, child: Box<Child> },
    /// Started by an earlier one.
    Adopted { id: ProcessId },
}

impl Process {
    /// Starts a role's program in a process group of its own, its output appended to the role's log.
    pub(crate) fn start(spec: &RoleSpec) -> io::Result<Self> {
        let Some((program, arguments)) = spec.argv.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a role without a program"));
        };
        if let Some(directory) = spec.log.parent() {
            fs::create_dir_all(directory)?;
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&spec.log)?;
        let mut command = std::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = Command::from(command).spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the process ended at once"))?;
        let start_time = stat(pid).map(|(_, start_time)| start_time).unwrap_or_default();
        Ok(Self::Child { id: ProcessId { pid, start_time }, child: Box::new(child) })
    }

    /// Takes over a process of an earlier keeper, if it still runs.
    pub(crate) fn adopt(id: ProcessId) -> Option<Self> {
        is_alive(id).then_some(Self::Adopted { id })
    }

    pub(crate) fn id(&self) -> ProcessId {
        match self {
            Self::Child { id, .. } | Self::Adopted { id } => *id,
        }
    }

    /// Waits for the end; how it ended, for people. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> String {
        match self {
            Self::Child { child, .. } => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot be waited for: {error}"),
            },
            Self::Adopted { id } => {
                // Not our child: there is nothing to wait for but its absence.
                while is_alive(*id) {
                    tokio::time::sleep(ADOPTED_INTERVAL).await;
                }
                "ended (adopted: its exit status went elsewhere)".to_owned()
            }
        }
    }

    /// Sends a signal; a process that has ended is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.id();
        if is_alive(id)
            && let Ok(pid) = i32::try_from(id.pid)
        {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Ends every role whose keeper is gone: SIGTERM, and SIGKILL after `grace`. How many there were. For whoever stops an
/// installation; a keeper would start them again.
pub async fn stop_orphans(runtime_directory: &Path, grace: Duration) -> usize {
    let files = fs::read_dir(roles_directory(runtime_directory)).into_iter().flatten().flatten();
    let mut orphans: Vec<Process> = files.filter_map(|file| recall(&file.path())).filter_map(Process::adopt).collect();
    for orphan in &orphans {
        orphan.signal(Signal::SIGTERM);
    }
    let kill_at = tokio::time::Instant::now() + grace;
    for orphan in &mut orphans {
        if tokio::time::timeout_at(kill_at, orphan.wait()).await.is_err() {
            orphan.signal(Signal::SIGKILL);
            orphan.wait().await;
        }
    }
    orphans.len()
}

/// Where the process ids of roles are remembered.
pub(crate) fn roles_directory(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("roles")
}

/// Remembers a role's process for the next keeper.
pub(crate) fn remember(path: &Path, id: ProcessId) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    serde_json::to_writer(&mut file, &id)?;
    file.flush()?;
    fs::rename(temporary, path)
}

/// The process that an earlier keeper remembered.
pub(crate) fn recall(path: &Path) -> Option<ProcessId> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

//! One control group per container: its memory limit, its bound on processes, and the means to reach all of them.

use crate::refusal::{Doing, Refusal};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The group that holds the containers' groups.
pub(crate) const ROOT: &str = "/sys/fs/cgroup/containers";

/// The group that init and its own processes are in.
pub(crate) const INIT: &str = "/sys/fs/cgroup";

/// Most processes and threads of one container, on a machine big enough: a fork bomb ends here and not with the
/// machine.
const MOST_PROCESSES: u64 = 4096;

/// Makes [`ROOT`] and hands the controllers down to the containers' groups.
pub(crate) fn prepare() -> io::Result<()> {
    fs::create_dir_all(ROOT)?;
    for parent in ["/sys/fs/cgroup", ROOT] {
        fs::write(Path::new(parent).join("cgroup.subtree_control"), "+memory +pids +cpu")?;
    }
    Ok(())
}

/// A container's control group.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    /// The directory, opened: where processes are born into.
    pub(crate) directory: OwnedFd,
}

impl Cgroup {
    /// Makes the group of the container with `stream`.
    pub(crate) fn create(stream: u32, memory_limit_bytes: Option<u64>) -> Result<Self, Refusal> {
        let path = Path::new(ROOT).join(stream.to_string());
        let doing = || format!("making the control group {}", path.display());
        fs::create_dir(&path).doing(doing)?;
        let directory = rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let group = Self { directory: directory.doing(doing)?, path: path.clone() };
        match group.limit(memory_limit_bytes) {
            Ok(()) => Ok(group),
            Err(refusal) => {
                group.remove();
                Err(refusal)
            }
        }
    }

    fn limit(&self, memory_limit_bytes: Option<u64>) -> Result<(), Refusal> {
        let threads_max = fs::read_to_string("/proc/sys/kernel/threads-max").unwrap_or_default();
        self.write("pids.max", &most_processes(&threads_max).to_string())?;
        // Out of memory is the whole container's end, as Kubernetes has it on control groups of version 2.
        self.write("memory.oom.group", "1")?;
        match memory_limit_bytes {
            Some(bytes) => self.write("memory.max", &bytes.to_string()),
            None => Ok(()),
        }
    }

    fn write(&self, file: &str, value: &str) -> Result<(), Refusal> {
        fs::write(self.path.join(file), value).doing(|| format!("setting {file} of a control group to {value}"))
    }

    /// How many of its processes the kernel killed for want of memory so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        fs::read_to_string(self.path.join("memory.events")).map_or(0, |text| oom_kills(&text))
    }

    /// Sends `signal` to every process of the group. One that ends meanwhile is no error.
    pub(crate) fn signal_all(&self, signal: i32) -> Result<(), Refusal> {
        if signal == libc::SIGKILL {
            return self.kill();
        }
        let members =
            fs::read_to_string(self.path.join("cgroup.procs")).doing(|| "listing the processes".to_owned())?;
        for pid in members.lines().filter_map(|line| line.parse::<i32>().ok()) {
            match crate::sys::kill(pid, signal) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(error).doing(|| format!("sending signal {signal} to process {pid}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Kills every process of the group, also those being forked.
    pub(crate) fn kill(&self) -> Result<(), Refusal> {
        self.write("cgroup.kill", "1")
    }

    /// Removes the group, which has no process any more.
    pub(crate) fn remove(self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            crate::console::say(&format!("removing the control group {}: {error}", self.path.display()));
        }
    }
}

/// A container's bound on processes, given the kernel's own for the whole machine, which depends on its memory: one
/// container may have half of that.
fn most_processes(threads_max: &str) -> u64 {
    threads_max.trim_end().parse().map_or(MOST_PROCESSES, |most: u64| (most / 2).clamp(1, MOST_PROCESSES))
}

fn oom_kills(events: &str) -> u64 {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_may_have_half_of_a_small_machines_processes() {
        for (threads_max, expected) in [("1500\n", 750), ("100000\n", 4096), ("0\n", 1), ("", 4096)] {
            assert_eq!(most_processes(threads_max), expected);
        }
    }

    #[test]
    fn the_count_of_killed_processes_is_read_from_its_own_line() {
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 1\n"), 3);
        assert_eq!(oom_kills("oom_group_kill 1\n"), 0);
        assert_eq!(oom_kills(""), 0);
    }
}

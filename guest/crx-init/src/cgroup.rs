//! One control group per container, with its limits and the means to reach all of its processes, below one for all containers.
//!
//! ```text
//!   /                  init and its own processes, without limits
//!   /containers        the pod: processes, and memory that leaves init something to work with
//!   /containers/N      a container: memory, CPU time, processes; what runs out of memory ends as a whole
//! ```

use crate::refusal::{Doing, Refusal};
use orrery_wire::guest::ContainerSpec;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The group that holds the containers' groups.
pub(crate) const ROOT: &str = "/sys/fs/cgroup/containers";

/// The group that init and its own processes are in.
pub(crate) const INIT: &str = "/sys/fs/cgroup";

/// Most processes and threads of one container, on a machine big enough: a fork bomb ends here and not with the
/// machine.
const MOST_PROCESSES: u64 = 4096;
/// Memory of the machine that containers together leave to init and the kernel, in bytes.
const KEPT_BYTES: u64 = 8 * 1024 * 1024;
/// Length of the period in which CPU time is counted, in microseconds.
const PERIOD_MICROS: u64 = 100_000;
/// The least CPU time of a period that the kernel takes as a limit, in microseconds.
const LEAST_QUOTA_MICROS: u64 = 1000;
/// How long processes that were just killed may take to leave their group.
const LEAVING: Duration = Duration::from_millis(500);

/// Makes [`ROOT`] and hands the controllers down to the containers' groups.
pub(crate) fn prepare() -> io::Result<()> {
    fs::create_dir_all(ROOT)?;
    for parent in ["/sys/fs/cgroup", ROOT] {
        fs::write(Path::new(parent).join("cgroup.subtree_control"), "+memory +pids +cpu")?;
    }
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match memory_for_containers(&memory) {
        Some(bytes) => fs::write(Path::new(ROOT).join("memory.max"), bytes.to_string()),
        None => Ok(()),
    }
}

/// Bounds the processes of all containers together: by `asked`, and by what the kernel allows the machine.
pub(crate) fn bound_processes(asked: Option<u64>) -> Result<(), Refusal> {
    let most = most_of_pod(asked, &threads_max());
    fs::write(Path::new(ROOT).join("pids.max"), most.to_string())
        .doing(|| format!("bounding the pod's processes to {most}"))
}

fn threads_max() -> String {
    fs::read_to_string("/proc/sys/kernel/threads-max").unwrap_or_default()
}

/// A container's control group.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    /// The directory, opened: where processes are born into.
    pub(crate) directory: OwnedFd,
}

impl Cgroup {
    /// Makes the group of the container that `spec` describes.
    pub(crate) fn create(spec: &ContainerSpec) -> Result<Self, Refusal> {
        let path = Path::new(ROOT).join(spec.stream.to_string());
        let doing = || format!("making the control group {}", path.display());
        fs::create_dir(&path).doing(doing)?;
        let directory = rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let group = Self { directory: directory.doing(doing)?, path: path.clone() };
        match group.limit(spec) {
            Ok(()) => Ok(group),
            Err(refusal) => {
                group.remove();
                Err(refusal)
            }
        }
    }

    fn limit(&self, spec: &ContainerSpec) -> Result<(), Refusal> {
        let pod = fs::read_to_string(Path::new(ROOT).join("pids.max")).unwrap_or_default();
        self.write("pids.max", &most_processes(&threads_max(), &pod).to_string())?;
        // Out of memory is the whole container's end, as Kubernetes has it on control groups of version 2.
        self.write("memory.oom.group", "1")?;
        if let Some(bytes) = spec.memory_limit_bytes {
            self.write("memory.max", &bytes.to_string())?;
        }
        if let Some(milli) = spec.cpu_limit_milli {
            self.write("cpu.max", &cpu_max(milli))?;
        }
        if let Some(weight) = spec.cpu_weight {
            self.write("cpu.weight", &weight.to_string())?;
        }
        Ok(())
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

    /// Removes the group, whose processes have ended or were killed just now.
    pub(crate) fn remove(self) {
        let start = Instant::now();
        loop {
            match fs::remove_dir(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < LEAVING => {
                    crate::wait(Duration::from_millis(1));
                }
                Err(error) => {
                    return crate::console::say(&format!(
                        "removing the control group {}: {error}",
                        self.path.display()
                    ));
                }
            }
        }
    }
}

/// A container's bound on processes. One container may have half of what the kernel allows the machine, which depends on its
/// memory, and all but a sixteenth of what the pod may have, so that a fork bomb leaves something to its neighbours.
fn most_processes(threads_max: &str, most_of_pod: &str) -> u64 {
    let kernel = threads_max.trim_end().parse().map_or(MOST_PROCESSES, |most: u64| most / 2);
    let pod = most_of_pod.trim_end().parse().map_or(MOST_PROCESSES, |most: u64| most - most / 16);
    kernel.min(pod).clamp(1, MOST_PROCESSES)
}

/// The bound on the processes of all containers: what was asked for, and never more than three quarters of the kernel's own.
fn most_of_pod(asked: Option<u64>, threads_max: &str) -> u64 {
    let kernel = threads_max.trim_end().parse().map_or(MOST_PROCESSES, |most: u64| most / 4 * 3);
    asked.unwrap_or(u64::MAX).min(kernel).max(1)
}

/// What containers may use of the memory that `meminfo` tells of.
fn memory_for_containers(meminfo: &str) -> Option<u64> {
    let kibibytes =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB")?.trim().parse().ok());
    kibibytes.map(|total: u64| (total * 1024).saturating_sub(KEPT_BYTES)).filter(|bytes| *bytes > KEPT_BYTES)
}

fn cpu_max(milli: u64) -> String {
    let quota = milli.saturating_mul(PERIOD_MICROS / 1000).max(LEAST_QUOTA_MICROS);
    format!("{quota} {PERIOD_MICROS}")
}

fn oom_kills(events: &str) -> u64 {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_leaves_processes_to_the_machine_and_to_its_neighbours() {
        for (threads_max, pod, expected) in [
            ("1500\n", "1125\n", 750),
            ("1500\n", "200\n", 188),
            ("1500\n", "1\n", 1),
            ("100000\n", "75000\n", 4096),
            ("100000\n", "max\n", 4096),
            ("0\n", "0\n", 1),
            ("", "", 4096),
        ] {
            assert_eq!(most_processes(threads_max, pod), expected);
        }
    }

    #[test]
    fn all_containers_leave_something_to_init() {
        assert_eq!(most_of_pod(None, "1500\n"), 1125);
        assert_eq!(most_of_pod(Some(100), "1500\n"), 100);
        assert_eq!(most_of_pod(Some(5000), "1500\n"), 1125);
        assert_eq!(most_of_pod(Some(0), ""), 1);
        assert_eq!(memory_for_containers("MemTotal:         102400 kB\nMemFree: 1 kB\n"), Some((100 - 8) << 20));
        assert_eq!(memory_for_containers("MemTotal:  8192 kB\n"), None);
        assert_eq!(memory_for_containers(""), None);
    }

    #[test]
    fn a_cpu_limit_is_a_part_of_a_period() {
        assert_eq!(cpu_max(1500), "150000 100000");
        assert_eq!(cpu_max(1), "1000 100000");
    }

    #[test]
    fn the_count_of_killed_processes_is_read_from_its_own_line() {
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 1\n"), 3);
        assert_eq!(oom_kills("oom_group_kill 1\n"), 0);
        assert_eq!(oom_kills(""), 0);
    }
}

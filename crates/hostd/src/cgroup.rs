//! Control groups: one for each machine, below its namespace, resource pool and host.
//!
//! On a kernel with one unified hierarchy (v2) a machine has one directory; with one hierarchy for each controller (v1,
//! also when a v2 hierarchy without controllers is mounted beside them) it has one in each that we use. What a machine
//! may use is a plan ([`plan`]) that is written down file by file.

use crate::effects::{EffectError, failed};
use orrery_wire::host::MachineSpec;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The controllers that limit a machine.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Length of the period in which CPU time is counted, in microseconds.
const PERIOD_MICROS: u64 = 100_000;
/// CPU beyond its virtual CPUs that a machine's QEMU may use for devices, in thousandths of a core.
const EMULATION_MILLI: u64 = 500;
/// Threads and processes that a machine's QEMU may have beside its virtual CPUs.
const OTHER_THREADS: u64 = 256;
/// How often and how long to try to remove a group whose processes are just ending.
const REMOVE_ATTEMPTS: u32 = 150;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// Which kind of hierarchy the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    Unified,
    PerController,
}

/// The control groups of a host.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    root: PathBuf,
    hierarchy: Hierarchy,
}

/// One file of a control group and what is written into it.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    controller: &'static str,
    file: &'static str,
    value: String,
}

impl Groups {
    /// The groups below the mount point `root`.
    pub(crate) fn new(root: &Path) -> Self {
        let unified = root.join("cgroup.controllers").exists();
        let hierarchy = if unified { Hierarchy::Unified } else { Hierarchy::PerController };
        Self { root: root.to_owned(), hierarchy }
    }

    /// The directories of `group`, a path below the mount point.
    pub(crate) fn directories(&self, group: &Path) -> Vec<PathBuf> {
        self.tops().iter().map(|top| top.join(group)).collect()
    }

    /// Makes `group` and gives it the limits that fit `spec`.
    pub(crate) fn create(&self, group: &Path, spec: &MachineSpec) -> Result<(), EffectError> {
        for top in self.tops() {
            self.make_directories(&top, group)
                .map_err(failed(format!("make control group {}", top.join(group).display())))?;
        }
        for Setting { controller, file, value } in plan(self.hierarchy, spec) {
            let path = match self.hierarchy {
                Hierarchy::Unified => self.root.join(group),
                Hierarchy::PerController => self.root.join(controller).join(group),
            }
            .join(file);
            fs::write(&path, &value).map_err(failed(format!("write {value} to {}", path.display())))?;
        }
        Ok(())
    }

    /// Kills whatever runs in `group`, removes it, and those above it that are left empty.
    pub(crate) async fn remove(&self, group: &Path) -> Result<(), EffectError> {
        for top in self.tops() {
            let directory = top.join(group);
            remove_leaf(&directory).await.map_err(failed(format!("remove control group {}", directory.display())))?;
            for parent in group.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
                // Not empty: other machines are there. The kernel decides, so that nobody's group is lost in between.
                if fs::remove_dir(top.join(parent)).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Kills whatever runs in `group`, which may not exist.
    pub(crate) fn kill(&self, group: &Path) {
        self.directories(group).iter().for_each(|directory| kill_all(directory));
    }

    /// The groups of depth `depth` below `above`, in any hierarchy, as paths below the mount point; sorted.
    pub(crate) fn list(&self, above: &Path, depth: usize) -> Result<Vec<PathBuf>, EffectError> {
        let mut found = Vec::new();
        for top in self.tops() {
            let mut level = vec![above.to_owned()];
            for _ in 0..depth {
                let mut next = Vec::new();
                for group in level {
                    let directory = top.join(&group);
                    let names = subdirectories(&directory)
                        .map_err(failed(format!("list control groups in {}", directory.display())))?;
                    next.extend(names.into_iter().map(|name| group.join(name)));
                }
                level = next;
            }
            found.extend(level);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn tops(&self) -> Vec<PathBuf> {
        match self.hierarchy {
            Hierarchy::Unified => vec![self.root.clone()],
            Hierarchy::PerController => CONTROLLERS.iter().map(|controller| self.root.join(controller)).collect(),
        }
    }

    fn make_directories(&self, top: &Path, group: &Path) -> io::Result<()> {
        if !top.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not mounted", top.display())));
        }
        match self.hierarchy {
            // Another machine's release may remove an empty level while we are below it; then we begin again.
            Hierarchy::PerController => retry_missing(|| fs::create_dir_all(top.join(group))),
            Hierarchy::Unified => retry_missing(|| {
                let mut path = top.to_owned();
                for part in group {
                    let enable: Vec<String> = CONTROLLERS.iter().map(|controller| format!("+{controller}")).collect();
                    fs::write(path.join("cgroup.subtree_control"), enable.join(" "))?;
                    path.push(part);
                    fs::create_dir_all(&path)?;
                }
                Ok(())
            }),
        }
    }
}

fn retry_missing(mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..8 {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    work()
}

/// What a machine may use. Memory is bounded by guest and overhead; CPU time is shared by what was reserved and bounded
/// by the virtual CPUs. Pure.
fn plan(hierarchy: Hierarchy, spec: &MachineSpec) -> Vec<Setting> {
    let set = |controller, file, value: String| Setting { controller, file, value };
    let memory = spec.memory_bytes.saturating_add(spec.overhead_bytes).to_string();
    let quota = (u64::from(spec.vcpus) * 1000 + EMULATION_MILLI) * PERIOD_MICROS / 1000;
    let threads = (u64::from(spec.vcpus) + OTHER_THREADS).to_string();
    let shares = (spec.cpu_milli.saturating_mul(1024) / 1000).clamp(2, 262_144);
    match hierarchy {
        Hierarchy::Unified => vec![
            set("memory", "memory.max", memory),
            // The weights 1 to 10000 for the shares 2 to 262144, as container runtimes convert them.
            set("cpu", "cpu.weight", (1 + (shares - 2) * 9999 / 262_142).to_string()),
            set("cpu", "cpu.max", format!("{quota} {PERIOD_MICROS}")),
            set("pids", "pids.max", threads),
        ],
        Hierarchy::PerController => vec![
            set("memory", "memory.limit_in_bytes", memory),
            set("cpu", "cpu.shares", shares.to_string()),
            set("cpu", "cpu.cfs_period_us", PERIOD_MICROS.to_string()),
            set("cpu", "cpu.cfs_quota_us", quota.to_string()),
            set("pids", "pids.max", threads),
        ],
    }
}

async fn remove_leaf(directory: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for attempt in 0..REMOVE_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(REMOVE_PAUSE).await;
        }
        kill_all(directory);
        last = match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result,
        };
        match &last {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            Err(_) => return last,
        }
    }
    last
}

/// Kills every process in a group. Those that are there: a group of ours holds one machine's QEMU and nothing else.
fn kill_all(directory: &Path) {
    let Ok(processes) = fs::read_to_string(directory.join("cgroup.procs")) else { return };
    for pid in processes.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

fn subdirectories(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;

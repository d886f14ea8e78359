//! What an installation may have left on the machine.

use crate::installation::{Installation, wait_until};
use sha2::{Digest, Sha256};
use std::{fs, path::Path, process::Command};

/// Fails when anything of the installation is left: processes, namespaces, taps, mounts, control groups, memory files.
pub(crate) fn assert_none(orrery: &Installation) {
    let found =
        [processes(orrery), links(orrery), routes(orrery), mounts(orrery), cgroups(orrery), runtime(orrery)].concat();
    assert!(found.is_empty(), "left behind:\n{}", found.join("\n"));
}

/// Every process that names the installation or its directory, this test aside.
fn processes(orrery: &Installation) -> Vec<String> {
    own_processes(orrery).into_iter().map(|(pid, line)| format!("process {pid}: {line}")).collect()
}

fn own_processes(orrery: &Installation) -> Vec<(u32, String)> {
    let directory = orrery.scratch().display().to_string();
    let runtime = format!("/run/orrery/{}/", orrery.name());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if (line.contains(&directory) || line.contains(&runtime)) && pid != std::process::id() {
            found.push((pid, line));
        }
    }
    found
}

/// Kills all of the installation's processes at once and removes its runtime files. How many were killed.
pub(crate) fn kill_everything(orrery: &Installation) -> usize {
    let processes = own_processes(orrery);
    for (pid, _) in &processes {
        orrery.kill(u64::from(*pid));
    }
    wait_until("all are gone", || own_processes(orrery).is_empty().then_some(()));
    fs::remove_dir_all(Path::new("/run/orrery").join(orrery.name())).unwrap();
    processes.len()
}

/// Kills the process that keeps the roles running.
pub(crate) fn kill_keeper(orrery: &Installation) {
    let processes = own_processes(orrery);
    let (pid, _) = processes.iter().find(|(_, line)| line.contains(" keeper ")).expect("a keeper runs");
    orrery.kill(u64::from(*pid));
    wait_until("the keeper is gone", || own_processes(orrery).iter().all(|(other, _)| other != pid).then_some(()));
}

/// The installation's bridge and taps.
fn links(orrery: &Installation) -> Vec<String> {
    let bridge = orrery.run(&["ports"]);
    let bridge = bridge.lines().find_map(|line| line.strip_prefix("bridge ")).unwrap().to_owned();
    let ours = device_names().into_iter().filter(|name| *name == bridge).chain(taps(orrery));
    ours.map(|name| format!("network device {name}")).collect()
}

fn device_names() -> Vec<String> {
    fs::read_dir("/sys/class/net").unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Taps are named by a hash of instance and host.
fn taps(orrery: &Installation) -> Vec<String> {
    let digest = Sha256::digest(format!("{}/host-1", orrery.name()));
    let prefix = format!("o{:02x}{:02x}{:02x}t", digest[0], digest[1], digest[2]);
    device_names().into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

pub(crate) fn count_taps(orrery: &Installation) -> usize {
    taps(orrery).len()
}

fn routes(orrery: &Installation) -> Vec<String> {
    let ports = orrery.run(&["ports"]);
    let range = ports.lines().find_map(|line| line.strip_prefix("machines ")).unwrap();
    let range = range.trim_end_matches("0/24").to_owned();
    let output = Command::new("ip").args(["-4", "route", "show", "table", "all"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(&range)).map(|line| format!("route {line}")).collect()
}

fn mounts(orrery: &Installation) -> Vec<String> {
    let directory = orrery.scratch().display().to_string();
    let text = fs::read_to_string("/proc/self/mounts").unwrap();
    text.lines().filter(|line| line.contains(&directory)).map(|line| format!("mount {line}")).collect()
}

fn cgroups(orrery: &Installation) -> Vec<String> {
    let name = format!("orrery-{}", orrery.name());
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(&name));
    places.filter(|path| path.exists()).map(|path| format!("control group {}", path.display())).collect()
}

fn runtime(orrery: &Installation) -> Vec<String> {
    let path = Path::new("/run/orrery").join(orrery.name());
    let memory = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let memory = memory.filter(|entry| entry.file_name().to_string_lossy().contains("orrery"));
    let mut found: Vec<String> = memory.map(|entry| format!("memory file {}", entry.path().display())).collect();
    if path.exists() {
        found.push(format!("runtime directory {}", path.display()));
    }
    found
}

//! What an installation may have left on the machine.

use crate::installation::Installation;
use std::{fs, path::Path, process::Command};

/// Fails when anything of the installation is left: processes, namespaces, taps, mounts, control groups, memory files.
pub(crate) fn assert_none(orrery: &Installation) {
    let found = [processes(orrery), links(orrery), routes(), mounts(orrery), cgroups(orrery), runtime(orrery)].concat();
    assert!(found.is_empty(), "left behind:\n{}", found.join("\n"));
}

/// Every process that names the installation or its directory, this test aside.
fn processes(orrery: &Installation) -> Vec<String> {
    let directory = orrery.scratch().display().to_string();
    let runtime = format!("/run/orrery/{}/", orrery.name());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = line.contains(&directory) || line.contains(&runtime);
        if ours && name != std::process::id().to_string() {
            found.push(format!("process {name}: {line}"));
        }
    }
    found
}

/// The installation's bridge, and taps of whomever: none are there without machines.
fn links(orrery: &Installation) -> Vec<String> {
    let bridge = orrery.run(&["ports"]);
    let bridge = bridge.lines().find_map(|line| line.strip_prefix("bridge ")).unwrap().to_owned();
    let names = device_names();
    let ours = names.iter().filter(|name| **name == bridge || is_tap(name));
    ours.map(|name| format!("network device {name}")).collect()
}

fn device_names() -> Vec<String> {
    fs::read_dir("/sys/class/net").unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

fn is_tap(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("tun_flags").exists()
}

pub(crate) fn count_taps(_: &Installation) -> usize {
    device_names().iter().filter(|name| is_tap(name)).count()
}

fn routes() -> Vec<String> {
    let output = Command::new("ip").args(["-4", "route", "show", "table", "all"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains("10.245.")).map(|line| format!("route {line}")).collect()
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

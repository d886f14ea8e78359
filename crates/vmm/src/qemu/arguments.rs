//! QEMU's command line, as a pure function of the machine and of the numbers of the descriptors handed over.

use crate::machine::{DISK_SLOTS, Disk, LaunchSpec, NIC_SLOTS, Nic, Start};
use orrery_wire::{
    guest::{FIRST_DISK_DEVICE, FIRST_NIC_DEVICE, PORT_NAME},
    machine::Acceleration,
};
use serde_json::{Value, json};
use std::os::fd::RawFd;

/// The machine type: what no guest of ours uses is left out. It serves emulation and virtualization alike.
pub(crate) const MACHINE: &str = "q35,usb=off,smbus=off,sata=off,vmport=off,i8042=off,smm=off,graphics=off";
/// QEMU may start no program, gain no privilege and change no scheduling.
pub(crate) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

const MIB: u64 = 1024 * 1024;
/// PCI devices of bus 0. Every machine has the same ones at the same places, or no clone could take a template's state;
/// interfaces begin at [`FIRST_NIC_DEVICE`], disks at [`FIRST_DISK_DEVICE`].
const PORTS_DEVICE: u8 = 2;
const ENTROPY_DEVICE: u8 = 3;
/// Size of the nothing in an empty disk slot, in bytes.
const EMPTY_DISK: u64 = 1024 * 1024;

/// The numbers that the open files have in QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) monitor: RawFd,
    pub(crate) serial: RawFd,
    pub(crate) control: RawFd,
    /// The kernel and the initial file system, of a guest that boots.
    pub(crate) boot: Option<(RawFd, RawFd)>,
    /// The memory of a template or of its clone.
    pub(crate) memory: Option<RawFd>,
    pub(crate) disks: Vec<RawFd>,
    pub(crate) taps: Vec<RawFd>,
}

/// The value of `-accel`. A small translation cache is enough for a guest of few processes and keeps memory low.
pub(crate) fn accelerator(acceleration: Acceleration) -> &'static str {
    match acceleration {
        Acceleration::Kvm => "kvm",
        Acceleration::Tcg => "tcg,tb-size=32",
    }
}

/// Everything after the program's name.
pub(crate) fn arguments(spec: &LaunchSpec, fds: &Descriptors) -> Vec<String> {
    let mut line = Line::default();
    // `process=` shows the name in `ps`; a comma would begin the next option, so it is doubled.
    line.pair("-name", format!("guest={}", spec.name.replace(',', ",,")));
    match fds.memory {
        None => line.pair("-machine", MACHINE),
        Some(fd) => {
            line.pair("-machine", format!("{MACHINE},memory-backend=memory"));
            // A clone maps privately what everybody shares.
            let share = if matches!(spec.start, Start::Template(..)) { "on" } else { "off" };
            let size = spec.memory_bytes / MIB;
            let path = format!("/proc/self/fd/{fd}");
            line.pair("-object", format!("memory-backend-file,id=memory,size={size}M,mem-path={path},share={share}"));
        }
    }
    line.pair("-accel", accelerator(spec.acceleration));
    line.pair("-cpu", "max");
    line.pair("-m", format!("{}M", spec.memory_bytes / MIB));
    line.pair("-smp", spec.vcpus.to_string());
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        line.flag(flag);
    }
    line.pair("-display", "none");
    line.pair("-sandbox", SANDBOX);
    line.boot(spec, fds);
    line.pair("-chardev", format!("socket,id=monitor,fd={}", fds.monitor));
    line.pair("-mon", "chardev=monitor,mode=control");
    line.pair("-chardev", format!("socket,id=serial,fd={}", fds.serial));
    line.pair("-serial", "chardev:serial");
    line.pair("-chardev", format!("socket,id=control,fd={}", fds.control));
    line.device(&json!({"driver": "virtio-serial-pci", "id": "ports", "addr": address(PORTS_DEVICE)}));
    line.device(
        &json!({"driver": "virtserialport", "bus": "ports.0", "chardev": "control", "name": PORT_NAME, "id": "crx"}),
    );
    line.pair("-object", "rng-builtin,id=entropy");
    line.device(&json!({"driver": "virtio-rng-pci", "rng": "entropy", "addr": address(ENTROPY_DEVICE)}));
    let given = spec.disks.iter().zip(&fds.disks);
    for slot in (0..DISK_SLOTS).filter(|slot| spec.disks.iter().all(|disk| disk.slot != *slot)) {
        line.disk(slot, &empty_disk(slot), "");
    }
    for (disk, fd) in given {
        line.pair("-add-fd", format!("fd={fd},set={}", disk.slot));
        line.disk(disk.slot, &disk_node(disk, disk.slot.into()), &disk.serial);
    }
    for index in 0..spec.nics.len().max(NIC_SLOTS) {
        line.nic(index, spec.nics.get(index).zip(fds.taps.get(index)));
    }
    line.0
}

/// A device's place on bus 0.
fn address(device: impl Into<usize>) -> String {
    format!("{:#x}", device.into())
}

/// The device of a slot.
pub(crate) fn slot_id(slot: u8) -> String {
    format!("slot{slot}")
}

/// A disk as QEMU reads it from the descriptor set `set`.
pub(crate) fn disk_node(disk: &Disk, set: u64) -> Value {
    json!({
        "driver": "raw", "node-name": format!("disk{set}"), "read-only": disk.read_only, "discard": "unmap",
        "file": {
            "driver": "file", "filename": format!("/dev/fdset/{set}"), "read-only": disk.read_only, "discard": "unmap",
        },
    })
}

/// What is in a slot without a disk. What may be done to a slot's disk is settled by what is in it at the start.
fn empty_disk(slot: u8) -> Value {
    json!({"driver": "null-co", "node-name": format!("empty{slot}"), "size": EMPTY_DISK, "read-only": slot != 0})
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    /// What the guest begins with. Files are opened by the parent: a reopen by descriptor needs no access to the
    /// directories above them.
    fn boot(&mut self, spec: &LaunchSpec, fds: &Descriptors) {
        match (&spec.start, fds.boot) {
            (Start::Kernel(kernel) | Start::Template(kernel, _), Some((image, initrd))) => {
                self.pair("-kernel", format!("/proc/self/fd/{image}"));
                self.pair("-initrd", format!("/proc/self/fd/{initrd}"));
                self.pair("-append", kernel.append.clone());
            }
            // It waits until the monitor says where its state is.
            _ => self.pair("-incoming", "defer"),
        }
    }

    fn disk(&mut self, slot: u8, node: &Value, serial: &str) {
        self.pair("-blockdev", node.to_string());
        // A full disk of the host is told to the guest; QEMU's default would stop the whole machine.
        self.device(&json!({"driver": "virtio-blk-pci", "drive": node["node-name"], "serial": serial,
                    "id": slot_id(slot), "addr": address(FIRST_DISK_DEVICE + slot),
                    "rerror": "report", "werror": "report"}));
    }

    /// An interface that has no tap has no cable.
    fn nic(&mut self, index: usize, cable: Option<(&Nic, &RawFd)>) {
        let id = format!("net{index}");
        // No boot ROM: nothing here boots from the network.
        let mut device = json!({"driver": "virtio-net-pci", "netdev": id, "romfile": "", "id": format!("nic{index}"),
            "addr": address(usize::from(FIRST_NIC_DEVICE) + index)});
        match cable {
            Some((nic, fd)) => {
                self.pair("-netdev", json!({"type": "tap", "id": id, "fd": fd.to_string()}).to_string());
                device["mac"] = json!(nic.mac);
            }
            None => self.pair("-netdev", json!({"type": "hubport", "id": id, "hubid": 0}).to_string()),
        }
        self.device(&device);
    }

    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.flag(name);
        self.0.push(value.into());
    }

    /// As JSON, so that no character of a value has a meaning.
    fn device(&mut self, properties: &Value) {
        self.pair("-device", properties.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Console, Kernel};
    use crate::template::Template;
    use std::collections::BTreeSet;

    fn spec() -> LaunchSpec {
        LaunchSpec {
            name: "demo/hello, world".into(),
            start: Start::Kernel(kernel()),
            memory_bytes: 130 * MIB + 5,
            vcpus: 2,
            acceleration: Acceleration::Tcg,
            disks: vec![Disk { slot: 1, path: "/d,x".into(), serial: "abc".into(), read_only: true }],
            nics: vec![Nic { tap: "t0".into(), mac: "52:54:00:00:00:01".into() }],
            credentials: None,
            cgroups: Vec::new(),
            console: Console { path: "/c".into(), limit_bytes: 1 },
        }
    }

    fn kernel() -> Kernel {
        Kernel { image: "/k".into(), initrd: "/i".into(), append: "quiet".into() }
    }

    fn descriptors() -> Descriptors {
        let (boot, memory) = (Some((8, 9)), None);
        Descriptors { monitor: 5, serial: 6, control: 7, boot, memory, disks: vec![10], taps: vec![11] }
    }

    fn lines() -> Vec<String> {
        arguments(&spec(), &descriptors())
    }

    /// Everything that makes a machine's devices, without what is behind them.
    fn devices(arguments: &[String]) -> Vec<(String, String)> {
        let pairs = arguments.windows(2).filter(|pair| pair[0] == "-device");
        let devices = pairs.map(|pair| serde_json::from_str::<Value>(&pair[1]).unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        devices.map(|device| (text(&device["driver"]), text(&device["addr"]))).collect()
    }

    #[test]
    fn a_clone_has_the_devices_of_its_template_and_boots_nothing() {
        let template = Template::create(MIB).unwrap();
        let bare =
            LaunchSpec { start: Start::Template(kernel(), template.clone()), disks: vec![], nics: vec![], ..spec() };
        let bare = arguments(&bare, &Descriptors { memory: Some(12), disks: vec![], taps: vec![], ..descriptors() });
        let clone = LaunchSpec { start: Start::Clone(template), ..spec() };
        let clone = arguments(&clone, &Descriptors { memory: Some(12), boot: None, ..descriptors() });
        assert_eq!(devices(&bare).into_iter().collect::<BTreeSet<_>>(), devices(&clone).into_iter().collect());
        assert!(value(&bare, "-object").ends_with("share=on") && value(&clone, "-object").ends_with("share=off"));
        assert_eq!(value(&clone, "-incoming"), "defer");
        assert!(!clone.iter().any(|argument| argument == "-kernel"));
    }

    fn value<'a>(arguments: &'a [String], name: &str) -> &'a str {
        let at = arguments.iter().position(|argument| argument == name).unwrap();
        &arguments[at + 1]
    }

    #[test]
    fn files_are_named_by_descriptor_and_never_by_path() {
        let arguments = lines();
        assert_eq!(value(&arguments, "-kernel"), "/proc/self/fd/8");
        assert_eq!(value(&arguments, "-add-fd"), "fd=10,set=1");
        assert!(!arguments.iter().any(|argument| argument.contains("/d,x")));
    }

    #[test]
    fn memory_is_rounded_down_to_mebibytes() {
        assert_eq!(value(&lines(), "-m"), "130M");
    }

    #[test]
    fn a_comma_in_the_name_begins_no_option() {
        assert_eq!(value(&lines(), "-name"), "guest=demo/hello,, world");
    }

    #[test]
    fn every_machine_has_a_sandbox_and_no_default_devices() {
        let arguments = lines();
        assert_eq!(value(&arguments, "-sandbox"), SANDBOX);
        assert!(arguments.iter().any(|argument| argument == "-nodefaults"));
    }

    #[test]
    fn a_read_only_disk_is_read_only_down_to_its_file() {
        let blockdev = disk_node(&spec().disks[0], 1);
        assert_eq!(blockdev["read-only"], true);
        assert_eq!(blockdev["file"]["read-only"], true);
    }
}

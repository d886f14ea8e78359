//! QEMU's command line, as a pure function of the machine and of the numbers of the descriptors handed over.

use crate::machine::LaunchSpec;
use orrery_wire::{guest::PORT_NAME, machine::Acceleration};
use serde_json::json;
use std::os::fd::RawFd;

/// The machine type: what no guest of ours uses is left out. It serves emulation and virtualization alike.
pub(crate) const MACHINE: &str = "q35,usb=off,smbus=off,sata=off,vmport=off,i8042=off,smm=off,graphics=off";
/// QEMU may start no program, gain no privilege and change no scheduling.
pub(crate) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

const MIB: u64 = 1024 * 1024;

/// The numbers that the open files have in QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) monitor: RawFd,
    pub(crate) serial: RawFd,
    pub(crate) control: RawFd,
    pub(crate) kernel: RawFd,
    pub(crate) initrd: RawFd,
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
    line.pair("-machine", MACHINE);
    line.pair("-accel", accelerator(spec.acceleration));
    line.pair("-cpu", "max");
    line.pair("-m", format!("{}M", spec.memory_bytes / MIB));
    line.pair("-smp", spec.vcpus.to_string());
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        line.flag(flag);
    }
    line.pair("-display", "none");
    line.pair("-sandbox", SANDBOX);
    // The files are opened by the parent: a reopen by descriptor needs no access to the directories above them.
    line.pair("-kernel", format!("/proc/self/fd/{}", fds.kernel));
    line.pair("-initrd", format!("/proc/self/fd/{}", fds.initrd));
    line.pair("-append", spec.append.clone());
    line.pair("-chardev", format!("socket,id=monitor,fd={}", fds.monitor));
    line.pair("-mon", "chardev=monitor,mode=control");
    line.pair("-chardev", format!("socket,id=serial,fd={}", fds.serial));
    line.pair("-serial", "chardev:serial");
    line.pair("-chardev", format!("socket,id=control,fd={}", fds.control));
    line.device(&json!({"driver": "virtio-serial-pci", "id": "ports"}));
    line.device(
        &json!({"driver": "virtserialport", "bus": "ports.0", "chardev": "control", "name": PORT_NAME, "id": "crx"}),
    );
    line.pair("-object", "rng-builtin,id=entropy");
    line.device(&json!({"driver": "virtio-rng-pci", "rng": "entropy"}));
    for (slot, (disk, fd)) in spec.disks.iter().zip(&fds.disks).enumerate() {
        line.pair("-add-fd", format!("fd={fd},set={slot}"));
        line.pair(
            "-blockdev",
            json!({
                "driver": "raw", "node-name": format!("disk{slot}"), "read-only": disk.read_only,
                "discard": "unmap",
                "file": {
                    "driver": "file", "filename": format!("/dev/fdset/{slot}"), "read-only": disk.read_only,
                    "discard": "unmap",
                },
            })
            .to_string(),
        );
        // A full disk of the host is told to the guest; QEMU's default would stop the whole machine.
        line.device(&json!({"driver": "virtio-blk-pci", "drive": format!("disk{slot}"), "serial": disk.serial,
                    "id": format!("slot{slot}"), "rerror": "report", "werror": "report"}));
    }
    for (index, (nic, fd)) in spec.nics.iter().zip(&fds.taps).enumerate() {
        line.pair("-netdev", json!({"type": "tap", "id": format!("net{index}"), "fd": fd.to_string()}).to_string());
        // No boot ROM: nothing here boots from the network.
        line.device(
            &json!({"driver": "virtio-net-pci", "netdev": format!("net{index}"), "mac": nic.mac, "romfile": "",
                    "id": format!("nic{index}")}),
        );
    }
    line.0
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.flag(name);
        self.0.push(value.into());
    }

    /// As JSON, so that no character of a value has a meaning.
    fn device(&mut self, properties: &serde_json::Value) {
        self.pair("-device", properties.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Console, Disk, Nic};

    fn spec() -> LaunchSpec {
        LaunchSpec {
            name: "demo/hello, world".into(),
            kernel: "/k".into(),
            initrd: "/i".into(),
            append: "quiet".into(),
            memory_bytes: 130 * MIB + 5,
            vcpus: 2,
            acceleration: Acceleration::Tcg,
            disks: vec![Disk { path: "/d,x".into(), serial: "abc".into(), read_only: true }],
            nics: vec![Nic { tap: "t0".into(), mac: "52:54:00:00:00:01".into() }],
            credentials: None,
            cgroups: Vec::new(),
            console: Console { path: "/c".into(), limit_bytes: 1 },
        }
    }

    fn lines() -> Vec<String> {
        let fds =
            Descriptors { monitor: 5, serial: 6, control: 7, kernel: 8, initrd: 9, disks: vec![10], taps: vec![11] };
        arguments(&spec(), &fds)
    }

    fn value<'a>(arguments: &'a [String], name: &str) -> &'a str {
        let at = arguments.iter().position(|argument| argument == name).unwrap();
        &arguments[at + 1]
    }

    #[test]
    fn files_are_named_by_descriptor_and_never_by_path() {
        let arguments = lines();
        assert_eq!(value(&arguments, "-kernel"), "/proc/self/fd/8");
        assert_eq!(value(&arguments, "-add-fd"), "fd=10,set=0");
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
        let blockdev: serde_json::Value = serde_json::from_str(value(&lines(), "-blockdev")).unwrap();
        assert_eq!(blockdev["read-only"], true);
        assert_eq!(blockdev["file"]["read-only"], true);
    }
}

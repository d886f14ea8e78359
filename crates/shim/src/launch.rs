//! The machine to boot, out of what the host has written down for it.

use orrery_vmm::{Console, Credentials, Disk, Kernel, LaunchSpec, Nic, Start, Template};
use orrery_wire::{
    guest::GuestDisk,
    machine::{SCRATCH_FILE, ShimConfig},
    volume::SCRATCH_SERIAL,
};

/// Most bytes of serial console that are kept.
const CONSOLE_BYTES: usize = 64 * 1024;
/// A panic ends the machine at once instead of leaving it hanging; the console is for what goes wrong.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 oops=panic";

/// The slot of the scratch disk, the one that may be written; images have those after it.
const SCRATCH_SLOT: u8 = 0;

/// What to launch: a clone of `template` when there is one, else what boots.
pub(crate) fn spec(config: &ShimConfig, template: Option<&Template>) -> LaunchSpec {
    let machine = &config.machine;
    let images = (SCRATCH_SLOT + 1..).zip(&machine.disks).map(|(slot, disk)| Disk {
        slot,
        path: disk.path.clone().into(),
        serial: disk.serial.clone(),
        read_only: disk.read_only,
    });
    let scratch = machine.scratch_bytes.map(|_| Disk {
        slot: SCRATCH_SLOT,
        path: config.state_directory.join(SCRATCH_FILE),
        serial: SCRATCH_SERIAL.into(),
        read_only: false,
    });
    let nics = config
        .admission
        .interfaces
        .iter()
        .map(|interface| Nic { tap: interface.tap.clone(), mac: interface.mac.clone() });
    LaunchSpec {
        name: machine.name.clone(),
        start: template.map_or_else(|| Start::Kernel(kernel(config)), |template| Start::Clone(template.clone())),
        memory_bytes: machine.memory_bytes,
        vcpus: machine.vcpus,
        acceleration: config.accelerator,
        disks: scratch.into_iter().chain(images).collect(),
        nics: nics.collect(),
        credentials: Some(Credentials { uid: config.uid, gid: config.gid }),
        cgroups: config.cgroups.clone(),
        console: Console { path: config.state_directory.join("console.log"), limit_bytes: CONSOLE_BYTES },
    }
}

/// What the machine boots when it is no clone.
pub(crate) fn kernel(config: &ShimConfig) -> Kernel {
    Kernel { image: config.kernel.clone(), initrd: config.initrd.clone(), append: COMMAND_LINE.into() }
}

/// The disks of a machine as its guest is told of them.
pub(crate) fn guest_disks(spec: &LaunchSpec) -> Vec<GuestDisk> {
    spec.disks.iter().map(|disk| GuestDisk { slot: disk.slot, serial: disk.serial.clone() }).collect()
}

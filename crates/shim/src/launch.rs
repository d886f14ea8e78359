//! The machine to boot, out of what the host has written down for it.

use orrery_vmm::{Console, Credentials, Disk, LaunchSpec, Nic};
use orrery_wire::{
    machine::{SCRATCH_FILE, ShimConfig},
    volume::SCRATCH_SERIAL,
};

/// Most bytes of serial console that are kept.
const CONSOLE_BYTES: usize = 64 * 1024;
/// A panic ends the machine at once instead of leaving it hanging; the console is for what goes wrong.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 oops=panic";

/// What to launch.
pub(crate) fn spec(config: &ShimConfig) -> LaunchSpec {
    let machine = &config.machine;
    let disks = machine.disks.iter().map(|disk| Disk {
        path: disk.path.clone().into(),
        serial: disk.serial.clone(),
        read_only: disk.read_only,
    });
    let scratch = machine.scratch_bytes.map(|_| Disk {
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
        kernel: config.kernel.clone(),
        initrd: config.initrd.clone(),
        append: COMMAND_LINE.into(),
        memory_bytes: machine.memory_bytes,
        vcpus: machine.vcpus,
        acceleration: config.accelerator,
        disks: disks.chain(scratch).collect(),
        nics: nics.collect(),
        credentials: Some(Credentials { uid: config.uid, gid: config.gid }),
        cgroups: config.cgroups.clone(),
        console: Console { path: config.state_directory.join("console.log"), limit_bytes: CONSOLE_BYTES },
    }
}

//! What `hostd` writes for the shim of one machine: the file that `orrery shim --config FILE` reads.
//!
//! The file is written whole before the shim is started and again before each respawn. A shim of an older build keeps
//! what it read at its start.

use crate::host::{Admission, MachineSpec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version of the file that is written now.
pub const SHIM_CONFIG_VERSION: u32 = 1;

/// All that a shim has to know of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimConfig {
    /// [`SHIM_CONFIG_VERSION`]; a shim refuses a version that it does not know.
    pub version: u32,
    /// The machine as it was admitted.
    pub machine: MachineSpec,
    /// What the host gave to it: socket, addresses, taps.
    pub admission: Admission,
    /// Sockets, `shim.pid` and whatever else dies with the machine; `hostd` makes it and removes it.
    pub runtime_directory: PathBuf,
    /// Output of the containers, `NAME/ATTEMPT.log`; `hostd` makes it.
    pub log_directory: PathBuf,
    /// What has to outlive the shim, such as the count of boots; `hostd` makes it.
    pub state_directory: PathBuf,
    /// The guest's kernel.
    pub kernel: PathBuf,
    /// The guest's first file system, with `crx-init` in it.
    pub initrd: PathBuf,
    /// QEMU's program.
    pub qemu: PathBuf,
    /// Whether guests run on the processor or are emulated, by a probe.
    pub accelerator: Acceleration,
    /// User id that QEMU runs as. No other machine of the host has it.
    pub uid: u32,
    /// Group id that QEMU runs as.
    pub gid: u32,
    /// Directories of the machine's control groups: before QEMU is executed, its process is written into the
    /// `cgroup.procs` of each.
    pub cgroups: Vec<PathBuf>,
}

/// What a warm shim says, as a line, once a machine may be assigned to it. The answer is a line with a [`ShimConfig`].
pub const WARM_READY: &str = "ready";

/// What executes a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acceleration {
    /// The processor's virtualization.
    #[serde(rename = "KVM")]
    Kvm,
    /// QEMU's emulation.
    #[serde(rename = "TCG")]
    Tcg,
}

impl Acceleration {
    /// As in [`crate::host::Facts::accelerator`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        }
    }
}

/// What a shim writes to `shim.pid` in its runtime directory once its socket is bound: who it is, so that a process id
/// that the kernel has given to somebody else is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimPid {
    /// The shim's process id.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks from the kernel's boot to the process's start.
    pub start_time: u64,
}

/// Name of the file with [`ShimPid`] (JSON) in the runtime directory.
pub const SHIM_PID_FILE: &str = "shim.pid";

/// Name of the machine's scratch disk (a raw image) in the state directory, see
/// [`crate::host::MachineSpec::scratch_bytes`].
pub const SCRATCH_FILE: &str = "scratch.img";

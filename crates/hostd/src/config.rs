//! What a host agent is told at its start, and the paths that follow from it.

use ipnet::Ipv4Net;
use orrery_api::names::{HostName, InstanceName, MachineId};
use orrery_network::InterfaceName;
use orrery_wire::machine::Acceleration;
use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

/// Everything that a host agent needs to know. Checked by [`Config::check`] before anything is touched.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's name.
    pub host: HostName,
    /// The installation that the host belongs to.
    pub instance: InstanceName,
    /// What outlives a reboot: intents, logs, identity. Of this host only.
    pub state_directory: PathBuf,
    /// What does not: sockets. Of this host only; on a file system that a reboot empties.
    pub runtime_directory: PathBuf,
    /// The socket that is served.
    pub socket: PathBuf,
    /// Where machines' addresses come from; the first is the bridge's.
    pub machine_range: Ipv4Net,
    /// The bridge that machines are plugged into; made and removed by the agent.
    pub bridge: InterfaceName,
    /// The address at which the host is managed and its node is reached.
    pub management_address: IpAddr,
    /// Port of the node's kubelet API.
    pub kubelet_port: u16,
    /// Program and first arguments of a shim; `--config FILE` follows.
    pub shim_command: Vec<String>,
    /// What guests boot.
    pub guest: GuestBoot,
    /// What runs guests.
    pub hypervisor: Hypervisor,
    /// What machines may use in total.
    pub capacity: Capacity,
    /// The machine in slot `n` runs as this user id plus `n`, and what makes templates as the one after the last slot's.
    pub uid_base: u32,
    /// How guests start without booting; without it every guest boots.
    pub templates: Option<TemplateSettings>,
    /// Where control groups are mounted, normally `/sys/fs/cgroup`.
    pub cgroup_root: PathBuf,
    /// The manager to report to; without one the host serves its socket only.
    pub manager: Option<ManagerLink>,
}

/// What guests boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestBoot {
    /// The kernel's image.
    pub kernel: PathBuf,
    /// The first file system, with `crx-init` in it.
    pub initrd: PathBuf,
}

/// What runs guests, by a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hypervisor {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// Its version, such as `7.2.22`.
    pub version: String,
    /// Whether a guest runs on the processor or is emulated.
    pub accelerator: Acceleration,
}

/// What machines may use in total. Nothing is given out beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Most machines at once.
    pub machine_slots: u32,
}

/// How guests start without booting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSettings {
    /// What has a template from the start, by resource pool. Others get one with their first machine, which itself boots.
    pub ahead: Vec<(String, GuestSize)>,
    /// Most templates at once. Each takes the memory that its guest has touched when it has booted.
    pub most: usize,
    /// How long one serves before it is made anew.
    pub max_age: Duration,
    /// What is warmed up from them; without it nothing is.
    pub warm: Option<WarmSettings>,
}

/// Which machines are ready before they are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmSettings {
    /// Most of one kind. What has a template from the start has so many warm machines; others as many as were asked for lately.
    pub most: usize,
    /// Most memory of all together, overhead included, in bytes. A machine that is asked for and does not fit gets theirs.
    pub memory_bytes: u64,
    /// The image, an erofs with `/crx-init` in it, whose container a machine runs to get warm.
    pub rehearsal: PathBuf,
}

/// The size of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestSize {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
}

/// The manager that a host reports to.
#[derive(Clone, PartialEq, Eq)]
pub struct ManagerLink {
    /// The manager's HTTPS endpoint, such as `https://127.0.0.1:7443`.
    pub endpoint: String,
    /// The one-time token of the first contact. Of no use once the host has joined.
    pub token: Option<String>,
}

impl std::fmt::Debug for ManagerLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagerLink").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Most slots that a tap's name has digits for.
const MAX_SLOTS: u32 = 99_999;
/// Longest path of a Unix socket that the kernel takes, in bytes.
const MAX_SOCKET_PATH: usize = 107;

impl Config {
    /// Every mistake in the configuration, for people; empty when there is none.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut must = |fine: bool, mistake: &str| {
            if !fine {
                mistakes.push(mistake.to_owned());
            }
        };
        must(!self.shim_command.is_empty(), "the shim's command is empty");
        must(self.capacity.cpu_milli > 0, "the host has no CPU for machines");
        must(self.capacity.memory_bytes > 0, "the host has no memory for machines");
        must(
            (1..=MAX_SLOTS).contains(&self.capacity.machine_slots),
            "the number of machine slots must be between 1 and 99999",
        );
        must(self.uid_base >= 1000, "the user ids of machines must begin at 1000 or above");
        must(
            self.uid_base.checked_add(self.capacity.machine_slots).is_some_and(|last| last < u32::MAX),
            "the user ids of machines do not fit below 2^32",
        );
        must(
            self.machine_range == self.machine_range.trunc() && (8..=29).contains(&self.machine_range.prefix_len()),
            "the range of machine addresses must be a network of 8 to 29 bits, such as 10.244.0.0/24",
        );
        must(
            self.state_directory.is_absolute() && self.runtime_directory.is_absolute() && self.socket.is_absolute(),
            "the directories and the socket must be absolute paths",
        );
        let longest = self.layout().shim_socket(MachineId(uuid::Uuid::nil()));
        must(
            longest.as_os_str().len() <= MAX_SOCKET_PATH && self.socket.as_os_str().len() <= MAX_SOCKET_PATH,
            "the runtime directory's path is too long for Unix sockets (107 bytes with /m/UUID/shim.sock)",
        );
        mistakes
    }

    /// The first address of the machines' range: the bridge's own.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.machine_range.network()).saturating_add(1))
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.state_directory.clone(), self.runtime_directory.clone())
    }
}

/// Where a host's files are.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    state: PathBuf,
    runtime: PathBuf,
}

impl Layout {
    pub(crate) fn new(state: PathBuf, runtime: PathBuf) -> Self {
        Self { state, runtime }
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("hostd.lock")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.state.join("ledger.json")
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.state.join("identity")
    }

    pub(crate) fn machines(&self) -> PathBuf {
        self.state.join("machines")
    }

    pub(crate) fn machine(&self, id: MachineId) -> PathBuf {
        self.machines().join(id.to_string())
    }

    pub(crate) fn intent(&self, id: MachineId) -> PathBuf {
        self.machine(id).join("intent.json")
    }

    pub(crate) fn shim_config(&self, id: MachineId) -> PathBuf {
        self.machine(id).join("shim.json")
    }

    pub(crate) fn shim_log(&self, id: MachineId) -> PathBuf {
        self.machine(id).join("shim.log")
    }

    pub(crate) fn logs(&self, id: MachineId) -> PathBuf {
        self.machine(id).join("logs")
    }

    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    pub(crate) fn runtime_machines(&self) -> PathBuf {
        self.runtime.join("m")
    }

    pub(crate) fn runtime_machine(&self, id: MachineId) -> PathBuf {
        self.runtime_machines().join(id.to_string())
    }

    pub(crate) fn shim_socket(&self, id: MachineId) -> PathBuf {
        self.runtime_machine(id).join("shim.sock")
    }

    pub(crate) fn shim_pid(&self, id: MachineId) -> PathBuf {
        self.runtime_machine(id).join(orrery_wire::machine::SHIM_PID_FILE)
    }
}

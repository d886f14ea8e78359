//! `hostd`'s socket: admission of machines, and what the host is.
//!
//! A connection opens with [`crate::hello::Hello`] and [`crate::hello::Welcome`]; then each [`HostRequest`] is answered
//! by one [`HostReply`], in order.

use crate::shim::MachinePhase;
use serde::{Deserialize, Serialize};

/// What both ends speak, newest first.
pub const VERSIONS: &[u32] = &[1];

/// What can be asked of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostRequest {
    /// What the host has and is. Answered by [`HostReply::Facts`].
    Facts,
    /// Reserves everything that the machine needs, atomically, and starts its shim; the machine stays powered off.
    /// Asking again with the same specification changes nothing. Answered by `Admitted` or `Refused`.
    Admit(Box<MachineSpec>),
    /// Powers the machine off, ends its shim and gives back all that it held; its files are removed. Answered by
    /// `Released`, also when there is no such machine.
    Release {
        /// The machine's id (a UUID).
        id: String,
    },
    /// Every machine that the host holds. Answered by `Machines`.
    List,
    /// The credentials for the Supervisor that this host serves. Answered by `Enrolment`.
    Enrolment,
    /// How many machines are warm, ready for what is admitted next. Answered by `Warm`.
    Warm,
}

/// Machines of a host that are ready before they are asked for. They are in no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmMachines {
    /// How many there are.
    pub ready: u32,
    /// How many there shall be, as far as memory goes.
    pub wanted: u32,
}

/// An answer of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostReply {
    /// What the host has and is.
    Facts(Facts),
    /// The machines that are warm.
    Warm(WarmMachines),
    /// The machine is the host's.
    Admitted(Admission),
    /// The host cannot take the machine; nothing was kept.
    Refused {
        /// One CamelCase word, see [`reason`].
        reason: String,
        /// What is missing and what would help, for people.
        message: String,
    },
    /// The machine is gone.
    Released,
    /// Every machine of the host.
    Machines(Vec<MachineSummary>),
    /// Credentials, or none while the host belongs to no Supervisor.
    Enrolment(Option<Enrolment>),
    /// The request failed half-way; it may be sent again.
    Failed {
        /// The chain of errors, for people.
        message: String,
    },
}

/// Reasons in [`HostReply::Refused`].
pub mod reason {
    /// Too little memory is left.
    pub const OUT_OF_MEMORY: &str = "OutOfMemory";
    /// Too little CPU is left.
    pub const OUT_OF_CPU: &str = "OutOfCpu";
    /// No address is left in the host's range.
    pub const OUT_OF_ADDRESSES: &str = "OutOfAddresses";
    /// No machine slot (user id) is left.
    pub const OUT_OF_SLOTS: &str = "OutOfSlots";
    /// The same id was admitted with another specification.
    pub const SPEC_CHANGED: &str = "SpecChanged";
    /// The host has no such segment.
    pub const UNKNOWN_SEGMENT: &str = "UnknownSegment";
    /// The specification can't be carried out on any host.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The host is shutting down.
    pub const SHUTTING_DOWN: &str = "ShuttingDown";
}

/// What a host has and is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The host's name.
    pub host: String,
    /// CPU that machines may use, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory that machines may use, in bytes.
    pub memory_bytes: u64,
    /// Most machines at once.
    pub machine_slots: u32,
    /// `KVM` or `TCG`, by a probe with a real guest.
    pub accelerator: String,
    /// Version of QEMU.
    pub qemu_version: String,
    /// Release of the host's kernel.
    pub kernel_release: String,
    /// The kernel's identifier of this boot.
    pub boot_id: String,
    /// The address at which the host is managed, and where its node serves the kubelet's port.
    pub management_address: String,
    /// The range that machine addresses come from, such as `10.244.0.0/24`.
    pub machine_range: String,
}

/// A machine, as it is asked for. Equal specifications are the same machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// A UUID; the pod's UID for a pod's machine.
    pub id: String,
    /// For people, such as `demo/hello`.
    pub name: String,
    /// Whose machine it is.
    pub owner: Owner,
    /// Resource pool, a level of the cgroup tree.
    pub pool: String,
    /// Namespace, the next level of the cgroup tree.
    pub namespace: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// CPU reserved for admission, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory of the guest, in bytes.
    pub memory_bytes: u64,
    /// Memory reserved on the host beyond the guest's own, in bytes.
    pub overhead_bytes: u64,
    /// Disks in the order of their slots.
    pub disks: Vec<DiskSpec>,
    /// Size of a writable disk of the machine's own, with an empty file system, that the host makes and removes with it;
    /// none when it has no use for one. The guest finds it by [`crate::volume::SCRATCH_SERIAL`].
    #[serde(default)]
    pub scratch_bytes: Option<u64>,
    /// Network interfaces.
    pub interfaces: Vec<InterfaceSpec>,
}

/// Who asked for a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A pod of the Supervisor.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// The host itself. Such machines are not listed.
    Host {
        /// What for, such as `template`.
        purpose: String,
    },
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// Path of the raw image on the host.
    pub path: String,
    /// What the guest finds it by; at most 20 characters.
    pub serial: String,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// The segment of pods, which every host has: its own bridge, whose addresses come from the host's range.
pub const POD_SEGMENT: &str = "pods";

/// A network interface of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceSpec {
    /// The segment (bridge) that it is plugged into, such as [`POD_SEGMENT`].
    pub segment: String,
    /// The address, when somebody above has chosen it; otherwise the host takes one from its range.
    pub address: Option<String>,
}

/// What a host gave to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The socket of the machine's shim.
    pub shim_socket: String,
    /// Directory of the machine's log files.
    pub log_directory: String,
    /// One for each interface of the specification.
    pub interfaces: Vec<AssignedInterface>,
}

/// A network interface as it was assigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedInterface {
    /// Such as `52:54:00:12:34:56`; made from the machine's id, so always the same.
    pub mac: String,
    /// Address with prefix length, such as `10.244.0.7/24`.
    pub address: String,
    /// The next hop out of the segment.
    pub gateway: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// The tap device on the host.
    pub tap: String,
}

/// One machine in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineSummary {
    /// As it was admitted.
    pub spec: MachineSpec,
    /// What the host gave to it.
    pub admission: Admission,
    /// Where the machine stands, or none when its shim does not answer.
    pub phase: Option<MachinePhase>,
    /// Process id of its shim, when that runs.
    pub shim_pid: Option<u32>,
    /// Process id of its QEMU, when that runs.
    pub qemu_pid: Option<u32>,
}

/// What a host's Spherelet needs to be a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The Supervisor's name.
    pub supervisor: String,
    /// The Supervisor's API, such as `https://127.0.0.1:6443`.
    pub endpoint: String,
    /// PEM of the authority that signed the API server's certificate.
    pub server_ca_pem: String,
    /// PEM of the authority that signs those who may call the node's kubelet port.
    pub kubelet_client_ca_pem: String,
    /// PEM of the node's client certificate (`system:node:NAME`).
    pub client_certificate_pem: String,
    /// PEM of its private key. It never leaves the host.
    pub client_key_pem: String,
    /// PEM of the certificate that the node's kubelet port serves.
    pub serving_certificate_pem: String,
    /// PEM of its private key.
    pub serving_key_pem: String,
    /// Port of the node's kubelet API.
    pub kubelet_port: u16,
    /// Addresses of the name servers that pods get; empty while there is none.
    pub cluster_dns: Vec<String>,
}

//! Control messages between the shim and `crx-init`, as JSON in control frames.
//!
//! ```text
//!   shim                                   crx-init
//!     | -- Hello ----------------------------> |   (repeated until answered: the guest may still be booting)
//!     | <----------------------------- Ready - |
//!     | -- Configure ------------------------> |   once per boot, before any container
//!     | -- StartContainer / Exec / Signal ... -> |
//!     | <-------------- Done / Failed (by id) - |
//!     | <------------------- Exited (event) --- |
//!     | -- Reset ----------------------------> |   only of a machine that nobody had: Configure may follow again
//! ```
//!
//! What belongs to one pod, its disks and its network interfaces, is taken into use with the identity and not before, so that
//! a machine may be a template's clone.
//!
//! Times are Unix nanoseconds as the sender's clock has them.

use crate::{
    hello::Hello,
    stats::GuestStats,
    volume::{VolumeMount, VolumeRequest},
};
use serde::{Deserialize, Serialize};

/// What both ends speak, newest first.
pub const VERSIONS: &[u32] = &[1];
/// Network interface `n` is PCI device `FIRST_NIC_DEVICE + n` of bus 0.
pub const FIRST_NIC_DEVICE: u8 = 4;
/// The disk in slot `n` is PCI device `FIRST_DISK_DEVICE + n` of bus 0.
pub const FIRST_DISK_DEVICE: u8 = 8;
/// Most disks of a machine: the PCI devices from [`FIRST_DISK_DEVICE`] on, but the last, which is the chip set's.
pub const MAX_DISKS: u8 = 31 - FIRST_DISK_DEVICE;
/// The most bytes of a termination message, as Kubernetes has it.
pub const MAX_TERMINATION_MESSAGE: usize = 4096;
/// The name of the virtio-serial port, under `/sys/class/virtio-ports/*/name` in the guest.
pub const PORT_NAME: &str = "orrery.crx.0";

/// From the shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToGuest {
    /// Opens the conversation; answered by [`FromGuest::Ready`], also when it was answered before.
    Hello(Hello),
    /// Asks for something; answered by [`FromGuest::Done`] or [`FromGuest::Failed`] with the same `id`.
    Request {
        /// Chosen by the shim, increasing.
        id: u64,
        /// What to do.
        request: GuestRequest,
    },
}

/// What a guest can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestRequest {
    /// Gives the machine its identity. Once per boot.
    Configure(Identity),
    /// Makes or fills one of the pod's volumes.
    Volume(VolumeRequest),
    /// Starts a container's first process.
    StartContainer(Box<ContainerSpec>),
    /// Starts one more process in a running container.
    Exec(ExecSpec),
    /// Connects to a TCP port on the machine's loopback. The stream carries what is sent (as input) and what comes back (as
    /// standard output), and ends when the port closes the connection.
    Forward {
        /// The connection's stream.
        stream: u32,
        /// The port.
        port: u16,
    },
    /// Sends a signal to the process of a stream, or to all processes of its container.
    Signal {
        /// The process's stream.
        stream: u32,
        /// Signal number, as Linux on x86-64 counts.
        signal: i32,
        /// Whether every process of the container gets it.
        all: bool,
    },
    /// Sets the size of a stream's terminal.
    Resize {
        /// The process's stream.
        stream: u32,
        /// Rows of characters.
        rows: u16,
        /// Columns of characters.
        columns: u16,
    },
    /// Frees the file system of a container that has ended.
    RemoveContainer {
        /// The container's stream.
        stream: u32,
    },
    /// Takes the identity back, with everything that came with it, so that another may follow. Every container must have
    /// been removed.
    Reset,
    /// Sets the guest's clock; nanoseconds since 1970.
    SetClock {
        /// The host's clock at sending.
        unix_nanos: u64,
    },
    /// Tells what the machine and its containers use. Answered by [`FromGuest::Stats`].
    Stats,
    /// Ends every process, syncs and powers off. The answer comes before the power goes.
    PowerOff,
}

/// Who the machine is. What a clone of a template does not have before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The pod's host name.
    pub hostname: String,
    /// Network interfaces, found by their MAC address.
    pub interfaces: Vec<GuestInterface>,
    /// Disks that are taken into use, by their slots; set by the shim. None when it does not know slots: then every disk
    /// is, and each is found by the serial number that its device tells.
    #[serde(default)]
    pub disks: Option<Vec<GuestDisk>>,
    /// Name servers for `/etc/resolv.conf`, in order.
    pub nameservers: Vec<String>,
    /// Search domains for `/etc/resolv.conf`.
    pub search_domains: Vec<String>,
    /// Options for `/etc/resolv.conf`, such as `ndots:5`.
    pub resolver_options: Vec<String>,
    /// Lines for `/etc/hosts` beyond localhost and the machine's own: address, then names.
    pub host_aliases: Vec<(String, Vec<String>)>,
    /// At least 32 bytes from the host's random source, as hexadecimal digits.
    pub entropy_hex: String,
    /// The host's clock; nanoseconds since 1970.
    pub unix_nanos: u64,
    /// Processes and threads that all containers together may have. The machine's memory bounds them further.
    #[serde(default)]
    pub most_processes: Option<u64>,
}

/// One disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestDisk {
    /// Its slot, see [`FIRST_DISK_DEVICE`].
    pub slot: u8,
    /// What requests call it by.
    pub serial: String,
}

/// One network interface of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestInterface {
    /// Such as `52:54:00:12:34:56`.
    pub mac: String,
    /// Address with prefix length, such as `10.244.0.7/24`.
    pub address: String,
    /// The default route's next hop.
    pub gateway: Option<String>,
    /// Largest packet in bytes.
    pub mtu: u32,
}

/// A container to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The stream of its first process; also the container's handle. Chosen by the shim, overwritten there.
    pub stream: u32,
    /// The container's name in its pod, for logs and paths.
    pub name: String,
    /// Serial number of the disk that holds its image (at most 20 characters, read-only erofs).
    pub image_serial: String,
    /// Most bytes that it may write to its root file system (held in the guest's memory).
    pub writable_bytes: u64,
    /// Whether its root file system may not be written.
    pub read_only_root: bool,
    /// The process.
    pub process: ProcessSpec,
    /// Bytes of memory that it may use, when limited.
    pub memory_limit_bytes: Option<u64>,
    /// Settings of the kernel, by their names with dots.
    #[serde(default)]
    pub sysctls: Vec<(String, String)>,
    /// The pod's volumes as it sees them.
    #[serde(default)]
    pub mounts: Vec<VolumeMount>,
    /// Where it may leave its last words, see [`ProcessExit::message`]; absolute.
    #[serde(default)]
    pub termination_message_path: Option<String>,
    /// CPU time that it may use, in thousandths of a core, when limited.
    #[serde(default)]
    pub cpu_limit_milli: Option<u64>,
    /// Its part of the CPU time while there is not enough for all, from 1 to 10000; 100 when none is given.
    #[serde(default)]
    pub cpu_weight: Option<u32>,
    /// Whether the machine lies open to it: nothing of `/proc` and `/sys` is hidden or sealed, and it has all devices.
    #[serde(default)]
    pub privileged: bool,
    /// Whether nothing of its `/proc` is hidden or sealed.
    #[serde(default)]
    pub unmasked_proc: bool,
    /// Whether it sees the processes of the pod's other containers that say so too, and they see its own.
    #[serde(default)]
    pub shares_processes: bool,
}

/// A process to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; a program without `/` is looked up in the environment's `PATH`.
    pub argv: Vec<String>,
    /// `NAME=value`, complete.
    pub env: Vec<String>,
    /// Working directory; made when it is missing.
    pub working_directory: String,
    /// `user[:group]` by name or number as the image has it, resolved with the image's own `/etc/passwd`; empty is root.
    pub user: String,
    /// Groups in addition to the user's own.
    pub supplementary_groups: Vec<u32>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its standard input is connected; otherwise it reads the end at once.
    pub stdin: bool,
    /// What it may do.
    #[serde(default)]
    pub confinement: Confinement,
}

/// What a process may do. The default is a container's own for further processes in it, and for its first one what
/// [`DEFAULT_CAPABILITIES`] says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The capabilities that it may have at most, without `CAP_`; only root has any.
    pub capabilities: Option<Vec<String>>,
    /// Whether system calls are refused that programs in containers have no use for.
    pub filter_system_calls: bool,
    /// Whether no program that it executes may give it more privileges than it has, such as one with a set-user-ID bit.
    #[serde(default)]
    pub no_new_privileges: bool,
}

/// The capabilities that containers have by default: the set that containerd and Docker grant.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// One more process in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Its stream. Chosen by the shim, overwritten there.
    pub stream: u32,
    /// The container's stream.
    pub container: u32,
    /// The process. An empty environment, user or working directory means the container's own.
    pub process: ProcessSpec,
}

/// From the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromGuest {
    /// The answer to [`ToGuest::Hello`].
    Ready {
        /// The version that the guest chose among the offered, or none when it speaks none of them.
        version: Option<u32>,
        /// Build of `crx-init`.
        build: String,
        /// Seconds since the kernel started.
        uptime_seconds: f64,
    },
    /// A request was carried out.
    Done {
        /// The request's id.
        id: u64,
        /// The process id in the guest, when one was started.
        pid: Option<u32>,
    },
    /// What the machine uses.
    Stats {
        /// The request's id.
        id: u64,
        /// As of now.
        stats: Box<GuestStats>,
    },
    /// A request was refused or failed.
    Failed {
        /// The request's id.
        id: u64,
        /// One CamelCase word, such as `ExecutableNotFound`.
        reason: String,
        /// What happened, for people.
        message: String,
    },
    /// A process ended. Sent after the last of its output.
    Exited {
        /// Its stream.
        stream: u32,
        /// How it ended.
        exit: ProcessExit,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// Exit code as a shell reports it: 128 and the signal's number for one ended by a signal.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel ended it, or one of its container, for want of memory.
    pub out_of_memory: bool,
    /// The guest's clock at the end; nanoseconds since 1970.
    pub unix_nanos: u64,
    /// The end of what a container left in its termination message file, at most [`MAX_TERMINATION_MESSAGE`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Reasons in [`FromGuest::Failed`].
pub mod reason {
    /// The program was not found in the container.
    pub const EXECUTABLE_NOT_FOUND: &str = "ExecutableNotFound";
    /// The program may not be executed, or is no program.
    pub const NOT_EXECUTABLE: &str = "NotExecutable";
    /// The container or process is not there (any more).
    pub const NOT_FOUND: &str = "NotFound";
    /// The user or group is not in the image.
    pub const UNKNOWN_USER: &str = "UnknownUser";
    /// A volume cannot be made, filled or mounted.
    pub const VOLUME_UNAVAILABLE: &str = "VolumeUnavailable";
    /// The image's disk is not there or cannot be mounted.
    pub const IMAGE_UNAVAILABLE: &str = "ImageUnavailable";
    /// A port does not accept a connection.
    pub const NOT_CONNECTED: &str = "NotConnected";
    /// A request cannot be understood or carries a value that makes no sense.
    pub const BAD_REQUEST: &str = "BadRequest";
    /// A request came in the wrong order, such as a container before the identity.
    pub const BAD_STATE: &str = "BadState";
    /// A system call failed.
    pub const SYSTEM_ERROR: &str = "SystemError";
}

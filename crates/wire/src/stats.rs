//! What a machine and its containers use, as its guest and its shim tell.
//!
//! Counters begin with the boot of the machine or the start of the container, amounts are as they are now. What a kernel does
//! not tell is 0.

use serde::{Deserialize, Serialize};

/// What a guest uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestStats {
    /// Its containers.
    pub containers: Vec<GroupStats>,
    /// All containers together.
    pub pod: GroupStats,
    /// Memory that the guest has, in bytes.
    pub memory_total_bytes: u64,
    /// Memory that programs could still get, in bytes.
    pub memory_available_bytes: u64,
    /// Its network interfaces, without the loopback.
    pub interfaces: Vec<InterfaceStats>,
    /// The disk for volumes, when it is in use.
    pub scratch: Option<FilesystemStats>,
}

/// What the processes of a control group use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStats {
    /// The container's stream; 0 for the pod.
    pub stream: u32,
    /// CPU time in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory, with what is cached of files, in bytes.
    pub memory_bytes: u64,
    /// Memory without files that nobody used lately, in bytes: what counts when memory runs out.
    pub working_set_bytes: u64,
    /// Memory that is of no file, in bytes.
    pub anonymous_bytes: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that read from a disk.
    pub major_page_faults: u64,
    /// Processes and threads.
    pub processes: u64,
    /// The container's writable layer.
    pub writable: Option<FilesystemStats>,
}

/// What went over a network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStats {
    /// Its name in the guest.
    pub name: String,
    /// Bytes received.
    pub received_bytes: u64,
    /// Failures in receiving.
    pub receive_errors: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Failures in sending.
    pub send_errors: u64,
}

/// The room on a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemStats {
    /// In bytes.
    pub capacity_bytes: u64,
    /// In bytes.
    pub available_bytes: u64,
    /// In bytes.
    pub used_bytes: u64,
    /// Files and directories that there can be.
    pub inodes: u64,
    /// Files and directories that there can still be.
    pub free_inodes: u64,
}

/// What a machine uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStats {
    /// When it was asked, Unix nanoseconds by the host's clock.
    pub unix_nanos: u64,
    /// What its guest tells.
    pub guest: GuestStats,
    /// The names of the running containers, by their streams.
    pub names: Vec<(u32, String)>,
}

//! The socket of a machine's shim.
//!
//! A connection opens with [`crate::hello::Hello`] and [`crate::hello::Welcome`]; then each [`ShimRequest`] is answered
//! by one [`ShimReply`], in order. Two requests turn the connection into something else:
//!
//! * [`ShimRequest::Watch`]: after `Watching`, the shim sends one [`MachineStatus`] at once and another after each
//!   change; a slow reader gets the latest, not each.
//! * [`ShimRequest::Exec`], [`ShimRequest::Attach`] and [`ShimRequest::Forward`]: after `Streaming`, both sides send [`StreamMessage`] frames: a
//!   byte of kind, a little-endian `u32` length, the payload; until the shim sends `Exit` and closes.

use crate::{
    guest::{ContainerSpec, Identity, ProcessExit, ProcessSpec},
    stats::MachineStats,
    volume::VolumeRequest,
};
use serde::{Deserialize, Serialize};

/// What both ends speak, newest first.
pub const VERSIONS: &[u32] = &[1];

/// What can be asked of a shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShimRequest {
    /// Where the machine stands. Answered by `Status`.
    Status,
    /// Sends the status now and after each change. Answered by `Watching`.
    Watch,
    /// Boots the machine and gives it its identity, unless it runs already. Answered by `Done` once the guest is ready.
    PowerOn {
        /// Who the guest is.
        identity: Box<Identity>,
    },
    /// Ends the guest: orderly within `grace_seconds`, then by killing QEMU. Answered by `Done` when it is off.
    PowerOff {
        /// How long an orderly end may take.
        grace_seconds: u32,
    },
    /// Makes or fills one of the pod's volumes. Answered by `Done`.
    Volume(VolumeRequest),
    /// Starts attempt `attempt` of a container. Asking again for the same attempt changes nothing. Answered by `Done`.
    StartContainer {
        /// What to start; the shim chooses its stream.
        spec: Box<ContainerSpec>,
        /// 0 for the first start in the pod's life, then counting up.
        attempt: u32,
    },
    /// Sends a signal to a container's first process, or to all of its processes. Answered by `Done`.
    SignalContainer {
        /// The container's name.
        name: String,
        /// Signal number, as Linux on x86-64 counts.
        signal: i32,
        /// Whether every process of the container gets it.
        all: bool,
    },
    /// Runs one more process in a running container. Answered by `Streaming`.
    Exec {
        /// The container's name.
        container: String,
        /// The process.
        process: Box<ProcessSpec>,
        /// Whether it is killed when the connection goes away.
        #[serde(default)]
        bound: bool,
    },
    /// Connects to the streams of a container's first process. Answered by `Streaming`.
    Attach {
        /// The container's name.
        container: String,
        /// Whether input is sent; one connection at a time may.
        stdin: bool,
    },
    /// Connects to a TCP port on the machine's loopback. Answered by `Streaming`; input goes to the port, standard output comes
    /// from it.
    Forward {
        /// The port.
        port: u16,
    },
    /// What the machine and its containers use. Answered by `Stats`.
    Stats,
    /// Ends the shim itself; the machine must be off. Answered by `Done`.
    Exit,
}

/// An answer of a shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShimReply {
    /// Where the machine stands.
    Status(Box<MachineStatus>),
    /// What the machine uses.
    Stats(Box<MachineStats>),
    /// Statuses follow.
    Watching,
    /// Carried out.
    Done,
    /// Stream messages follow, in both directions.
    Streaming,
    /// Refused or failed.
    Failed {
        /// One CamelCase word: of [`crate::guest::reason`] or [`reason`].
        reason: String,
        /// What happened, for people.
        message: String,
    },
}

/// Reasons in [`ShimReply::Failed`] beyond the guest's own.
pub mod reason {
    /// The machine is not running.
    pub const NOT_RUNNING: &str = "NotRunning";
    /// QEMU did not start or ended at once.
    pub const QEMU_FAILED: &str = "QemuFailed";
    /// The guest did not answer in time, or sent what is no answer.
    pub const GUEST_FAILED: &str = "GuestFailed";
    /// The machine has to be off for this.
    pub const STILL_RUNNING: &str = "StillRunning";
}

/// Where a machine stands.
///
/// ```text
///   Off --PowerOn--> Booting --Ready, Configure--> Running --PowerOff--> Stopping --> Off
///    ^                  |                             |                                ^
///    +------------------+---- QEMU ends, by itself or killed ------------------------- +
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachinePhase {
    /// No QEMU runs.
    Off,
    /// QEMU runs, the guest has not answered yet.
    Booting,
    /// The guest has its identity and takes containers.
    Running,
    /// An orderly end was asked for.
    Stopping,
}

/// All that a shim knows of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Counts up with each change; starts anew with each shim.
    pub sequence: u64,
    /// Where the machine stands.
    pub phase: MachinePhase,
    /// How often the machine was booted by any of its shims; 0 before the first.
    pub boot: u32,
    /// When this boot began, Unix nanoseconds by the host's clock; 0 before the first.
    pub booted_at: u64,
    /// QEMU's process id while it runs.
    pub qemu_pid: Option<u32>,
    /// How the last boot ended, when it has.
    pub last_end: Option<MachineEnd>,
    /// The newest attempt of each container, of this boot or an earlier one.
    pub containers: Vec<ContainerStatus>,
}

/// How a boot of a machine ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineEnd {
    /// Unix nanoseconds by the host's clock.
    pub at: u64,
    /// Whether somebody asked for it.
    pub requested: bool,
    /// QEMU's exit code or signal, for people.
    pub message: String,
}

/// One container's newest attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// The container's name in its pod.
    pub name: String,
    /// 0 for the first start in the pod's life.
    pub attempt: u32,
    /// The boot that it was started in.
    pub boot: u32,
    /// Unix nanoseconds by the host's clock.
    pub started_at: u64,
    /// How it ended, when it has: by itself, or with its machine (code 137, signal 9).
    pub exit: Option<ContainerExit>,
    /// File in the machine's log directory that holds its output: `NAME/ATTEMPT.log`, in the CRI format
    /// (`TIMESTAMP STREAM F|P TEXT`).
    pub log_file: String,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerExit {
    /// How its first process ended.
    pub exit: ProcessExit,
    /// When, Unix nanoseconds by the host's clock.
    pub at: u64,
    /// Whether it ended because its machine did.
    pub machine_ended: bool,
}

/// Kinds of frames on a streaming connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// To the process.
    Stdin = 0,
    /// From the process.
    Stdout = 1,
    /// From the process.
    Stderr = 2,
    /// To the process: its input is at its end. Empty.
    StdinEnd = 3,
    /// To the process: JSON of [`TerminalSize`].
    Resize = 4,
    /// From the process, last: JSON of [`ProcessExit`].
    Exit = 5,
}

impl StreamKind {
    /// The kind that `byte` stands for.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Stdin, Self::Stdout, Self::Stderr, Self::StdinEnd, Self::Resize, Self::Exit]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One frame of a streaming connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMessage {
    /// What the payload is.
    pub kind: StreamKind,
    /// At most [`crate::frame::MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
}

/// Why bytes are not a stream message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The length is over the limit.
    #[error("a stream message of {0} bytes is longer than the limit")]
    TooLong(usize),
    /// The kind is none that we know.
    #[error("a stream message is of the unknown kind {0}")]
    UnknownKind(u8),
}

/// Bytes of a stream message before its payload.
pub const STREAM_HEADER_LENGTH: usize = 5;

impl StreamMessage {
    /// Kind and length out of a header.
    ///
    /// # Errors
    /// When the header is not one of ours.
    pub fn decode_header(header: [u8; STREAM_HEADER_LENGTH]) -> Result<(StreamKind, usize), StreamError> {
        let [kind, length @ ..] = header;
        let length = u32::from_le_bytes(length) as usize;
        let kind = StreamKind::from_byte(kind).ok_or(StreamError::UnknownKind(kind))?;
        if length > crate::frame::MAX_PAYLOAD { Err(StreamError::TooLong(length)) } else { Ok((kind, length)) }
    }

    /// The message's bytes.
    ///
    /// # Panics
    /// When the payload is over the limit: senders cut their data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.payload.len() <= crate::frame::MAX_PAYLOAD, "a sender must cut its payload to MAX_PAYLOAD");
        let length = u32::try_from(self.payload.len()).expect("MAX_PAYLOAD fits u32");
        let mut bytes = Vec::with_capacity(STREAM_HEADER_LENGTH + self.payload.len());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_message_reads_back_as_it_was_written() {
        let message = StreamMessage { kind: StreamKind::Stderr, payload: b"oh".to_vec() };
        let bytes = message.encode();
        let header = *bytes.first_chunk().unwrap();
        assert_eq!(StreamMessage::decode_header(header), Ok((StreamKind::Stderr, 2)));
        assert_eq!(&bytes[STREAM_HEADER_LENGTH..], b"oh");
        assert_eq!(StreamMessage::decode_header([9, 0, 0, 0, 0]), Err(StreamError::UnknownKind(9)));
        assert_eq!(StreamMessage::decode_header([0, 0, 0, 0, 255]), Err(StreamError::TooLong(0xff00_0000)));
    }
}

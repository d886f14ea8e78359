//! Volumes of a pod inside its machine: made by the guest's init, filled by the host, mounted into containers.
//!
//! ```text
//!   Directory                        an empty directory, in memory or on the scratch disk
//!   Stage ... Stage, then Publish    files that replace all files there at once
//! ```
//!
//! Files are published as Kubernetes does it: `..data` is a link to a directory that holds all of them, each file is seen
//! through a link beside it, and replacing the one link replaces everything
//! (<https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter>). Every request may be repeated.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Serial number of the disk that holds the volumes that outlive their machine's boots.
pub const SCRATCH_SERIAL: &str = "scratch";
/// The most bytes of files in one [`VolumeRequest::Stage`], so that it fits a frame.
pub const MAX_STAGED_BYTES: usize = 32 * 1024;
/// The most bytes of a volume's files, as they are published.
pub const MAX_PUBLISHED_BYTES: usize = 16 * 1024 * 1024;

/// What is asked about one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRequest {
    /// The volume's name in its pod: a DNS label.
    pub volume: String,
    /// What to do.
    pub step: VolumeStep,
}

/// One step of making a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeStep {
    /// Makes an empty directory that everybody may write to, unless it is there.
    Directory {
        /// Where.
        medium: Medium,
        /// The group that its files get.
        group: Option<u32>,
    },
    /// Adds to the files that are to be published.
    Stage {
        /// Whether what was staged before is forgotten.
        first: bool,
        /// Pieces of files, in order. Together at most [`MAX_STAGED_BYTES`] of data.
        pieces: Vec<FilePiece>,
    },
    /// Puts the staged files in the place of those that are there. Nothing changes when they are the same.
    Publish,
}

/// Where a directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// In the guest's memory; empty again after the machine's next boot.
    Memory {
        /// The most bytes that it holds; half of the guest's memory when there is no limit.
        limit_bytes: Option<u64>,
    },
    /// On the scratch disk; it stays as long as the machine.
    Disk,
}

/// A file, or the next part of one whose first part came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePiece {
    /// Path below the volume, without `.`, `..` or a name that begins with `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub user: u32,
    /// The owner's group.
    pub group: u32,
    /// What is added at the file's end.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub data: Vec<u8>,
}

/// A volume as a container sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: String,
    /// Where in the container; absolute.
    pub path: String,
    /// What of the volume, relative; all of it when empty. What is not there is made as a directory.
    pub sub_path: String,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

fn to_base64<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(data))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    BASE64_STANDARD.decode(&*text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::MAX_PAYLOAD;
    use crate::guest::{GuestRequest, ToGuest};

    #[test]
    fn the_largest_stage_fits_a_frame_and_reads_back() {
        let piece = FilePiece {
            path: "a".repeat(255),
            mode: 0o644,
            user: u32::MAX,
            group: u32::MAX,
            data: vec![0xff; MAX_STAGED_BYTES],
        };
        let step = VolumeStep::Stage { first: true, pieces: vec![piece] };
        let request = GuestRequest::Volume(VolumeRequest { volume: "v".repeat(63), step });
        let message = ToGuest::Request { id: u64::MAX, request };
        let bytes = serde_json::to_vec(&message).unwrap();
        assert!(bytes.len() <= MAX_PAYLOAD);
        assert_eq!(serde_json::from_slice::<ToGuest>(&bytes).unwrap(), message);
    }
}

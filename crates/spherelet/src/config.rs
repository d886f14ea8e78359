//! What the Spherelet is told at its start, and why it may end.

use orrery_api::names::{HostName, ZoneName};
use std::{io, net::SocketAddr, path::PathBuf};

/// What the Spherelet is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's name, which is its node's.
    pub node: HostName,
    /// The zone of the host, when it is known.
    pub zone: Option<ZoneName>,
    /// The socket of `hostd`.
    pub hostd_socket: PathBuf,
    /// The directory of the host's images.
    pub image_store: PathBuf,
    /// The file that says how registries are reached; it need not be there.
    pub registries: PathBuf,
    /// Where the kubelet port is served. Only loopback and this address itself may connect.
    pub listen: SocketAddr,
    /// Processes and threads that the containers of one pod may have together, beyond what the guest's own memory bounds.
    pub pod_pids_limit: Option<u64>,
    /// This build's version, such as `0.1.0`.
    pub version: String,
}

/// Why the Spherelet ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The image store cannot be opened.
    #[error("cannot open the image store at {path}; check that the directory exists and belongs to the Spherelet")]
    Images {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kubelet port cannot be served.
    #[error("cannot listen on {address}; is another Spherelet or kubelet running?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

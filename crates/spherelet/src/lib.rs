//! The kubelet role: the pods that are bound to a host become machines on it.
//!
//! The Spherelet holds the parsing that tenants feed (pod specifications, log requests, exec streams) and no privileges:
//! machines are admitted by `hostd`, run by their shims, and reached over two Unix sockets. It may end and come back at
//! any time; what runs goes on, and is found again by asking.
//!
//! What it is not: it decides nothing about pods (that is `orrery-lifecycle`), it holds no QEMU and no log spool (that is
//! the shim), and it does not speak to registries itself (that is `orrery-images`).
//!
//! ```text
//!   run ── enrolment (hostd) ──> session ──┬── node       registers the Node, renews its Lease, reports its status
//!                                          ├── pods       watches pods of this node, starts one worker for each
//!                                          │     └── worker   observes, plans, applies; wakes on pod, shim and timer
//!                                          ├── collector  removes images that nobody needs
//!                                          ├── events     one task that writes Events, fed by a bounded queue
//!                                          └── server     the kubelet port: logs, exec, attach, what is used, over mutual TLS
//! ```
//!
//! A session lives as long as the credentials that it was made with; when `hostd` has others, all of it begins anew.
//! Workers get what is wanted through a `watch` channel (the latest counts, nothing queues) and show what they know to
//! the server in another. The only queue is that of events; it is bounded, and what does not fit is dropped and logged.
//!
//! Start reading at `pods/worker.rs`.
#![forbid(unsafe_code)]

#[cfg(test)]
mod api_fake;
mod collector;
mod config;
mod host;
mod images;
mod logs;
mod node;
mod pods;
mod probe;
mod server;
mod session;
mod stats;

pub use config::{Config, RunError};
pub use images::{ImageLookupError, ImageSource, Pulled, Pulling, ResolvedImage};
pub use pods::POOL;
pub use session::{run, run_with_images};

/// Every machine that the host agent at `hostd_socket` holds, for whoever shows them.
///
/// # Errors
/// When the agent does not answer.
pub async fn machines(
    hostd_socket: std::path::PathBuf,
) -> Result<Vec<orrery_wire::host::MachineSummary>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(host::Hostd::new(hostd_socket).list().await?)
}

/// How many machines the host agent at `hostd_socket` keeps warm.
///
/// # Errors
/// When the agent does not answer.
pub async fn warm_machines(
    hostd_socket: std::path::PathBuf,
) -> Result<orrery_wire::host::WarmMachines, Box<dyn std::error::Error + Send + Sync>> {
    Ok(host::Hostd::new(hostd_socket).warm().await?)
}

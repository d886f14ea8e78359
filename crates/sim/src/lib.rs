//! A private control plane and hollow nodes: a whole Supervisor without a hypervisor.
//!
//! * [`ControlPlane`] is the product's own control plane, API server over TLS with its authorities, controllers, scheduler
//!   and a store in a temporary directory, on a port of loopback that the system chooses. It runs in this process, or as the
//!   real `orrery supervisor` in one of its own. Everything of it is removed when it is stopped or dropped.
//! * [`HollowNodes`] are nodes that run nothing. Each registers a Node, renews its Lease, takes the pods that are bound to it,
//!   and reports what a kubelet would; containers end by themselves where their command says so (see [`EXIT_CODE`] and the
//!   page `docs/conformance.md`).
//!
//! Tests of controllers, conformance and benchmarks of scheduler and API server use both. What is not here: containers, logs,
//! exec, volumes, probes, networks. A pod that would need them is shown as running all the same.
//!
//! Tasks: one for each node, and one for the shared watch where there is one; between them lie bounded queues, so that a node
//! that is slow holds its watch back instead of filling memory. Writes of one node are concurrent up to a bound, of one pod
//! strictly one after another.
//!
//! Start reading at [`HollowNodes`], and for what a pod does at `pod::HollowPod`.
#![forbid(unsafe_code)]

mod behaviour;
mod control_plane;
mod fleet;
mod pod;

pub use behaviour::{AFTER_MS, EXIT_CODE};
pub use control_plane::{ControlPlane, Issuer, Options, StartError};
pub use fleet::{AccessOfNode, Clients, HollowError, HollowNodes, HollowOptions};
pub use pod::READY;

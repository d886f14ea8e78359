//! The Supervisor: how a cluster becomes one, and what runs once it is.
//!
//! Two processes use this crate:
//!
//! * The **manager's** runs [`Enablement`], the controllers that turn a `Supervisor` object of the inventory into a
//!   control plane with nodes, and `WorkloadNamespace` objects into namespaces on it; and it signs the credentials of
//!   nodes with [`Enroller`].
//! * The **control plane's** runs [`control_plane::run`]: API server, controllers and scheduler over an embedded store. It
//!   stands in one process on the manager's machine; control-plane VMs implement the same trait, [`ControlPlane`].
//!
//! Between them lies the Supervisor's directory: its authorities (`pki/`), its configuration (`control-plane.json`,
//! written last, so that what starts with it is complete) and its store.
//!
//! Enablement is level-triggered: [`enablement::plan`] is pure and is asked again after each step, so that the process may be
//! killed anywhere and goes on where it was.
//!
//! This crate does not schedule, serve HTTP or keep objects itself: it wires `workloads`, `apiserver` and `store`.
//!
//! Start reading at [`enablement::plan`].
#![forbid(unsafe_code)]

mod authorities;
pub mod control_plane;
pub mod enablement;
mod enroll;
mod namespaces;
mod placer;
mod security;
mod signer;
mod usage;

pub use authorities::{Authorities, AuthoritiesError};
pub use control_plane::{ControlPlane, ControlPlaneConfig, EmbeddedControlPlane};
pub use enablement::{Enablement, EnablementConfig};
pub use enroll::{EnrolError, Enroller};
pub use namespaces::WorkloadNamespaces;
pub use security::{AuditOptions, Rotation, SecurityError, TokenOptions, rotate_token_key};

//! The manager: the inventory of hosts, clusters, zones and Supervisors, and DRS.
//!
//! It serves the inventory API (`inventory.orrery.dev/v1alpha1`) with the same machinery that serves Kubernetes, takes
//! hosts in, watches over their heartbeats, and answers the schedulers' placement reviews.
//!
//! | path | who | module |
//! |---|---|---|
//! | `/apis/inventory.orrery.dev/...` | administrators (certificates of the group `system:masters`) | [`descriptors`] |
//! | `create placementreviews` | the same, and Supervisors (certificates of the group `system:supervisors`) | [`drs`] |
//! | `/hosts/v1/join` | anybody with a one-time token | [`join`] |
//! | `/hosts/v1/heartbeat`, `/hosts/v1/enrol` | hosts, by certificate | [`join`] |
//! | `/admin/v1/join-tokens` | administrators | [`admin`] |
//!
//! What it is not: it does not enable Supervisors and holds nothing of them. What a host needs from a Supervisor comes
//! through [`NodeEnroller`], which the binary plugs in, and the enablement controller works through [`Manager::client`].
//!
//! State: the inventory and the join tokens in one store under `state`; three authorities (serving, administrators, hosts)
//! under `pki/manager`. In memory only: when each host was last heard of and what was placed on it since, both made anew
//! within seconds.
//!
//! Tasks: [`Manager::serve`] runs the API server and the monitor of heartbeats, and ends both.
//!
//! Start reading at [`Manager`].
#![forbid(unsafe_code)]

mod access;
mod admin;
mod authorities;
mod descriptors;
mod drs;
mod fleet;
mod inventory;
mod join;
mod manager;
mod monitor;
mod pools;
mod recorded;

pub use authorities::{ADMINISTRATORS, HOSTS, Purpose, SUPERVISORS};
pub use join::{EnrolError, NodeEnroller, TokenError};
pub use manager::{Config, Manager, RunError, StartError, run};

//! The machines of a host.
//!
//! The host agent decides whether a machine fits (`ledger`), writes down that it shall be here (`intent`, `records`),
//! makes what it needs (`devices`: directories, control group, taps) and starts its parent process, the shim (`shims`).
//! From then on whoever has the machine talks to the shim; the agent only sees to it that the shim is there, and takes
//! everything back when the machine is released. Machines do not depend on the agent: it may end and be replaced while
//! they run, and adopts them again by their intents.
//!
//! What it is not: it knows no pods and no Kubernetes, boots no guest (the shim does) and chooses no host (DRS does).
//!
//! Tasks and channels:
//!
//! * one task accepts connections on the Unix socket, one more serves each connection, and each request that changes
//!   something runs in a task of its own, so that it ends well when its client has gone away;
//! * one task goes over the machines every few seconds (`host::Host::reconcile`);
//! * one task makes templates, so that guests need not boot (`templates`), and one keeps machines warm that go on from
//!   them, so that some need not even start (`host::warm`);
//! * one task reports to the manager and keeps the host's credentials fresh (`manager`); the newest enrolment is in a
//!   watch channel that the socket's tasks read. Without the manager everything else goes on.
//!
//! [`run`] is the agent; [`tear_down`] takes from the host what the agent made, and leaves the records, so that the
//! next [`run`] brings the machines back.
//!
//! Start reading at `host`, then `ledger`. The traits between logic and world are in `effects`.
#![deny(unsafe_code)]

mod addresses;
mod cgroup;
mod config;
mod connection;
mod devices;
mod effects;
mod host;
mod intent;
mod ledger;
mod manager;
mod naming;
mod process;
mod records;
mod run;
mod scratch;
mod server;
mod shims;
mod start;
mod templates;
mod warm;

pub use config::{Capacity, Config, GuestBoot, GuestSize, Hypervisor, ManagerLink, TemplateSettings, WarmSettings};
pub use ledger::{Grant, Ledger, Refusal, RestoreError};
pub use run::{RunError, TearDownError, run, tear_down};

//! What is written down about requests, in Kubernetes' own format (`audit.k8s.io/v1`).
//!
//! ```text
//! request ─► Policy (how much of it?) ─► Event for each stage ─► bounded queue ─► one thread ─► audit.log, audit-TIME.log ...
//! ```
//!
//! * `policy`: which requests are written down, and how much of each. Pure.
//! * `event`: a line of the log. Pure.
//! * `log`: the queue and its thread. `file`: the file, which is rotated.
//!
//! The log never blocks a request: when the disk is too slow, events are dropped and counted, unless the settings say that
//! requests wait instead.

mod event;
mod file;
mod log;
mod policy;

pub use event::{Event, ObjectRef, Stage};
pub use file::Rotation;
pub use log::{AuditLog, AuditMetrics, OnFull, OpenLogError};
pub use policy::{Asked, AuditPolicy, Decided, Level, PolicyError};

//! One machine's parent process.
//!
//! A shim boots the machine, speaks with its guest, writes down what its containers print and how they end, and serves all
//! of this on a Unix socket ([`orrery_wire::shim`]). It lives as long as the host has admitted the machine; `hostd` and
//! `spherelet` may come and go. It decides nothing about pods: what to start, and what to do about an end, is told by
//! whoever connects. QEMU itself is behind [`orrery_vmm::Machine`].
//!
//! ```text
//!   connections --orders--> driver --launch--> QEMU ==control port== crx-init
//!        ^                  ^    |                        |
//!        |                events |                reader / writer (link)
//!        |                  |    v                        |
//!        +---exec, attach---+-- container tasks <--output-+
//!                                     |
//!                                  log files
//! ```
//!
//! * The **driver** owns the machine's state, the record on disk and the published status.
//! * The **link** (reader and writer task) is the conversation with one boot's guest. Output waits in memory only within
//!   the credit that the guest was given.
//! * A **container task** follows one attempt from start to the end of its log.
//! * The **server** has a task for each connection; an exec's process has its connection as its only consumer.
//!
//! All channels are bounded. The driver waits for none of the other tasks; the link's reader waits for nobody.
//!
//! Start reading at `phase.rs`, then `driver.rs` and `link.rs`.
#![forbid(unsafe_code)]

mod clock;
mod connection;
mod container;
mod cri;
mod driver;
mod failure;
mod launch;
mod link;
mod phase;
mod record;
mod relay;
mod run;
mod server;
mod spool;
mod template;
mod warm;

pub use orrery_wire::machine::ShimConfig as Config;
pub use run::{RunError, run, run_warm, run_with};
pub use template::{TemplateError, make_template};
pub use warm::WarmError;

//! Keeps the roles of one installation running, each in a process of its own.
//!
//! On a machine that runs everything (`orrery up`) the keeper is what systemd is elsewhere: it starts the manager, the
//! control plane and the host's processes, starts one again when it ends, holds one down when that is asked for, and
//! stops all of them in the reverse of the order in which they were added. It knows nothing of what a role does.
//!
//! A killed keeper takes nothing with it: roles go on, and the next keeper adopts them by process id and start time.
//!
//! * [`Keeper`] is the process: one task for each role, one that serves the socket.
//! * [`KeeperClient`] is how the command line speaks to it, in the messages of [`protocol`].
//! * [`role`]: when a role is started, again or not at all; pure.
//!
//! It never touches machines: those belong to their shims, which `hostd` adopts.
//!
//! Start reading at [`role`].
#![forbid(unsafe_code)]

mod client;
mod keeper;
mod process;
pub mod protocol;
pub mod role;
mod table;

pub use client::{ClientError, KeeperClient};
pub use keeper::{Config, Keeper, KeeperError};
pub use process::{ProcessId, is_alive, stop_orphans};

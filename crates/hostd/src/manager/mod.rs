//! The host's report to the manager: joining once, then a heartbeat after each interval, and credentials for the
//! Supervisor that the host belongs to.
//!
//! ```text
//!   stranger --token: join--> host --heartbeat: a Supervisor--> enrolled --heartbeat: none, or another--> host
//!       ^                      | ^                              |   ^  |
//!       |                      | +--- heartbeat: none ----------+   +--+ a third of the lifetime is left: enrol again
//!       +--- the manager knows us no more, and there is a token that was not used
//! ```
//!
//! Every turn reads what is on disk and asks the manager what shall be. When the manager can't be reached the host goes
//! on with what it has, and asks again after a growing pause.

mod http;
mod identity;
mod pin;
#[cfg(test)]
mod tests;
mod turn;

pub(crate) use turn::{Reporter, report};

//! Bad input and violent ends, tried on the program as it is installed: the control plane as a process of its own.
//!
//! Each test has its own, on a port that the system chooses, in a directory that is removed. What has to hold is that
//! the server answers everybody else all the while, and that nothing of it stays in memory.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod bodies;
mod drain;
mod kill;
mod poison;
mod queries;
mod server;
mod watchers;
mod webhooks;

//! The API server from outside: over HTTPS, and as a service within the process, over the embedded store.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail loudly, and says when it is skipped")]

mod access;
mod admission;
mod apply;
mod audit;
mod certificates;
mod crud;
mod custom;
mod impersonation;
mod kubectl;
mod kubelet;
mod lifecycle;
mod list_watch;
mod patches;
mod protobuf;
mod remote;
mod roles;
mod support;
mod tokens;
mod wire;

//! Webhooks and policies, with a whole API server in the process and a real webhook server on the loopback address.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod policies;
mod services;
mod support;
mod webhooks;

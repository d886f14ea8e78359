//! Webhooks and policies, with a whole API server in the process and a real webhook server on the loopback address.

mod policies;
mod support;
mod webhooks;

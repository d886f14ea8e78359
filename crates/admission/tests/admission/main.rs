//! Webhooks, with a whole API server in the process and a real webhook server on the loopback address.

mod support;
mod webhooks;

//! Clients of our own APIs.
//!
//! Everything that talks to an API server of ours gets its client here: from credentials that we issued, never from the
//! user's environment. Only the authority that is named is trusted, and no proxy is used.
//!
//! * [`Access`]: where an API is and who we are to it; [`Access::client`] makes a `kube::Client` of it.
//! * [`kubeconfig`]: the same as a file for `kubectl`.
//! * [`json`]: plain JSON requests over mutual TLS, for the few paths that are no Kubernetes resources.
//!
//! This crate starts no tasks beyond those of the connections, and keeps no cache.
//!
//! Start reading at [`Access`].
#![forbid(unsafe_code)]

mod access;
pub mod json;
pub mod kubeconfig;

pub use access::{Access, AccessError};

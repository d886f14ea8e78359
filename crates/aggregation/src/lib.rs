//! API servers behind this one (`apiregistration.k8s.io`), as `k8s.io/kube-aggregator` has them.
//!
//! ```text
//! APIServices, definitions ──read──► local ones created, removed, marked ──► remote ones asked for their discovery
//!                                        └──────── what is registered ────────┬──────────┘
//! request for a remote group version ──apiserver: who, may they──► proxy: the caller's name in headers, front-proxy certificate ──► the other server
//! ```
//!
//! * `registration`: which local registrations there have to be. Pure.
//! * `availability`: whether another server answers, and what it says of its resources.
//! * `document`: discovery of another server in the form of this one. Pure.
//! * `inside`: servers that live in this process and need no way to them.
//! * `proxy`: what becomes of a request's and an answer's headers. Pure.
//! * `published`: the config map by which other servers know the front proxy.
//!
//! The other servers' authority is the registration's `caBundle`; the system's trust store plays no part. What it is not: it
//! accepts no names in headers itself, merges no OpenAPI v2 documents, and asks other servers one after the other.
//!
//! Tasks: one that keeps all this up to date ([`Aggregation::run`]). Start reading there.
#![forbid(unsafe_code)]

mod availability;
mod document;
mod inside;
mod proxy;
mod published;
mod registration;
mod server;

pub use inside::Inside;
pub use server::{Aggregation, Settings};

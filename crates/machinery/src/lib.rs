//! The mechanics of Kubernetes objects, pure: no runtime, no clock, no socket.
//!
//! * [`descriptor`]: what the API server needs to know of a resource; the next resource is one more value of it.
//! * [`status`]: `meta/v1 Status` errors with their reasons and causes.
//!
//! Objects are [`serde_json::Value`]s; types are consulted (by [`descriptor::ResourceDescriptor::decode`]) to find what is
//! malformed or unknown.
//!
//! Start reading at [`descriptor`].
#![forbid(unsafe_code)]

pub mod descriptor;
pub mod status;

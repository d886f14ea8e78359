//! The mechanics of Kubernetes objects, pure: no runtime, no clock, no socket.
//!
//! Everything that is decided about an object without knowing where it is kept is decided here: whether it is
//! well-formed, whether a selector picks it, how it looks in a table, and how its resource
//! is announced to clients. The API server calls these functions with bytes it has read and writes what they return;
//! it decides nothing of this kind itself. So one set of rules serves the Supervisor's API and the manager's.
//!
//! * [`descriptor`]: what the API server needs to know of a resource; the next resource is one more value of it.
//! * [`meta`]: reading `metadata`, and its rules (names, labels, annotations, owners, finalizers).
//! * [`shape`]: what merging has to know of a type's structure.
//! * [`selector`]: label and field selectors.
//! * [`table`]: `meta.k8s.io/v1 Table`, `PartialObjectMetadata`, and times as people say them.
//! * [`discovery`]: which resources there are, in the aggregated and in the legacy form.
//! * [`openapi`]: the OpenAPI v3 documents that `kubectl apply`, `create` and `explain` need.
//! * [`status`]: `meta/v1 Status` errors with their reasons and causes.
//!
//! Objects are [`serde_json::Value`]s; types are consulted (by [`descriptor::ResourceDescriptor::decode`]) to find what is
//! malformed or unknown. Time is an argument (`now`, Unix seconds), and so is randomness
//! ([`meta::generated_name`]).
//!
//! What this crate is not: it knows no resource by name (the built-in ones are described in the API server's crate).
//!
//! There are no tasks and no channels. Start reading at [`descriptor`].
#![forbid(unsafe_code)]

pub mod descriptor;
pub mod discovery;
pub mod meta;
pub mod openapi;
pub mod selector;
pub mod shape;
pub mod status;
pub mod table;

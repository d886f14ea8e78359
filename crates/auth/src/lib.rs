//! Who calls, what they may do, and what is written down about it.
//!
//! The API server hands in what it has seen of a request and acts on the answers; this crate knows neither HTTP bodies nor
//! the registry of resources.
//!
//! * [`User`]; [`Authenticators`]: who calls, by client certificate, bearer token, or typed user.
//! * [`token`]: tokens of service accounts. [`impersonate`]: acting as somebody else.
//! * [`Authorizer`]: who may do what, by `system:masters`, [`node`] and [`rbac`], asked with [`Attributes`].
//! * [`node::restrict`]: what a kubelet may write.
//! * [`audit`]: what is written down, by a policy, into a file.
//!
//! Tasks: one for each view that follows the store ([`rbac::RbacCache`]: roles and bindings; [`node::NodeAuthorizer`]: pods
//! and volumes). They end when the view is dropped. [`audit::AuditLog`] has a thread behind a bounded queue.
//!
//! Objects are read through [`Objects`] by the API server's own [`Layout`]. Decisions are pure and are tested against naive
//! oracles; time is an argument.
//!
//! Start reading at [`Authorizer`], then `rbac/policy.rs`.
#![forbid(unsafe_code)]

mod attributes;
pub mod audit;
mod authenticate;
mod authorizer;
mod follow;
pub mod impersonate;
pub mod node;
mod objects;
pub mod rbac;
pub mod token;
pub mod user;

pub use attributes::{Attributes, FieldTerm, field_terms};
pub use authenticate::{Authenticators, TokenAuthenticator};
pub use authorizer::{AuthorizeError, Authorizer};
pub use objects::{Layout, Objects};
pub use user::{User, from_certificate};

//! Who calls, and what they may do.
//!
//! * `user`: the caller, from a client certificate.
//! * `attributes`: what an authorizer is asked.
//! * `authorizer`: the chain `system:masters`, node, RBAC.
//! * `node`: what a kubelet may do.
//! * `reviews`: the chain's answers as API objects.

mod attributes;
mod authorizer;
mod node;
mod reviews;
mod user;

pub(crate) use attributes::{Attributes, Verb};
pub use authorizer::AuthorizeError;
pub(crate) use authorizer::Authorizer;
pub(crate) use node::{NodeView, check_node_write};
pub(crate) use reviews::Reviews;
pub use user::User;
pub(crate) use user::{MASTERS, from_certificate};

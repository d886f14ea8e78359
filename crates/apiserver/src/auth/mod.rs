//! Who calls, and what they may do: what the crate `auth` decides, put to use in this server.
//!
//! * `verb`: the verbs of requests.
//! * `reviews`: decisions as API objects.
//! * `roles`: the roles that every cluster has, and those that gather the rules of others.

mod reviews;
pub(crate) mod roles;
mod verb;

pub use orrery_auth::{Attributes, Authorizer};
pub use orrery_auth::{AuthorizeError, User};
pub(crate) use reviews::Reviews;
pub(crate) use verb::Verb;

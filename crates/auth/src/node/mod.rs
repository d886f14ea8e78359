//! What a node's kubelet may do: its own Node and Lease, the pods bound to it, and what those refer to.
//!
//! * `authorizer`: may it, as far as the request's line shows.
//! * `index`, `references`: which nodes' pods refer to what, followed rather than searched for.
//! * `restriction`, `token`: may it, as far as only the object shows.

mod authorizer;
mod index;
mod references;
mod restriction;
mod token;

pub(crate) use authorizer::Decision;
pub use authorizer::NodeAuthorizer;
pub use restriction::{NodeWrite, restrict};
pub use token::restrict_token;

//! Custom resources that are served.
//!
//! ```text
//! definition stored -> follower reads it -> names accepted? -> descriptors of its served versions -> table of the registry
//! definition changed or deleted -> watches of what it defined end
//! definition deleted -> finalizer -> Terminating: nothing new -> all its objects deleted -> finalizer removed -> gone
//! ```
//!
//! * `follow`: the task that keeps the registry's table and the definitions' conditions up to date.
//! * `convert`: objects of other versions, where another program converts them.
//!
//! What a definition has to be and what follows from it is `orrery_schema::custom`.

pub(crate) mod convert;
mod follow;

pub(crate) use follow::Follower;

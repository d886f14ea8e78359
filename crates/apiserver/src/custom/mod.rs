//! Custom resources: what a `CustomResourceDefinition` is, and the resources that it defines.
//!
//! ```text
//! definition stored -> follower reads it -> names accepted? -> descriptors of its served versions -> table of the registry
//! definition deleted -> finalizer -> Terminating: nothing new -> all its objects deleted -> finalizer removed -> gone
//! ```
//!
//! * `definition`: the rules of definitions themselves, around those of the built-in kind.
//! * `resource`: the descriptors that follow from a definition.
//! * `names`: which definition of a group has which names.
//! * `follow`: the task that keeps the registry's table and the definitions' conditions up to date.

mod definition;
mod follow;
mod names;
mod resource;

pub(crate) use definition::with_schema_rules;
pub(crate) use follow::Follower;

/// The group of definitions.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// The resource of definitions.
pub(crate) const PLURAL: &str = "customresourcedefinitions";
/// Holds a definition that is being deleted until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

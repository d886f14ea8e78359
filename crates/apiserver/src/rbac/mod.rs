//! Role-based access control: rules from roles and bindings in the store.
//!
//! * `rules`: pure evaluation.
//! * `cache`: the roles and bindings, fed by the store's watch.
//! * `bootstrap`: the roles that every cluster has.
//! * `escalation`: nobody grants what they do not hold.

pub(crate) mod bootstrap;
mod cache;
mod escalation;
mod rules;

pub(crate) use cache::RbacCache;
pub(crate) use escalation::check_escalation;
pub(crate) use rules::Rule;

/// The API group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

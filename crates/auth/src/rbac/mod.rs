//! Role-based access control: rules from roles and bindings in the store.
//!
//! * `rules`, `binding`: what roles grant and to whom. `policy`: all of them, indexed by subject. Pure.
//! * `cache`: the policy in memory, fed by the store's watch.
//! * `aggregate`: what roles hold that gather the rules of others.
//! * `escalation`: nobody grants what they do not hold.
//! * [`bootstrap`]: the roles and bindings that every cluster has.

mod aggregate;
mod binding;
pub mod bootstrap;
mod cache;
mod escalation;
mod policy;
mod rules;

pub use aggregate::{Aggregated, aggregate};
pub use binding::{Binding, RoleRef, Subject};
pub use cache::RbacCache;
pub use escalation::{Grant, covered, grant_of, refusal};
pub use policy::{Allowed, Policy, StoredRole};
pub use rules::{Rule, rules_of};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

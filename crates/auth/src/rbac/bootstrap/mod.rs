//! The roles and bindings that every cluster has.
//!
//! They are facts about Kubernetes that its users rely on (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>),
//! kept as tables in `*.roles`, a line for each fact:
//!
//! ```text
//! ClusterRole NAME              a role, or `Role NAMESPACE NAME`
//!   to    KIND NAME             a binding of the same name gives it to them; an account is NAMESPACE/NAME
//!   bound NAME                  ... and the binding is called NAME
//!   label KEY                   it carries the label KEY: "true"
//!   gathers KEY                 it holds the rules of all roles that carry that label
//!   allow VERBS : GROUPS : RESOURCES [: NAMES]
//!   allow VERBS : PATHS         what it grants; `@read`, `@write` stand for verbs, `core` for the core group
//! ```

mod reconcile;
mod table;

pub use reconcile::{Step, reconcile};
use table::parse;

use serde_json::Value;

const TABLES: [&str; 3] =
    [include_str!("users.roles"), include_str!("components.roles"), include_str!("controllers.roles")];
/// Controllers' roles are bound to the account of `kube-system` that is named like the role's last part, and are held by the
/// controllers that ship with the server, too.
const CONTROLLER: &str = "system:controller:";

/// A role or binding that every cluster has.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    /// Such as `clusterroles`.
    pub plural: &'static str,
    /// The object.
    pub object: Value,
}

/// All of them: roles before the bindings that give them.
#[must_use]
pub fn objects() -> Vec<Bootstrap> {
    let roles: Vec<_> = TABLES.iter().flat_map(|text| parse(text)).collect();
    let objects = roles.iter().map(table::Role::object);
    objects.chain(roles.iter().filter_map(table::Role::binding)).collect()
}

#[cfg(test)]
mod tests;

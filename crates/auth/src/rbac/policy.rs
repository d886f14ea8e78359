//! All roles and bindings, and what they allow together. Pure.

use super::{Binding, RoleRef, Rule, Subject, rules_of};
use crate::{Attributes, User, follow::View, user::split_account};
use orrery_machinery::{meta, selector::LabelSelector};
use serde_json::{Map, Value};
use std::{collections::HashMap, fmt, sync::Arc};

/// A role as it lies in the store.
#[derive(Debug, Clone)]
pub struct StoredRole {
    pub(super) rules: Vec<Rule>,
    pub(super) labels: Map<String, Value>,
    /// The selectors of the roles whose rules this one gathers.
    pub(super) gathers: Option<Vec<LabelSelector>>,
}

impl StoredRole {
    /// A role out of its object.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let gathers = object["aggregationRule"].is_object().then(|| {
            let selectors = object["aggregationRule"]["clusterRoleSelectors"].as_array().into_iter().flatten();
            selectors.map(LabelSelector::from_object).collect()
        });
        Self { rules: rules_of(object), labels: meta::labels(object).cloned().unwrap_or_default(), gathers }
    }
}

/// Why something is allowed: a binding, and which of its subjects the user is.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    binding: &'a Binding,
    subject: &'a Subject,
}

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RBAC: allowed by {} to {}", self.binding, self.subject)
    }
}

/// A binding and the place of one of its subjects.
type Held = (Arc<Binding>, usize);

/// All roles and bindings.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By (namespace, name); the namespace of a ClusterRole is empty.
    roles: HashMap<String, HashMap<String, StoredRole>>,
    /// By the key that they are stored under.
    bindings: HashMap<String, Arc<Binding>>,
    /// What binds users, by their names; service accounts by their users' names.
    users: HashMap<String, Vec<Held>>,
    groups: HashMap<String, Vec<Held>>,
}

impl Policy {
    /// Takes in a role.
    pub fn put_role(&mut self, namespace: &str, name: &str, role: StoredRole) {
        self.roles.entry(namespace.to_owned()).or_default().insert(name.to_owned(), role);
    }

    /// Takes in a binding, in place of the one under the same key.
    pub fn put_binding(&mut self, key: &str, binding: Binding) {
        self.remove_binding(key);
        let binding = Arc::new(binding);
        for (place, subject) in binding.subjects.iter().enumerate() {
            let held = (Arc::clone(&binding), place);
            match subject.kind.as_str() {
                "User" => self.users.entry(subject.name.clone()).or_default().push(held),
                "Group" => self.groups.entry(subject.name.clone()).or_default().push(held),
                "ServiceAccount" => {
                    let user = format!("system:serviceaccount:{}:{}", subject.namespace, subject.name);
                    if split_account(&user).is_some() {
                        self.users.entry(user).or_default().push(held);
                    }
                }
                _ => {}
            }
        }
        self.bindings.insert(key.to_owned(), binding);
    }

    fn remove_binding(&mut self, key: &str) {
        let Some(old) = self.bindings.remove(key) else { return };
        for index in [&mut self.users, &mut self.groups] {
            index.retain(|_, held| {
                held.retain(|(binding, _)| !Arc::ptr_eq(binding, &old));
                !held.is_empty()
            });
        }
    }

    /// The rules of a role as a binding in `namespace` names it; none when there is no such role.
    #[must_use]
    pub fn role(&self, namespace: &str, role: &RoleRef) -> Option<&[Rule]> {
        let namespace = if role.kind == "Role" { namespace } else { "" };
        Some(&self.roles.get(namespace)?.get(&role.name)?.rules)
    }

    pub(super) fn cluster_roles(&self) -> impl Iterator<Item = (&String, &StoredRole)> {
        self.roles.get("").into_iter().flatten()
    }

    /// What binds the user in `namespace` (none: only what holds everywhere).
    fn held<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Held> {
        let groups = user.groups().iter().filter_map(|group| self.groups.get(group));
        let own = self.users.get(user.name()).into_iter();
        own.chain(groups)
            .flatten()
            .filter(move |(binding, _)| binding.namespace.is_empty() || binding.namespace == namespace)
    }

    /// The rules that hold for `user` in `namespace` (none: only those that hold everywhere).
    pub fn rules_for<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.held(user, namespace)
            .flat_map(|(binding, _)| self.role(&binding.namespace, &binding.role).unwrap_or_default())
    }

    /// Why something is allowed, when a rule allows it. Paths that are no resources are granted by ClusterRoleBindings only.
    #[must_use]
    pub fn allows<'a>(&'a self, asked: &'a Attributes) -> Option<Allowed<'a>> {
        let held = self.held(&asked.user, &asked.namespace).find(|(binding, _)| {
            let rules = self.role(&binding.namespace, &binding.role).unwrap_or_default();
            rules.iter().any(|rule| rule.allows(asked))
        });
        held.map(|(binding, place)| Allowed { binding, subject: &binding.subjects[*place] })
    }
}

impl View for Policy {
    fn put(&mut self, key: &str, object: &Value) {
        let (plural, namespace, name) = parts(key);
        match plural {
            "roles" | "clusterroles" => self.put_role(namespace, name, StoredRole::of(object)),
            "rolebindings" | "clusterrolebindings" => self.put_binding(key, Binding::of(object)),
            _ => {}
        }
    }

    fn remove(&mut self, key: &str) {
        let (plural, namespace, name) = parts(key);
        match plural {
            "roles" | "clusterroles" => {
                if let Some(roles) = self.roles.get_mut(namespace) {
                    roles.remove(name);
                }
            }
            _ => self.remove_binding(key),
        }
    }
}

/// Plural, namespace and name of a key after the group's prefix.
fn parts(key: &str) -> (&str, &str, &str) {
    let mut rest = key.split('/');
    let plural = rest.next().unwrap_or("");
    let first = rest.next().unwrap_or("");
    match rest.next() {
        Some(name) => (plural, first, name),
        None => (plural, "", first),
    }
}

#[cfg(test)]
mod tests;

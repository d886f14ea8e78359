//! Bindings: who has which role, and where.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// Whom a binding binds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Of a service account; the binding's own when it is left out.
    pub namespace: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            "ServiceAccount" => write!(f, "ServiceAccount \"{}/{}\"", self.name, self.namespace),
            kind => write!(f, "{kind} {:?}", self.name),
        }
    }
}

/// Which role a binding gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Where it holds; everywhere when empty.
    pub namespace: String,
    /// What it gives.
    pub role: RoleRef,
    /// To whom.
    pub subjects: Vec<Subject>,
}

impl Binding {
    /// A binding out of its object.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let namespace = orrery_machinery::meta::namespace(object);
        let subjects = object["subjects"].as_array().into_iter().flatten();
        let subjects = subjects.filter_map(|subject| Subject::deserialize(subject).ok()).map(|mut subject| {
            if subject.kind == "ServiceAccount" && subject.namespace.is_empty() {
                namespace.clone_into(&mut subject.namespace);
            }
            subject
        });
        Self {
            name: orrery_machinery::meta::name(object).to_owned(),
            namespace: namespace.to_owned(),
            role: RoleRef::deserialize(&object["roleRef"]).unwrap_or_default(),
            subjects: subjects.collect(),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RoleRef { kind, name } = &self.role;
        if self.namespace.is_empty() {
            write!(f, "ClusterRoleBinding {:?} of {kind} {name:?}", self.name)
        } else {
            write!(f, "RoleBinding \"{}/{}\" of {kind} {name:?}", self.name, self.namespace)
        }
    }
}

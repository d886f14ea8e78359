//! Fields that a write cannot set.

use crate::fields::{FieldSet, Pattern};
use orrery_machinery::descriptor::ResourceDescriptor;

/// Fields that a write to a path leaves alone whatever the request says of them; nobody owns them by such a write.
#[derive(Debug, Clone, Default)]
pub enum Ignored<'a> {
    /// None.
    #[default]
    Nothing,
    /// These with all that is below them (`status` for the main resource of a kind that has the sub-resource).
    Fields(FieldSet<'a>),
    /// All but these with all that is below them (the resources of containers for `pods/resize`).
    AllBut(&'a [Pattern]),
}

impl Ignored<'static> {
    /// What a write to a resource, or to a sub-resource of it, cannot set: upstream's reset fields, where they are not those
    /// of most kinds.
    #[must_use]
    pub fn at(resource: &ResourceDescriptor, subresource: &str) -> Self {
        let fields: &[&[&str]] = match (&*resource.group, &*resource.plural, subresource) {
            ("certificates.k8s.io", "certificatesigningrequests", "") => &[&["spec"], &["status"]],
            ("certificates.k8s.io", "certificatesigningrequests", "status") => &[&["spec"], &["status", "conditions"]],
            ("certificates.k8s.io", "certificatesigningrequests", "approval") => {
                &[&["spec"], &["status", "certificate"]]
            }
            ("", "pods", "status") => {
                &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]
            }
            ("apps", "deployments", "status") => &[&["spec"], &["metadata", "labels"]],
            (
                "apiextensions.k8s.io" | "apiregistration.k8s.io",
                "customresourcedefinitions" | "apiservices",
                "status",
            ) => &[&["metadata"], &["spec"]],
            (_, _, "") if resource.has_status() => &[&["status"]],
            (_, _, "status") => &[&["spec"]],
            _ => return Self::Nothing,
        };
        Self::Fields(FieldSet::of(fields))
    }
}

impl Ignored<'_> {
    /// `set` without what is ignored.
    pub(super) fn filter<'s>(&self, set: FieldSet<'s>) -> FieldSet<'s> {
        match self {
            Self::Nothing => set,
            Self::Fields(fields) => set.recursive_difference(fields),
            Self::AllBut(patterns) => set.matching(patterns),
        }
    }
}

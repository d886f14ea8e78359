//! What every object has: a name, a version, owners.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use std::{collections::BTreeMap, fmt};

/// Namespace and name; the namespace is empty for objects without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey {
    /// The namespace, or nothing.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object without namespace.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// Which object it is, among all that ever had its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uid(pub String);

impl Uid {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A resource version. They are integers, may be compared, and are shared by all kinds
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// Reads `metadata.resourceVersion`; what is no number counts as the oldest.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        Self(text.and_then(|text| text.parse().ok()).unwrap_or_default())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The projection of `metadata`. Two are equal when they differ in nothing but their version.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Which object of this name it is.
    pub uid: Uid,
    /// Its version when it was read.
    pub version: Revision,
    /// Counts the changes of what is wanted.
    pub generation: i64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When its deletion was asked for, grace period included.
    pub deleting: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// What holds it back from being removed.
    pub finalizers: Vec<String>,
}

impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.uid, self.generation, self.deleting)
            == (&other.key, &other.uid, other.generation, other.deleting)
            && (&self.labels, &self.owners, &self.finalizers) == (&other.labels, &other.owners, &other.finalizers)
    }
}

impl Meta {
    /// Takes over what is kept of `metadata`. Annotations are left to the projection, which knows which ones it reads.
    #[must_use]
    pub fn take(meta: &mut ObjectMeta) -> Self {
        Self {
            key: ObjectKey::new(meta.namespace.take().unwrap_or_default(), meta.name.take().unwrap_or_default()),
            uid: Uid(meta.uid.take().unwrap_or_default()),
            version: Revision::parse(meta.resource_version.as_deref()),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            deleting: meta.deletion_timestamp.as_ref().map(|time| time.0),
            labels: meta.labels.take().unwrap_or_default(),
            owners: meta.owner_references.take().unwrap_or_default(),
            finalizers: meta.finalizers.take().unwrap_or_default(),
        }
    }

    /// The owner that manages it, of which there is at most one.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owners.iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether `uid` manages it.
    #[must_use]
    pub fn is_controlled_by(&self, uid: &Uid) -> bool {
        self.controller().is_some_and(|owner| owner.uid == uid.0)
    }

    /// The key of its controller, when that is of `kind` in API group `group`.
    #[must_use]
    pub fn controller_key(&self, group: &str, kind: &str) -> Option<ObjectKey> {
        let owner = self.controller().filter(|owner| owner.kind == kind && group_of(&owner.api_version) == group)?;
        Some(ObjectKey::new(&self.key.namespace, &owner.name))
    }
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The reference of a controller to put into what it makes: it manages the object, and waits for it when it is deleted
/// in the foreground.
#[must_use]
pub fn owner_reference(api_version: &str, kind: &str, name: &str, uid: &Uid) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.0.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

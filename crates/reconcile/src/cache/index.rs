//! Objects by name and by what else they are looked for.

use super::Projected;
use crate::{Meta, ObjectKey, Revision, Uid};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

/// What objects are found under beside their name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// Managed by the object of this UID.
    Controller(Uid),
    /// Managed by nobody, in this namespace.
    NoController(String),
    /// On this node.
    Node(String),
    /// About the service of this name.
    Service(ObjectKey),
}

impl Term {
    /// Who manages the object, or that nobody does.
    #[must_use]
    pub fn of_controller(meta: &Meta) -> Self {
        match meta.controller() {
            Some(owner) => Self::Controller(Uid(owner.uid.clone())),
            None => Self::NoController(meta.key.namespace.clone()),
        }
    }
}

pub(super) struct Items<T> {
    objects: BTreeMap<ObjectKey, Arc<T>>,
    terms: BTreeMap<Term, BTreeSet<ObjectKey>>,
    pub(super) revision: Revision,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), terms: BTreeMap::new(), revision: Revision::default() }
    }
}

impl<T: Projected> Items<T> {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<T>> {
        self.objects.get(key)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<T>> {
        let from = Bound::Included(ObjectKey::new(namespace, ""));
        let range = self.objects.range((from, Bound::Unbounded));
        range.take_while(move |(key, _)| key.namespace == namespace).map(|(_, item)| item)
    }

    pub(super) fn found_under(&self, term: &Term) -> Vec<Arc<T>> {
        self.terms.get(term).into_iter().flatten().filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    pub(super) fn insert(&mut self, key: ObjectKey, item: Arc<T>) -> Option<Arc<T>> {
        let old = self.remove(&key);
        for term in item.terms() {
            self.terms.entry(term).or_default().insert(key.clone());
        }
        self.objects.insert(key, item);
        old
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let old = self.objects.remove(key)?;
        for term in old.terms() {
            if let Some(keys) = self.terms.get_mut(&term) {
                keys.remove(key);
                if keys.is_empty() {
                    self.terms.remove(&term);
                }
            }
        }
        Some(old)
    }
}

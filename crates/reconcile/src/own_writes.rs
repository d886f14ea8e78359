//! What a controller has written and its caches may not show yet.
//!
//! Upstream counts expected creations and deletions and gives up on them after five minutes. Here each write's resource
//! version is kept instead: a watch delivers changes in order of their versions, so that a cache that has come to that
//! version shows the write. Nothing can be counted wrongly, and a lost event cannot leave a key waiting.

use crate::{Cache, ObjectKey, Projected, Revision, Uid};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

#[derive(Debug, Default)]
struct Written {
    revision: Revision,
    /// Objects whose removal was answered without a version.
    removed: Vec<(ObjectKey, Uid)>,
}

/// What was written to one kind on behalf of each key.
#[derive(Debug, Default)]
pub struct OwnWrites(Mutex<BTreeMap<ObjectKey, Written>>);

impl OwnWrites {
    /// An object was written for `key`, which made it of `revision`.
    pub fn wrote(&self, key: &ObjectKey, revision: Revision) {
        self.with(|all| {
            let written = all.entry(key.clone()).or_default();
            written.revision = written.revision.max(revision);
        });
    }

    /// An object was asked to go for `key`, and the answer names no version.
    pub fn removed(&self, key: &ObjectKey, object: ObjectKey, uid: Uid) {
        self.with(|all| all.entry(key.clone()).or_default().removed.push((object, uid)));
    }

    /// Whether `cache` shows all that was written for `key`; if so, it is forgotten.
    pub fn are_seen<T: Projected>(&self, key: &ObjectKey, cache: &Cache<T>) -> bool {
        self.with(|all| {
            let Some(written) = all.get_mut(key) else { return true };
            written.removed.retain(|(object, uid)| {
                cache.get(object).is_some_and(|item| item.meta().uid == *uid && item.meta().deleting.is_none())
            });
            let seen = written.removed.is_empty() && cache.revision() >= written.revision;
            if seen {
                all.remove(key);
            }
            seen
        })
    }

    /// The key is gone for good.
    pub fn forget(&self, key: &ObjectKey) {
        self.with(|all| drop(all.remove(key)));
    }

    fn with<R>(&self, work: impl FnOnce(&mut BTreeMap<ObjectKey, Written>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! A projected copy of the objects of one kind, shared by all controllers of a process.
//!
//! ```text
//! unsynced --first list--> synced up to L --event at R--> synced up to R --watch too old, list at L'--> synced up to L'
//! ```
//!
//! The watch's objects are dropped as soon as they are projected. What changes is told to those who asked, under no lock,
//! one change after the other. A change of nothing but the version is taken in, but not told.

mod index;
mod watch;

pub use index::Term;
pub use watch::Options;

use crate::{Metrics, ObjectKey, Revision, Uid, meta::Meta, metrics::ByName};
use index::Items;
use serde::de::DeserializeOwned;
use std::{
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::sync::watch as flag;

/// What is kept of an API object.
pub trait Projected: PartialEq + Debug + Send + Sync + 'static {
    /// The API object.
    type Object: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The resource's plural name, for messages and metrics.
    const PLURAL: &'static str;

    /// What is kept of `object`; none when it is of no interest.
    fn project(object: Self::Object) -> Option<Self>
    where
        Self: Sized;

    /// Its metadata.
    fn meta(&self) -> &Meta;

    /// Under what it is to be found beside its name. By default its controller, or that it has none.
    fn terms(&self) -> Vec<Term> {
        vec![Term::of_controller(self.meta())]
    }
}

type Handler<T> = Box<dyn Fn(Option<&T>, Option<&T>) + Send + Sync>;

struct Shared<T> {
    items: RwLock<Items<T>>,
    handlers: RwLock<Vec<Handler<T>>>,
    synced: flag::Sender<bool>,
    metrics: Metrics,
}

/// The cache. Clones show the same objects.
pub struct Cache<T>(Arc<Shared<T>>);

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Projected> Default for Cache<T> {
    fn default() -> Self {
        Self::new(Metrics::default())
    }
}

impl<T: Projected> Cache<T> {
    /// An empty cache; [`Cache::run`] fills it.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let (synced, _) = flag::channel(false);
        Self(Arc::new(Shared { items: RwLock::default(), handlers: RwLock::default(), synced, metrics }))
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read().get(key).cloned()
    }

    /// All objects, by namespace and name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<T>> {
        self.read().all().cloned().collect()
    }

    /// The objects of a namespace, by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.read().in_namespace(namespace).cloned().collect()
    }

    /// The objects that are found under `term`.
    #[must_use]
    pub fn found_under(&self, term: &Term) -> Vec<Arc<T>> {
        self.read().found_under(term)
    }

    /// The objects that `uid` manages.
    #[must_use]
    pub fn controlled_by(&self, uid: &Uid) -> Vec<Arc<T>> {
        self.found_under(&Term::Controller(uid.clone()))
    }

    /// The objects of a namespace that nobody manages.
    #[must_use]
    pub fn without_controller(&self, namespace: &str) -> Vec<Arc<T>> {
        self.found_under(&Term::NoController(namespace.to_owned()))
    }

    /// Everything that was written up to this version is here.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.read().revision
    }

    /// Returns once the first list is complete.
    pub async fn synced(&self) {
        let mut synced = self.0.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Has `handler` called with each object before and after a change: (none, some) when it appears, (some, none) when
    /// it goes. It must be quick and must not block; adding keys to a [`crate::Queue`] is what it is for. Objects that are
    /// here already are told at once.
    pub fn on_change(&self, handler: impl Fn(Option<&T>, Option<&T>) + Send + Sync + 'static) {
        for item in self.all() {
            handler(None, Some(&item));
        }
        self.0.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// The object was written at `revision`, or seen so in the watch.
    pub(crate) fn put(&self, item: T) {
        let new = Arc::new(item);
        let key = new.meta().key.clone();
        let old = {
            let mut items = self.write();
            items.revision = items.revision.max(new.meta().version);
            items.insert(key, Arc::clone(&new))
        };
        if old.as_deref() != Some(&*new) {
            self.tell(old.as_deref(), Some(&new));
        }
        self.count();
    }

    /// The object is gone, or of no interest any more, as of `revision`.
    pub(crate) fn remove(&self, key: &ObjectKey, revision: Revision) {
        let old = {
            let mut items = self.write();
            items.revision = items.revision.max(revision);
            items.remove(key)
        };
        if let Some(old) = old {
            self.tell(Some(&old), None);
        }
        self.count();
    }

    /// The cache is exactly `list` as of `revision`.
    pub(crate) fn replace(&self, list: Vec<T>, revision: Revision) {
        let mut fresh = Items::default();
        fresh.revision = revision;
        for item in list {
            fresh.insert(item.meta().key.clone(), Arc::new(item));
        }
        let current: Vec<Arc<T>> = fresh.all().cloned().collect();
        let before = std::mem::replace(&mut *self.write(), fresh);
        for new in &current {
            let old = before.get(&new.meta().key);
            if old.map(|old| &**old) != Some(&**new) {
                self.tell(old.map(|old| &**old), Some(new));
            }
        }
        for old in before.all().filter(|old| self.get(&old.meta().key).is_none()) {
            self.tell(Some(old), None);
        }
        self.0.synced.send_replace(true);
        self.0.metrics.relists.get_or_create(&ByName { name: T::PLURAL }).inc();
        self.count();
    }

    /// Nothing was written to this kind up to `revision` that is not here.
    pub(crate) fn advance(&self, revision: Revision) {
        let mut items = self.write();
        items.revision = items.revision.max(revision);
    }

    fn tell(&self, old: Option<&T>, new: Option<&T>) {
        for handler in self.0.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(old, new);
        }
    }

    fn count(&self) {
        let count = i64::try_from(self.read().len()).unwrap_or(i64::MAX);
        self.0.metrics.cached.get_or_create(&ByName { name: T::PLURAL }).set(count);
    }

    // A handler that panics holds no lock on the items; they are whole.
    fn read(&self) -> RwLockReadGuard<'_, Items<T>> {
        self.0.items.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Items<T>> {
        self.0.items.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

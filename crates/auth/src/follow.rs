//! A view in memory of what lies under a prefix, kept up to date by the store's watch.
//!
//! ```text
//! read all ─► follow changes ─► (watch lost) ─► read all ...
//!     └──────────── (store failed) ─► wait ────────┘
//! ```

use crate::Objects;
use orrery_store::{Change, Entry, Revision, StoreError, WatchEvent};
use serde_json::Value;
use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long to wait before the store is asked again after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// What a view is made of.
pub(crate) trait View: Default + Send + Sync + 'static {
    /// An object is there, as it is now. `key` is its key after the prefix.
    fn put(&mut self, key: &str, object: &Value);
    /// An object is gone.
    fn remove(&mut self, key: &str);
}

/// A view that follows the store for as long as this lives.
pub(crate) struct Followed<V> {
    view: Arc<RwLock<V>>,
    changes: watch::Receiver<Revision>,
    _stop: Option<DropGuard>,
}

impl<V: View> Followed<V> {
    /// Reads what is under `prefix` and follows it from then on.
    pub(crate) async fn start(objects: Objects, prefix: String) -> Result<Self, StoreError> {
        let stop = CancellationToken::new();
        let view = Arc::new(RwLock::new(V::default()));
        let (sender, changes) = watch::channel(Revision(0));
        let task = Task { objects, prefix, view: Arc::clone(&view), sender };
        let from = task.reload().await?;
        tokio::spawn(task.run(from, stop.clone()));
        Ok(Self { view, changes, _stop: Some(stop.drop_guard()) })
    }

    /// A view of nothing, for ever.
    pub(crate) fn empty() -> Self {
        let (_, changes) = watch::channel(Revision(0));
        Self { view: Arc::default(), changes, _stop: None }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, V> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the view has; says nothing about what.
    pub(crate) fn changes(&self) -> watch::Receiver<Revision> {
        self.changes.clone()
    }
}

struct Task<V> {
    objects: Objects,
    prefix: String,
    view: Arc<RwLock<V>>,
    sender: watch::Sender<Revision>,
}

impl<V: View> Task<V> {
    fn write(&self) -> RwLockWriteGuard<'_, V> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, from: Revision, stop: CancellationToken) {
        let mut from = Some(from);
        while !stop.is_cancelled() {
            let result = tokio::select! {
                () = stop.cancelled() => return,
                // Starting over on the next turn loses nothing: all state is in the view and the store.
                result = self.follow(from) => result,
            };
            from = None;
            if let Err(error) = result {
                if matches!(error, StoreError::Closed) {
                    return;
                }
                tracing::warn!(%error, prefix = self.prefix, "cannot follow objects; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }

    async fn reload(&self) -> Result<Revision, StoreError> {
        let (entries, revision) = self.objects.range(&self.prefix).await?;
        let mut fresh = V::default();
        for entry in &entries {
            self.put(&mut fresh, entry);
        }
        *self.write() = fresh;
        self.sender.send_replace(revision);
        Ok(revision)
    }

    async fn follow(&self, from: Option<Revision>) -> Result<(), StoreError> {
        let from = match from {
            Some(from) => from,
            None => self.reload().await?,
        };
        let mut watch = self.objects.store.watch(&self.prefix, from).await?;
        while let Some(event) = watch.next().await {
            match event {
                WatchEvent::Change(change) => self.apply(&change),
                WatchEvent::Progress(_) => {}
                WatchEvent::Lost { .. } => return Ok(()),
            }
        }
        Err(StoreError::Closed)
    }

    fn apply(&self, change: &Change) {
        match &change.current {
            Some(entry) => self.put(&mut self.write(), entry),
            None => self.write().remove(change.key.strip_prefix(&self.prefix).unwrap_or("")),
        }
        self.sender.send_replace(change.revision);
    }

    fn put(&self, view: &mut V, entry: &Entry) {
        let key = entry.key.strip_prefix(&self.prefix).unwrap_or("");
        match (self.objects.layout.decode)(entry) {
            Ok(object) => view.put(key, &object),
            Err(error) => {
                // Refusing is the safe side: what cannot be read grants nothing.
                tracing::error!(key = %entry.key, error = error.message, "an object in the store is damaged and is left out");
                view.remove(key);
            }
        }
    }
}

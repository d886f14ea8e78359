//! What readers, watchers and the writer share: the index and the groups of watchers.

use super::groups::{Group, Groups};
use super::index::{Index, Record};
use crate::{Change, Revision, StoreError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

/// What the publication of changes leaves to do.
#[derive(Debug)]
pub(super) struct Aftermath {
    /// Who has to be woken.
    pub(super) waiting: Vec<Waker>,
    /// What history no longer has; giving back its memory takes a while.
    pub(super) forgotten: Vec<Arc<Change>>,
}

/// Locks are taken in this order: groups, index; a single group's after any of them.
#[derive(Debug)]
pub(super) struct Shared {
    groups: Mutex<Groups>,
    index: RwLock<Index>,
    /// Every change up to here is in its groups.
    published: AtomicU64,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(index: Index) -> Self {
        let published = AtomicU64::new(index.current().0);
        Self { groups: Mutex::default(), index: RwLock::new(index), published, closed: AtomicBool::new(false) }
    }

    /// The index. A panic of another holder leaves it readable: `apply` keeps it consistent after each change.
    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends all watches.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let waiting = self.groups().close();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Takes durable changes into the index and gives them to the watchers. Gives what is left to do once nobody waits for
    /// anything more urgent.
    pub(super) fn publish(&self, records: Vec<Record>, now_ms: u64) -> Aftermath {
        let changes: Vec<Arc<Change>> = records.iter().map(|record| Arc::clone(&record.change)).collect();
        let groups = self.groups();
        let forgotten = self.index_mut().apply(records, now_ms);
        let waiting = groups.add(&changes);
        groups.forget(&forgotten);
        if let Some(last) = changes.last() {
            self.published.store(last.revision.0, Ordering::Release);
        }
        Aftermath { waiting, forgotten }
    }

    /// Forgets what was before `revision`.
    pub(super) fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let groups = self.groups();
        let mut index = self.index_mut();
        if revision > index.current() {
            return Err(StoreError::Future { asked: revision, current: index.current() });
        }
        let forgotten = index.compact(revision);
        drop(index);
        groups.forget(&forgotten);
        Ok(())
    }

    /// Forgets what is too old.
    pub(super) fn expire(&self, now_ms: u64) {
        let groups = self.groups();
        let forgotten = self.index_mut().expire(now_ms);
        groups.forget(&forgotten);
    }

    /// Adds a watcher of everything after `from`; none when that is compacted.
    pub(super) fn join(&self, prefix: &str, from: Revision) -> Result<Option<Arc<Group>>, StoreError> {
        let mut groups = self.groups();
        // Asked with the lock held, which closing needs too: no group begins after the last was told.
        if self.is_closed() {
            return Err(StoreError::Closed);
        }
        let index = self.index();
        if from > index.current() {
            return Err(StoreError::Future { asked: from, current: index.current() });
        }
        let history = index.history();
        if from < history.compacted() {
            return Ok(None);
        }
        Ok(Some(groups.join(prefix, history.after(history.compacted()))))
    }

    /// Takes a watcher away.
    pub(super) fn leave(&self, prefix: &str, group: &Group, slot: Option<usize>) {
        self.groups().leave(prefix, group, slot);
    }
}

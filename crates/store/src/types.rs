//! The trait that every backend implements, and what goes through it.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Orders all writes of a store; 0 is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, such as `/registry/pods/demo/hello`.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Revision of the write that created the object.
    pub create_revision: Revision,
    /// Revision of the last write.
    pub mod_revision: Revision,
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key has no value.
    Absent(String),
    /// The key's last write has this revision.
    ModRevision(String, Revision),
}

/// A write of a transaction. A transaction writes a key at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a value; it is deleted by itself after `ttl`, if there is one.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// How long the value lives, counted from the commit.
        ttl: Option<Duration>,
    },
    /// Deletes a key; a missing one is no error.
    Delete {
        /// The key.
        key: String,
    },
}

/// Writes that happen together, if every comparison holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compare: Vec<Compare>,
    /// Done when they do, all with the same revision.
    pub ops: Vec<Op>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Done and durable. The revision of its writes; the current one when nothing was written.
    Committed(Revision),
    /// A comparison did not hold; nothing was written. The present entry of each compared key, in order.
    Conflict(Vec<Option<Entry>>),
}

/// Which entries to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// Keys that begin with this.
    pub prefix: String,
    /// Only keys after this one, for the next page.
    pub after: Option<String>,
    /// At most so many entries; all when none. With 0 the page is empty and `remaining` counts.
    pub limit: Option<usize>,
    /// As the store was at this revision; as it is now when none.
    pub at: Option<Revision>,
}

/// A page of entries in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangePage {
    /// The entries, shared with the store.
    pub entries: Vec<Arc<Entry>>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// How many more entries there are beyond the limit.
    pub remaining: usize,
}

/// A change, as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The entry after the change; none when it was deleted.
    pub current: Option<Arc<Entry>>,
    /// The entry before the change; none when it was created.
    pub previous: Option<Arc<Entry>>,
    /// The change's revision.
    pub revision: Revision,
}

/// What a watch gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A change of a key under the prefix. All watches of a store share it, so that what is worked out for one watcher can
    /// be kept for the others by its address.
    Change(Arc<Change>),
    /// Everything up to this revision has been given.
    Progress(Revision),
    /// The watcher was too slow or its start was compacted away; the watch has ended. Nothing is ever left out silently.
    Lost {
        /// The oldest revision that can still be watched from.
        compacted: Revision,
    },
}

/// What a backend has behind a [`Watch`].
pub trait WatchSource: Send + 'static {
    /// The next event; none at the end and ever after. After [`WatchEvent::Lost`] comes the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<WatchEvent>>;

    /// Sees to it that progress is told as soon as everything up to now has been given.
    fn request_progress(&mut self);
}

/// A running watch. Dropping it ends it.
pub struct Watch(Box<dyn WatchSource>);

impl Watch {
    /// Wraps what a backend has.
    #[must_use]
    pub fn new(source: impl WatchSource) -> Self {
        Self(Box::new(source))
    }

    /// The next event; none when the watch was lost or the store has shut down. Cancel-safe.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        std::future::poll_fn(|context| self.0.poll_next(context)).await
    }

    /// Asks for a [`WatchEvent::Progress`] as soon as everything up to the present revision has been given, instead of
    /// at the next regular time. It comes out of [`next`](Self::next), after the changes before it.
    pub fn request_progress(&mut self) {
        self.0.request_progress();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watch")
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The revision asked for is no longer kept.
    #[error("revision {} was compacted away; the oldest that is kept is {}", asked.0, compacted.0)]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest that is kept.
        compacted: Revision,
    },
    /// The revision asked for is not there yet.
    #[error("revision {} is not there yet; the current one is {}", asked.0, current.0)]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The current one.
        current: Revision,
    },
    /// The backend cannot write (disk full, read-only, damaged); reads go on. Says what to do.
    #[error("the store cannot write: {0}")]
    Unwritable(String),
    /// The backend failed otherwise.
    #[error("the store failed while {doing}")]
    Backend {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
}

/// A versioned store.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Carries out a transaction; durable when this returns `Committed`.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError>;

    /// Reads entries at one revision.
    async fn range(&self, request: RangeRequest) -> Result<RangePage, StoreError>;

    /// Reads one entry as it is now.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// Every change under `prefix` after `from`, in order, each with the entry before it; and progress: once everything
    /// that was there at the beginning has been given, then now and then, and when it is asked for.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError>;

    /// The revision of the last write.
    async fn current_revision(&self) -> Result<Revision, StoreError>;

    /// Forgets what was before `revision`: it can no longer be read at or watched from a revision before that.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;
}

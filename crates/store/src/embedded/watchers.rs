//! Index and watchers together, and the task that feeds one watcher.
//!
//! A watcher has no queue of its own beyond a small channel. Its task reads on in the shared history at the watcher's
//! speed, and when history has been compacted past a change it still had to give, the watcher is told that it is lost.
//! So a slow watcher costs no memory, and none misses anything silently.
//!
//! ```text
//! catching up -- history read to its end --> waiting -- a matching change --> catching up
//! catching up -- a change not given yet was compacted --> lost (ended)
//! any -- watcher dropped, store closed --> ended
//! ```

use super::index::{Index, Record, Replay};
use crate::{Revision, StoreError, Watch, WatchEvent};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

/// How many changes are taken out of history at a time, while the index is locked for reading.
const PORTION: usize = 256;

/// What readers, watchers and the writer share. Locks are taken in this order: index, then watchers.
#[derive(Debug)]
pub(super) struct Shared {
    index: RwLock<Index>,
    watchers: Mutex<Watchers>,
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Watchers {
    next_id: u64,
    by_id: HashMap<u64, Watcher>,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    /// Nothing that it has to be given is older than this; none when it has been given everything.
    pending: Option<Revision>,
    wake: Arc<Notify>,
}

impl Shared {
    pub(super) fn new(index: Index) -> Self {
        Self { index: RwLock::new(index), watchers: Mutex::default(), closed: watch::Sender::new(false) }
    }

    /// The index. A panic of another holder leaves it readable: `apply` keeps it consistent after each change.
    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends all watches.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Takes durable changes into the index and wakes the watchers that they concern.
    pub(super) fn publish(&self, records: Vec<Record>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for watcher in self.watchers().by_id.values_mut() {
            let first = records.iter().find(|record| record.key.starts_with(&watcher.prefix));
            if let Some(first) = first {
                watcher.pending.get_or_insert(first.revision);
                watcher.wake.notify_one();
            }
        }
        index.apply(records);
    }

    /// Forgets what was before `revision`.
    pub(super) fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if revision > index.current() {
            return Err(StoreError::Future { asked: revision, current: index.current() });
        }
        index.compact(revision);
        Ok(())
    }

    /// Starts a watch of everything after `from`.
    pub(super) fn watch(self: &Arc<Self>, prefix: &str, from: Revision, pace: Pace) -> Result<Watch, StoreError> {
        let index = self.index();
        if from > index.current() {
            return Err(StoreError::Future { asked: from, current: index.current() });
        }
        let pending = (from < index.current()).then_some(Revision(from.0 + 1));
        let wake = Arc::new(Notify::new());
        let id = {
            let mut watchers = self.watchers();
            watchers.next_id += 1;
            let id = watchers.next_id;
            watchers.by_id.insert(id, Watcher { prefix: prefix.to_owned(), pending, wake: Arc::clone(&wake) });
            id
        };
        drop(index);
        let subscription = Subscription { shared: Arc::clone(self), id, prefix: prefix.to_owned(), position: from };
        let (sender, receiver) = mpsc::channel(pace.buffer.max(1));
        let feed = Feed { sender, closed: self.closed.subscribe() };
        tokio::spawn(run(subscription, wake, feed, pace.progress));
        Ok(Watch::new(receiver))
    }
}

/// How a watcher is fed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Events that wait in the channel.
    pub(super) buffer: usize,
    /// How often progress is told.
    pub(super) progress: Duration,
}

/// A watcher's place in history. Dropping it takes the watcher off the list.
struct Subscription {
    shared: Arc<Shared>,
    id: u64,
    prefix: String,
    position: Revision,
}

/// The watcher has missed something; `compacted` is where one can begin anew.
struct Missed {
    compacted: Revision,
}

impl Subscription {
    /// Takes the next portion and moves on.
    fn pull(&mut self) -> Result<Replay, Missed> {
        let index = self.shared.index();
        let mut watchers = self.shared.watchers();
        let watcher = watchers.by_id.get_mut(&self.id).expect("a watcher stays on the list while it is subscribed");
        let compacted = index.compacted();
        if watcher.pending.is_some_and(|pending| pending <= compacted) {
            return Err(Missed { compacted });
        }
        // What was compacted beyond the position did not concern this watcher.
        let replay = index.replay(&self.prefix, self.position.max(compacted), PORTION);
        self.position = replay.up_to;
        watcher.pending = (!replay.caught_up).then_some(Revision(replay.up_to.0 + 1));
        Ok(replay)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.watchers().by_id.remove(&self.id);
    }
}

/// The watcher's end of the channel is gone, or the store is closed.
struct Ended;

struct Feed {
    sender: mpsc::Sender<WatchEvent>,
    closed: watch::Receiver<bool>,
}

impl Feed {
    async fn give(&mut self, event: WatchEvent) -> Result<(), Ended> {
        tokio::select! {
            // Cancelled only when the watch ends anyway.
            sent = self.sender.send(event) => sent.map_err(|_| Ended),
            // Cancel-safe: looks at the present value first.
            _ = self.closed.wait_for(|closed| *closed) => Err(Ended),
        }
    }
}

/// Feeds one watcher until it ends.
async fn run(subscription: Subscription, wake: Arc<Notify>, feed: Feed, progress: Duration) {
    match feed_until_missed(subscription, wake, feed, progress).await {
        Ok(Ended) | Err(Ended) => {}
    }
}

async fn feed_until_missed(
    mut subscription: Subscription,
    wake: Arc<Notify>,
    mut feed: Feed,
    progress: Duration,
) -> Result<Ended, Ended> {
    let mut ticker = tokio::time::interval_at(Instant::now() + progress, progress);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tell_progress = true;
    loop {
        let replay = match subscription.pull() {
            Ok(replay) => replay,
            Err(Missed { compacted }) => {
                drop(subscription);
                feed.give(WatchEvent::Lost { compacted }).await?;
                return Ok(Ended);
            }
        };
        for change in replay.changes {
            feed.give(WatchEvent::Change(change)).await?;
        }
        if !replay.caught_up {
            continue;
        }
        if std::mem::take(&mut tell_progress) {
            feed.give(WatchEvent::Progress(replay.up_to)).await?;
        }
        tokio::select! {
            // Cancel-safe: a wake-up that comes meanwhile stays with the Notify.
            () = wake.notified() => {}
            // Cancel-safe: a tick that is not taken comes again.
            _ = ticker.tick() => tell_progress = true,
            // Cancel-safe, both: they look at the present state first.
            () = feed.sender.closed() => return Ok(Ended),
            _ = feed.closed.wait_for(|closed| *closed) => return Ok(Ended),
        }
    }
}

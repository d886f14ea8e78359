//! The backend inside the process: SQLite as the durable log, an in-memory multi-version index in front.
//!
//! One thread writes (`writer`). It drains a bounded queue into one SQLite transaction, so that concurrent writers
//! share one sync of the disk, and answers after the commit; each transaction still has a revision of its own. A lone
//! caller writes in the thread's place. All
//! reads come out of the index and never wait for the disk: they take a copy, which costs nothing, and read without a lock.
//! A watch takes changes out of what all watchers of its prefix share, whenever it is asked for the next one.
//!
//! * `index`: the present (`tree`) and the last changes (`history`); `plan`: what a batch would write; `deadlines`: time to
//!   live. All pure.
//! * `log`: the file. `writer`: the thread. `maintain`, `control`: what administrators do with it.
//! * `groups`, `feed`: watchers by prefix, and one watch. `shared`: what all of them use.

mod control;
mod deadlines;
mod feed;
mod groups;
mod history;
mod index;
mod log;
pub mod maintain;
mod plan;
mod shared;
mod stored;
mod tree;
mod writer;

pub use control::Control;
pub use log::OpenError;

use crate::{Entry, RangePage, RangeRequest, Revision, Store, StoreError, Txn, TxnOutcome, Watch};
use control::Listening;
use deadlines::Deadlines;
use feed::Pace;
use history::Bounds;
use index::Index;
use log::Log;
use shared::Shared;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, oneshot};
use writer::{Desk, Request, Writer};

/// Settings of the embedded store.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedOptions {
    /// How many changes are kept for watchers and for reads in the past.
    pub history_changes: usize,
    /// How many bytes those changes may hold; whichever bound is met first counts.
    pub history_bytes: usize,
    /// How old those changes may become, even if there is room.
    pub history_age: Duration,
    /// How many transactions may wait for the writer; more wait outside the queue.
    pub queue: usize,
    /// How many changes a watch takes at a time; they wait there until they are asked for.
    pub watch_buffer: usize,
    /// How often a watch that has been given everything is told so.
    pub progress_interval: Duration,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            history_changes: 10_000,
            history_bytes: 256 << 20,
            history_age: Duration::from_secs(5 * 60),
            queue: 1024,
            watch_buffer: 256,
            progress_interval: Duration::from_secs(5),
        }
    }
}

/// A store in a file of its own. Clones are the same store.
///
/// When the last clone is dropped, the writer finishes what is queued and the file is let go soon after; [`close`]
/// waits for that.
///
/// [`close`]: Embedded::close
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// None once closed.
    requests: Mutex<Option<SyncSender<Request>>>,
    /// As many places as the queue has, so that sending into it never blocks.
    places: Arc<Semaphore>,
    writer: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
    control: Mutex<Option<Listening>>,
    options: EmbeddedOptions,
}

impl Embedded {
    /// Opens the store at `path`, which is created if it is not there, with its directory.
    ///
    /// What happened before the opening cannot be watched: history begins anew, while the revisions go on.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the file is in use, foreign, newer or damaged, or the directory cannot be written.
    pub async fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let file = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&file, options));
        let store = opening.await.expect("opening a store does not panic and is not cancelled")?;
        *store.0.control.lock().unwrap_or_else(PoisonError::into_inner) = control::listen(path, &store.0);
        Ok(store)
    }

    fn open_blocking(path: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let (log, revision, objects) = Log::open(path)?;
        let mut deadlines = Deadlines::default();
        for stored in &objects {
            deadlines.replace(stored.key(), None, Some(stored));
        }
        let age_ms = u64::try_from(options.history_age.as_millis()).unwrap_or(u64::MAX);
        let bounds = Bounds { changes: options.history_changes, bytes: options.history_bytes, age_ms };
        let shared = Arc::new(Shared::new(Index::new(objects, revision, bounds)));

        let queue = options.queue.max(1);
        let (requests, queued) = sync_channel(queue);
        let writer = Arc::new(Mutex::new(Some(Writer::new(log, Arc::clone(&shared), deadlines))));
        let desk = Arc::clone(&writer);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::run(&desk, &queued))
            .map_err(OpenError::Thread)?;
        tracing::debug!(path = %path.display(), revision = revision.0, "store open");
        Ok(Self(Arc::new(Inner {
            shared,
            requests: Mutex::new(Some(requests)),
            places: Arc::new(Semaphore::new(queue)),
            writer,
            thread: Mutex::new(Some(thread)),
            control: Mutex::new(None),
            options,
        })))
    }

    /// Ends all watches, finishes what is queued and lets the file go. Everything asked afterwards is refused with
    /// [`StoreError::Closed`]. Closing again does nothing.
    pub async fn close(&self) {
        self.0.shut();
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the store's writer thread had panicked");
        }
    }

    fn open_shared(&self) -> Result<&Arc<Shared>, StoreError> {
        if self.0.shared.is_closed() { Err(StoreError::Closed) } else { Ok(&self.0.shared) }
    }
}

impl Inner {
    fn shut(&self) {
        drop(self.control.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.shared.close();
        self.places.close();
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Carries a request out on the spot if nobody else writes or waits and the runtime has other threads for what else is to
    /// do; gives it back otherwise.
    fn write_here(&self, request: Request) -> Option<Request> {
        let alone = self.places.available_permits() + 1 == self.options.queue.max(1);
        if !alone || !Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
        {
            return Some(request);
        }
        let Ok(mut seat) = self.writer.try_lock() else { return Some(request) };
        let Some(writer) = seat.as_mut().filter(|writer| writer.lends_itself_to(&request.txn)) else {
            return Some(request);
        };
        tokio::task::block_in_place(|| writer.carry_out(vec![request]));
        None
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = requests.as_ref().ok_or(StoreError::Closed)?;
        requests.try_send(request).map_err(|_| writer_gone())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut();
    }
}

/// The writer ends by itself only in a panic.
#[derive(Debug, thiserror::Error)]
#[error("the writer thread has ended unexpectedly; restart the program")]
struct WriterGone;

fn writer_gone() -> StoreError {
    StoreError::Backend { doing: "waiting for the writer", source: Box::new(WriterGone) }
}

#[async_trait::async_trait]
impl Store for Embedded {
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let place = Arc::clone(&self.0.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        if let Some(request) = self.0.write_here(Request { txn, answer, place }) {
            self.0.send(request)?;
        }
        answered.await.unwrap_or_else(|_| Err(writer_gone()))
    }

    async fn range(&self, request: RangeRequest) -> Result<RangePage, StoreError> {
        let view = self.open_shared()?.index().view(&request)?;
        Ok(view.page(&request))
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.open_shared()?.index().get(key).map(|stored| (*stored.entry).clone()))
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        let pace = Pace { portion: self.0.options.watch_buffer, progress: self.0.options.progress_interval };
        feed::watch(&self.0.shared, prefix, from, pace)
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        Ok(self.open_shared()?.index().current())
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.open_shared()?.compact(revision)
    }
}

//! All watches of a store on one stream to etcd.
//!
//! One task owns the stream. Watches are asked for, ended and told about through a table that is shared with it. The task
//! always takes what etcd sends; a watch whose channel is full is ended at etcd and its channel closed, and its reader asks for
//! it anew once it has read what it had. The same happens to all when the stream breaks. So a slow reader holds up nobody and
//! costs no memory, and none misses anything: whoever asks anew says from where.
//!
//! `table` has the watches and knows what has to be said to whom; here is the stream.

use crate::client::Client;
use crate::convert::revision;
use crate::proto::{WatchAction, WatchProgressRequest, WatchRequest, WatchResponse};
use crate::table::{Item, Table, Wanted};
use futures::channel::mpsc as requests;
use futures::{SinkExt as _, StreamExt as _};
use http::uri::PathAndQuery;
use orrery_store::Revision;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// How often progress is asked for while somebody waits, and how soon a broken stream is tried again.
const INTERVAL: Duration = Duration::from_millis(100);
#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// There is something to send.
    wake: Notify,
    /// The highest revision that etcd has spoken of.
    seen: AtomicU64,
}

/// The handle. The task ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A watch at etcd. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Hub,
    id: i64,
}

impl Subscription {
    /// Asks for an [`Item::Progress`].
    pub(crate) fn request_progress(&self) {
        self.hub.shared.table().want_progress(self.id, self.hub.seen());
        self.hub.shared.wake.notify_one();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.shared.table().end(self.id);
        self.hub.shared.wake.notify_one();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, revision: Revision) {
        self.seen.fetch_max(revision.0, Ordering::Relaxed);
    }

    fn take(&self, answer: WatchResponse) -> Result<(), Status> {
        self.saw(revision(answer.header.map_or(0, |header| header.revision)));
        let created = answer.created;
        let (taken, waiting) = {
            let mut table = self.table();
            (table.take(answer), table.has_waiting())
        };
        // Progress of a new watch is asked for at once, all other at the usual times.
        if created || waiting {
            self.wake.notify_one();
        }
        taken.map_err(|reason| Status::unavailable(format!("etcd has ended a watch: {reason}")))
    }
}

impl Hub {
    pub(crate) fn new(client: Client) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(run(client, Arc::clone(&shared)));
        Self { shared, _task: Arc::new(Task(task.abort_handle())) }
    }

    /// The highest revision that etcd has spoken of to this store's watches.
    pub(crate) fn seen(&self) -> Revision {
        Revision(self.shared.seen.load(Ordering::Relaxed))
    }

    pub(crate) fn saw(&self, revision: Revision) {
        self.shared.saw(revision);
    }

    /// Asks for a watch. The channel is closed when it has to be asked for anew.
    pub(crate) fn subscribe(&self, wanted: Wanted, buffer: usize) -> (Subscription, mpsc::Receiver<Item>) {
        let (channel, items) = mpsc::channel(buffer);
        let id = self.shared.table().add(wanted, channel, self.seen());
        self.shared.wake.notify_one();
        (Subscription { hub: self.clone(), id }, items)
    }

    /// The oldest revision that is kept, known that `asked` is not. etcd says it only to a watch that begins too early.
    pub(crate) async fn compacted_after(&self, asked: Revision) -> Revision {
        let wanted = Wanted { key: vec![0], range_end: Vec::new(), start: 1 };
        let (_subscription, mut items) = self.subscribe(wanted, 4);
        let lost = async {
            loop {
                match items.recv().await {
                    Some(Item::Lost(compacted)) => return compacted,
                    Some(Item::Events(_) | Item::Progress(_)) => {}
                    None => return Revision(asked.0 + 1),
                }
            }
        };
        tokio::time::timeout(10 * INTERVAL, lost).await.unwrap_or(Revision(asked.0 + 1))
    }
}

/// Keeps the stream up as long as there is a store.
async fn run(client: Client, shared: Arc<Shared>) {
    loop {
        while shared.table().is_empty() {
            shared.wake.notified().await;
        }
        let error = match serve(&client, &shared).await {
            Ok(()) => Status::unavailable("etcd has ended the stream of watches"),
            Err(status) => status,
        };
        tracing::debug!(%error, "the stream of watches has broken; opening another");
        shared.table().start_over();
        tokio::time::sleep(INTERVAL).await;
    }
}

/// One stream, to its end.
async fn serve(client: &Client, shared: &Shared) -> Result<(), Status> {
    let (mut to, requests) = requests::channel(64);
    let mut request = Request::new(requests);
    // A member that has lost its majority ends the stream instead of being silent.
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    let mut grpc = client.grpc();
    grpc.ready().await.map_err(|error| Status::unavailable(format!("no connection: {error}")))?;
    let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
    let opening = grpc.streaming(request, PathAndQuery::from_static("/etcdserverpb.Watch/Watch"), codec);
    // etcd answers the call only with its first message, so the first requests go out meanwhile.
    let mut opening = std::pin::pin!(opening);
    let mut answers: Option<Streaming<WatchResponse>> = None;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            opened = &mut opening, if answers.is_none() => answers = Some(opened?.into_inner()),
            // Cancel-safe: a message that is not taken stays in the stream.
            answer = next(&mut answers) => match answer {
                Some(answer) => shared.take(answer?)?,
                None => return Ok(()),
            },
            // Cancel-safe: a notification that is not taken stays.
            () = shared.wake.notified() => send(shared, &mut to).await?,
            // Cancel-safe: a tick that is not taken comes again.
            _ = ticks.tick() => send(shared, &mut to).await?,
        }
    }
}

async fn next(answers: &mut Option<Streaming<WatchResponse>>) -> Option<Result<WatchResponse, Status>> {
    match answers {
        Some(answers) => answers.next().await,
        None => std::future::pending().await,
    }
}

/// Sends what waits, and asks for progress if somebody waits for that.
async fn send(shared: &Shared, to: &mut requests::Sender<WatchRequest>) -> Result<(), Status> {
    loop {
        let action = shared.table().next();
        let Some(action) = action else { break };
        feed(to, action).await?;
    }
    let ask = shared.table().ask(Instant::now());
    if ask { feed(to, WatchAction::Progress(WatchProgressRequest {})).await } else { Ok(()) }
}

async fn feed(to: &mut requests::Sender<WatchRequest>, action: WatchAction) -> Result<(), Status> {
    let sent = to.send(WatchRequest { action: Some(action) }).await;
    sent.map_err(|_| Status::unavailable("the stream of watches has ended"))
}

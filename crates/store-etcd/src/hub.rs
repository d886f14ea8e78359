//! All watches of a store on one stream to etcd.
//!
//! One task owns the stream. Watches are asked for, ended and told about through a table that is shared with it. The task
//! always takes what etcd sends; a watch whose channel is full is ended at etcd and its channel closed, and its reader asks for
//! it anew once it has read what it had. The same happens to all when the stream breaks. So a slow reader holds up nobody and
//! costs no memory, and none misses anything: whoever asks anew says from where.
//!
//! ```text
//! asked -- the task has sent it --> created -- events --> created
//! created -- channel full, or stream broken --> ended (its reader asks anew)
//! created -- etcd says that its start is compacted --> lost
//! ```
//!
//! Progress: etcd answers only when every watch of the stream has been given everything, and otherwise is silent for good. So
//! the task asks again every 100 ms as long as somebody waits for an answer. An answer to what was asked before a watch was
//! made does not speak of that watch, and etcd may send it after it has said that the watch is made; such an answer is passed
//! on to that watch only when it is true all the same.

use crate::client::Client;
use crate::convert::{number, revision};
use crate::proto::{
    Event, WatchAction, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use futures::channel::mpsc as requests;
use futures::{SinkExt as _, StreamExt as _};
use http::uri::PathAndQuery;
use orrery_store::Revision;
use std::collections::{HashMap, VecDeque};
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
/// After so long no answer to a request for progress comes any more: a connection that is silent for that long is ended.
const SILENCE: Duration = Duration::from_secs(10);

/// What a watch's channel carries.
#[derive(Debug)]
pub(crate) enum Item {
    /// Changes, with all of one revision together.
    Events(Vec<Event>),
    /// Everything up to here has been given.
    Progress(Revision),
    /// Where the watch was to begin is compacted; the oldest that can be watched from.
    Lost(Revision),
}

/// A watch to be made.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) key: Vec<u8>,
    pub(crate) range_end: Vec<u8>,
    pub(crate) start: i64,
}

#[derive(Debug)]
struct Watcher {
    wanted: Wanted,
    channel: mpsc::Sender<Item>,
    /// etcd's revision when it made the watch; none before that.
    created: Option<Revision>,
    /// How many answers about progress may still come that do not speak of this watch.
    stale: usize,
    /// Progress is wanted, up to this revision at least.
    wanted_progress: Option<Revision>,
}

#[derive(Debug, Default)]
struct Table {
    next_id: i64,
    watchers: HashMap<i64, Watcher>,
    /// What has to be sent to etcd, oldest first. Not more than a creation and an end for each watch.
    waiting: VecDeque<WatchAction>,
    /// When progress was asked for, as far as an answer may still come.
    asked: VecDeque<Instant>,
}

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
        let seen = self.hub.seen();
        if let Some(watcher) = self.hub.shared.table().watchers.get_mut(&self.id) {
            watcher.wanted_progress = Some(seen);
        }
        self.hub.shared.wake.notify_one();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.shared.table().end(self.id);
        self.hub.shared.wake.notify_one();
    }
}

impl Table {
    /// Takes a watch off the table and has it ended at etcd, if it is there.
    fn end(&mut self, id: i64) {
        if self.watchers.remove(&id).is_none() {
            return;
        }
        let asked = |action: &WatchAction| matches!(action, WatchAction::Create(create) if create.watch_id == id);
        match self.waiting.iter().position(asked) {
            Some(place) => drop(self.waiting.remove(place)),
            None => self.waiting.push_back(WatchAction::Cancel(WatchCancelRequest { watch_id: id })),
        }
    }
}

impl Table {
    /// Prepares for another stream: what etcd has not made yet is asked for again; the readers of all others have to say
    /// anew from where.
    fn start_over(&mut self) {
        self.asked.clear();
        self.watchers.retain(|_, watcher| watcher.created.is_none());
        self.waiting = self.watchers.iter().map(|(id, watcher)| create(*id, &watcher.wanted)).collect();
    }

    /// What is to be sent next.
    fn next(&mut self) -> Option<WatchAction> {
        let action = self.waiting.pop_front()?;
        if let WatchAction::Create(create) = &action
            && let Some(watcher) = self.watchers.get_mut(&create.watch_id)
        {
            watcher.stale = self.asked.len();
        }
        Some(action)
    }

    /// Whether to ask for progress now; if so, that is noted.
    fn ask(&mut self, now: Instant) -> bool {
        self.asked.retain(|at| now.duration_since(*at) < SILENCE);
        let wanted = |watcher: &Watcher| watcher.created.is_some() && watcher.wanted_progress.is_some();
        let ask = self.watchers.values().any(wanted);
        if ask {
            self.asked.push_back(now);
        }
        ask
    }

    /// etcd says that everything up to `at` has been given.
    fn progress(&mut self, at: Revision) {
        self.asked.pop_front();
        let mut full = Vec::new();
        for (id, watcher) in &mut self.watchers {
            let Some(created) = watcher.created else { continue };
            let stale = watcher.stale > 0;
            watcher.stale = watcher.stale.saturating_sub(1);
            // True all the same: said after the watch was made, or of what came before its beginning.
            let holds = !stale || at > created || number(at) <= watcher.wanted.start;
            let Some(least) = watcher.wanted_progress.filter(|_| holds) else { continue };
            if at >= least {
                watcher.wanted_progress = None;
            }
            if watcher.channel.try_send(Item::Progress(at)).is_err() {
                full.push(*id);
            }
        }
        full.into_iter().for_each(|id| self.end(id));
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, revision: Revision) {
        self.seen.fetch_max(revision.0, Ordering::Relaxed);
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
        let mut table = self.shared.table();
        table.next_id += 1;
        let id = table.next_id;
        table.waiting.push_back(create(id, &wanted));
        // Whoever begins wants to know when everything that was there has been given.
        let wanted_progress = Some(self.seen());
        table.watchers.insert(id, Watcher { wanted, channel, created: None, stale: 0, wanted_progress });
        drop(table);
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

fn create(id: i64, wanted: &Wanted) -> WatchAction {
    let Wanted { key, range_end, start } = wanted.clone();
    WatchAction::Create(WatchCreateRequest { key, range_end, start_revision: start, prev_kv: true, watch_id: id })
}

/// Keeps the stream up as long as there is a store.
async fn run(client: Client, shared: Arc<Shared>) {
    loop {
        while shared.table().watchers.is_empty() {
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
                Some(answer) => shared.take(answer?),
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

impl Shared {
    fn take(&self, answer: WatchResponse) {
        let at = revision(answer.header.map_or(0, |header| header.revision));
        self.saw(at);
        let mut table = self.table();
        if answer.watch_id < 0 {
            return table.progress(at);
        }
        let Some(watcher) = table.watchers.get_mut(&answer.watch_id) else { return };
        if answer.created {
            watcher.created = Some(at);
            self.wake.notify_one();
        }
        let item = if answer.canceled && answer.compact_revision > 0 {
            Some(Item::Lost(revision(answer.compact_revision)))
        } else if answer.events.is_empty() {
            None
        } else {
            Some(Item::Events(answer.events))
        };
        let full = item.is_some_and(|item| watcher.channel.try_send(item).is_err());
        if answer.canceled {
            tracing::debug!(reason = %answer.cancel_reason, "etcd has ended a watch");
        }
        if answer.canceled || full {
            // Also what etcd has ended by itself: until it is told, it counts a watch whose start is compacted as one that has
            // not been given everything, and is silent about the progress of all.
            table.end(answer.watch_id);
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(table: &mut Table, id: i64, start: i64) -> mpsc::Receiver<Item> {
        let (channel, items) = mpsc::channel(4);
        let wanted = Wanted { key: vec![0], range_end: vec![0], start };
        table.waiting.push_back(create(id, &wanted));
        let wanted_progress = Some(Revision(0));
        table.watchers.insert(id, Watcher { wanted, channel, created: None, stale: 0, wanted_progress });
        items
    }

    fn told(items: &mut mpsc::Receiver<Item>) -> Option<u64> {
        items.try_recv().ok().map(|item| match item {
            Item::Progress(at) => at.0,
            item => panic!("{item:?} was not to come"),
        })
    }

    #[test]
    fn an_answer_to_what_was_asked_before_a_watch_was_made_does_not_speak_of_it() {
        let mut table = Table::default();
        let mut first = watched(&mut table, 1, 5);
        while table.next().is_some() {}
        table.watchers.get_mut(&1).unwrap().created = Some(Revision(10));
        assert!(table.ask(Instant::now()));
        // Made after the question, from the past.
        let mut second = watched(&mut table, 2, 5);
        while table.next().is_some() {}
        table.watchers.get_mut(&2).unwrap().created = Some(Revision(10));
        table.progress(Revision(10));
        assert_eq!((told(&mut first), told(&mut second)), (Some(10), None));
        assert!(table.ask(Instant::now()));
        table.progress(Revision(10));
        assert_eq!((told(&mut first), told(&mut second)), (None, Some(10)));
        assert!(!table.ask(Instant::now()));
    }

    #[test]
    fn an_answer_is_passed_on_when_it_is_true_whatever_it_speaks_of() {
        for (start, at, expected) in [(10, 10, Some(10)), (5, 11, Some(11)), (5, 10, None)] {
            let mut table = Table::default();
            table.asked.push_back(Instant::now());
            let mut items = watched(&mut table, 1, start);
            while table.next().is_some() {}
            table.watchers.get_mut(&1).unwrap().created = Some(Revision(10));
            table.progress(Revision(at));
            assert_eq!(told(&mut items), expected, "from {start}, at {at}");
        }
    }

    #[test]
    fn progress_is_asked_for_until_it_is_far_enough() {
        let mut table = Table::default();
        let mut items = watched(&mut table, 1, 5);
        while table.next().is_some() {}
        assert!(!table.ask(Instant::now()), "it is not made yet");
        let watcher = table.watchers.get_mut(&1).unwrap();
        (watcher.created, watcher.wanted_progress) = (Some(Revision(5)), Some(Revision(7)));
        assert!(table.ask(Instant::now()));
        table.progress(Revision(6));
        assert_eq!(told(&mut items), Some(6));
        assert!(table.ask(Instant::now()));
        table.progress(Revision(7));
        assert_eq!(told(&mut items), Some(7));
        assert!(!table.ask(Instant::now()));
    }

    #[test]
    fn a_watch_that_is_not_read_is_ended_at_etcd_and_one_that_was_never_sent_is_not() {
        let mut table = Table::default();
        let _items = watched(&mut table, 1, 5);
        let _unsent = watched(&mut table, 2, 5);
        assert!(matches!(table.next(), Some(WatchAction::Create(create)) if create.watch_id == 1));
        table.end(1);
        table.end(2);
        table.end(3);
        assert!(matches!(table.next(), Some(WatchAction::Cancel(cancel)) if cancel.watch_id == 1));
        assert_eq!(table.next(), None);
    }

    #[test]
    fn after_a_broken_stream_only_what_etcd_has_not_made_is_asked_for_again() {
        let mut table = Table::default();
        let mut made = watched(&mut table, 1, 5);
        let mut asked = watched(&mut table, 2, 5);
        while table.next().is_some() {}
        table.watchers.get_mut(&1).unwrap().created = Some(Revision(5));
        table.start_over();
        assert!(matches!(made.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        assert!(matches!(asked.try_recv(), Err(mpsc::error::TryRecvError::Empty)));
        assert!(matches!(table.next(), Some(WatchAction::Create(create)) if create.watch_id == 2));
        assert_eq!(table.next(), None);
    }
}

//! One watch as its reader sees it: over interruptions, from where it was.
//!
//! ```text
//! reading -- its channel is closed (paused, or the stream broke) --> asked anew from its position --> reading
//! reading -- etcd says that the position is compacted, or leaves out what was there before a change --> lost (ended)
//! ```

use crate::convert::{Root, number};
use crate::hub::{Hub, Subscription};
use crate::proto;
use crate::table::{Item, Wanted};
use orrery_store::{Change, Revision, Watch, WatchEvent, WatchSource};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

/// How a watcher is fed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Batches that may wait.
    pub(crate) buffer: usize,
    /// How often progress is told.
    pub(crate) progress: Duration,
}

/// Starts a watch of everything after `from`.
pub(crate) fn watch(hub: Hub, root: Root, prefix: &str, from: Revision, pace: Pace) -> Watch {
    let (key, range_end) = root.range(prefix, None);
    let wanted = Wanted { key, range_end, start: start(from) };
    let (subscription, items) = hub.subscribe(wanted.clone(), pace.buffer);
    Watch::new(Feed {
        root,
        hub,
        wanted,
        source: Some((subscription, items)),
        given: VecDeque::new(),
        position: from,
        floor: from,
        doubtful: None,
        pace,
        tick: Box::pin(tokio::time::sleep(pace.progress)),
    })
}

/// Where a watch begins at etcd: at the position, whose changes are left out again. A watch from one further would be taken
/// by etcd when the position is just compacted, although changes may be missing then.
fn start(position: Revision) -> i64 {
    number(position).max(1)
}

struct Feed {
    root: Root,
    hub: Hub,
    wanted: Wanted,
    /// None once the watch has ended.
    source: Option<(Subscription, mpsc::Receiver<Item>)>,
    /// Taken out of the channel and not given yet.
    given: VecDeque<WatchEvent>,
    /// Everything up to here is in `given` or has been given.
    position: Revision,
    /// The position when etcd was last asked: changes up to there come again.
    floor: Revision,
    /// The position at which etcd has left something out before.
    doubtful: Option<Revision>,
    pace: Pace,
    tick: Pin<Box<Sleep>>,
}

impl WatchSource for Feed {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        loop {
            if let Some(event) = self.given.pop_front() {
                return Poll::Ready(Some(event));
            }
            let Some((subscription, items)) = &mut self.source else { return Poll::Ready(None) };
            match items.poll_recv(context) {
                Poll::Ready(Some(item)) => self.take(item),
                Poll::Ready(None) => self.ask_anew(),
                Poll::Pending if self.tick.as_mut().poll(context).is_ready() => {
                    subscription.request_progress();
                    self.tick.as_mut().reset(Instant::now() + self.pace.progress);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn request_progress(&mut self) {
        if let Some((subscription, _)) = &self.source {
            subscription.request_progress();
        }
    }
}

impl Feed {
    fn take(&mut self, item: Item) {
        match item {
            Item::Events(events) => self.events(events),
            Item::Progress(at) => {
                self.position = self.position.max(at);
                self.given.push_back(WatchEvent::Progress(self.position));
            }
            Item::Lost(compacted) => self.end(compacted),
        }
    }

    fn events(&mut self, events: Vec<proto::Event>) {
        // What is known already comes again when the watch begins at its position, and then without what was before.
        let floor = number(self.floor);
        for event in events.into_iter().filter(|event| event.kv.as_ref().is_none_or(|kv| kv.mod_revision > floor)) {
            match self.root.change(event) {
                Ok(Some(change)) => self.change(change),
                // History was forgotten while the event was on its way. When asked again, etcd says where it begins now.
                Ok(None) if self.doubtful != Some(self.position) => {
                    self.doubtful = Some(self.position);
                    return self.ask_anew();
                }
                Ok(None) => return self.end(Revision(self.position.0 + 1)),
                Err(error) => {
                    tracing::error!(%error, "a watch of etcd cannot be understood and ends");
                    return self.end(Revision(self.position.0 + 1));
                }
            }
        }
    }

    fn change(&mut self, change: Change) {
        self.position = change.revision;
        self.given.push_back(WatchEvent::Change(Arc::new(change)));
    }

    fn ask_anew(&mut self) {
        (self.floor, self.wanted.start) = (self.position, start(self.position));
        self.source = Some(self.hub.subscribe(self.wanted.clone(), self.pace.buffer));
    }

    fn end(&mut self, compacted: Revision) {
        self.source = None;
        self.given.push_back(WatchEvent::Lost { compacted });
    }
}

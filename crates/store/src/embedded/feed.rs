//! One watch: it takes changes out of its group whenever it is asked for the next event. There is no task and no queue
//! behind it.
//!
//! ```text
//! catching up -- group read to its end --> waiting -- a change under the prefix --> catching up
//! catching up -- a change not given yet was forgotten --> lost (ended)
//! any -- store closed --> ended
//! ```

use super::groups::{Group, Pulled};
use super::shared::Shared;
use crate::{Change, Revision, StoreError, Watch, WatchEvent, WatchSource};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How a watcher is fed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Changes that are taken at a time.
    pub(super) portion: usize,
    /// How often progress is told.
    pub(super) progress: Duration,
}

/// Starts a watch of everything after `from`. Needs a runtime for its timer.
pub(super) fn watch(shared: &Arc<Shared>, prefix: &str, from: Revision, pace: Pace) -> Result<Watch, StoreError> {
    let membership = shared.join(prefix, from)?.map(|group| Membership {
        shared: Arc::clone(shared),
        prefix: prefix.to_owned(),
        group,
        slot: None,
    });
    let (shared, tick) = (Arc::clone(shared), Box::pin(tokio::time::sleep(pace.progress)));
    let state = membership.map_or(State::Lost, State::Following);
    Ok(Watch::new(Feed { shared, state, taken: VecDeque::new(), position: from, pace, tick, tell_progress: true }))
}

/// A watcher's place in its group. Dropping it takes the watcher away.
struct Membership {
    shared: Arc<Shared>,
    prefix: String,
    group: Arc<Group>,
    slot: Option<usize>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.leave(&self.prefix, &self.group, self.slot);
    }
}

enum State {
    Following(Membership),
    Lost,
    Ended,
}

struct Feed {
    shared: Arc<Shared>,
    state: State,
    /// Taken out of the group and not given yet.
    taken: VecDeque<Arc<Change>>,
    /// Everything up to here is in `taken` or has been given.
    position: Revision,
    pace: Pace,
    tick: Pin<Box<Sleep>>,
    tell_progress: bool,
}

impl WatchSource for Feed {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        if let Some(change) = self.taken.pop_front() {
            return Poll::Ready(Some(WatchEvent::Change(change)));
        }
        let State::Following(membership) = &mut self.state else { return Poll::Ready(self.end()) };
        // Read before the group is: what the group does not have then, was not published either.
        let published = self.shared.published();
        match membership.group.pull(self.position, self.pace.portion, &mut membership.slot, context) {
            Pulled::Changes(mut changes) => {
                self.position = changes.back().map_or(self.position, |last| last.revision);
                let first = changes.pop_front();
                self.taken = changes;
                Poll::Ready(first.map(WatchEvent::Change))
            }
            Pulled::Nothing => {
                self.position = self.position.max(published);
                self.poll_progress(context)
            }
            Pulled::Missed => {
                self.state = State::Lost;
                Poll::Ready(self.end())
            }
            Pulled::Closed => {
                self.state = State::Ended;
                Poll::Ready(None)
            }
        }
    }

    fn request_progress(&mut self) {
        self.tell_progress = true;
    }
}

impl Feed {
    /// The last event of a lost watch, then nothing.
    fn end(&mut self) -> Option<WatchEvent> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Lost => Some(WatchEvent::Lost { compacted: self.shared.index().history().compacted() }),
            State::Following(_) | State::Ended => None,
        }
    }

    fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        if self.tick.as_mut().poll(context).is_ready() {
            self.tick.as_mut().reset(Instant::now() + self.pace.progress);
            self.tell_progress = true;
            // Polled anew for its waker.
            if self.tick.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
        if std::mem::take(&mut self.tell_progress) {
            return Poll::Ready(Some(WatchEvent::Progress(self.position)));
        }
        Poll::Pending
    }
}

//! The table of a stream's watches: who is to be told what, and what has to be sent to etcd. Pure: time comes in.
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

use crate::convert::{number, revision};
use crate::proto::{Event, WatchAction, WatchCancelRequest, WatchCreateRequest, WatchResponse};
use orrery_store::Revision;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

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
pub(crate) struct Table {
    next_id: i64,
    watchers: HashMap<i64, Watcher>,
    /// What has to be sent to etcd, oldest first. Not more than a creation and an end for each watch.
    waiting: VecDeque<WatchAction>,
    /// When progress was asked for, as far as an answer may still come.
    asked: VecDeque<Instant>,
}

impl Table {
    pub(crate) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Whether there is something to send.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Adds a watch, to be asked for. Gives its id.
    pub(crate) fn add(&mut self, wanted: Wanted, channel: mpsc::Sender<Item>, progress: Revision) -> i64 {
        self.next_id += 1;
        self.waiting.push_back(create(self.next_id, &wanted));
        // Whoever begins wants to know when everything that was there has been given.
        let watcher = Watcher { wanted, channel, created: None, stale: 0, wanted_progress: Some(progress) };
        self.watchers.insert(self.next_id, watcher);
        self.next_id
    }

    /// A watcher wants to know when it has everything up to `least`.
    pub(crate) fn want_progress(&mut self, id: i64, least: Revision) {
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.wanted_progress = Some(least);
        }
    }

    /// Takes a watch off the table and has it ended at etcd, if it is there.
    pub(crate) fn end(&mut self, id: i64) {
        if self.watchers.remove(&id).is_none() {
            return;
        }
        let asked = |action: &WatchAction| matches!(action, WatchAction::Create(create) if create.watch_id == id);
        match self.waiting.iter().position(asked) {
            Some(place) => drop(self.waiting.remove(place)),
            None => self.waiting.push_back(WatchAction::Cancel(WatchCancelRequest { watch_id: id })),
        }
    }

    /// Prepares for another stream: what etcd has not made yet is asked for again; the readers of all others have to say
    /// anew from where.
    pub(crate) fn start_over(&mut self) {
        self.asked.clear();
        self.watchers.retain(|_, watcher| watcher.created.is_none());
        self.waiting = self.watchers.iter().map(|(id, watcher)| create(*id, &watcher.wanted)).collect();
    }

    /// What is to be sent next.
    pub(crate) fn next(&mut self) -> Option<WatchAction> {
        let action = self.waiting.pop_front()?;
        if let WatchAction::Create(create) = &action
            && let Some(watcher) = self.watchers.get_mut(&create.watch_id)
        {
            watcher.stale = self.asked.len();
        }
        Some(action)
    }

    /// Whether to ask for progress now; if so, that is noted.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
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
        for watcher in self.watchers.values_mut() {
            let Some(created) = watcher.created else { continue };
            let stale = watcher.stale > 0;
            watcher.stale = watcher.stale.saturating_sub(1);
            // True all the same: said after the watch was made, or of what came before its beginning.
            let holds = !stale || at > created || number(at) <= watcher.wanted.start;
            let Some(least) = watcher.wanted_progress.filter(|_| holds) else { continue };
            // Who has no room for it is told the next time.
            if watcher.channel.try_send(Item::Progress(at)).is_ok() && at >= least {
                watcher.wanted_progress = None;
            }
        }
    }

    /// Takes what etcd says. Gives what makes the stream useless, such as that etcd has no leader.
    pub(crate) fn take(&mut self, answer: WatchResponse) -> Result<(), String> {
        let at = revision(answer.header.map_or(0, |header| header.revision));
        if answer.watch_id < 0 {
            // A creation that was refused has no id either.
            if answer.canceled {
                return Err(answer.cancel_reason);
            }
            self.progress(at);
            return Ok(());
        }
        // The rest of what was on its way to a watch that has ended.
        let Some(watcher) = self.watchers.get_mut(&answer.watch_id) else { return Ok(()) };
        if answer.created {
            watcher.created = Some(at);
        }
        let item = if answer.compact_revision > 0 {
            Some(Item::Lost(revision(answer.compact_revision)))
        } else if answer.canceled {
            return Err(answer.cancel_reason);
        } else if answer.events.is_empty() {
            None
        } else {
            Some(Item::Events(answer.events))
        };
        let full = item.is_some_and(|item| watcher.channel.try_send(item).is_err());
        if answer.canceled || full {
            // Also what etcd has ended by itself: until it is told, it counts a watch whose start is compacted as one that has
            // not been given everything, and is silent about the progress of all.
            self.end(answer.watch_id);
        }
        Ok(())
    }
}

fn create(id: i64, wanted: &Wanted) -> WatchAction {
    let Wanted { key, range_end, start } = wanted.clone();
    WatchAction::Create(WatchCreateRequest { key, range_end, start_revision: start, prev_kv: true, watch_id: id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(table: &mut Table, id: i64, start: i64) -> mpsc::Receiver<Item> {
        let (channel, items) = mpsc::channel(4);
        let wanted = Wanted { key: vec![0], range_end: vec![0], start };
        assert_eq!(table.add(wanted, channel, Revision(0)), id);
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

    #[test]
    fn what_etcd_ends_for_its_age_is_lost_and_ended_and_any_other_end_breaks_the_stream() {
        let mut table = Table::default();
        let mut lost = watched(&mut table, 1, 5);
        let _other = watched(&mut table, 2, 5);
        while table.next().is_some() {}
        let canceled = |watch_id, compact_revision| WatchResponse {
            watch_id,
            compact_revision,
            canceled: true,
            cancel_reason: "because".into(),
            ..WatchResponse::default()
        };
        table.take(canceled(1, 9)).unwrap();
        assert!(matches!(lost.try_recv(), Ok(Item::Lost(Revision(9)))));
        assert!(matches!(table.next(), Some(WatchAction::Cancel(cancel)) if cancel.watch_id == 1));
        table.take(canceled(1, 0)).unwrap();
        assert_eq!(table.take(canceled(2, 0)), Err("because".into()));
        assert_eq!(table.take(canceled(-1, 0)), Err("because".into()));
    }

    #[test]
    fn a_watch_whose_channel_is_full_is_ended() {
        let mut table = Table::default();
        let _items = watched(&mut table, 1, 5);
        while table.next().is_some() {}
        let events = || WatchResponse { watch_id: 1, events: vec![Event::default()], ..WatchResponse::default() };
        for _ in 0..4 {
            table.take(events()).unwrap();
        }
        assert_eq!(table.next(), None);
        table.take(events()).unwrap();
        assert!(matches!(table.next(), Some(WatchAction::Cancel(cancel)) if cancel.watch_id == 1));
    }
}

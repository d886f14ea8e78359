//! The last changes, bounded in number, bytes and age. Pure.

use crate::{Change, Entry, Revision};
use std::collections::VecDeque;
use std::sync::Arc;

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) changes: usize,
    pub(super) bytes: usize,
    pub(super) age_ms: u64,
}

/// A stretch of time: at its end, everything up to `revision` had been written.
#[derive(Debug, Clone, Copy)]
struct Mark {
    begin_ms: u64,
    end_ms: u64,
    revision: Revision,
}

/// The changes after `compacted`, oldest first.
#[derive(Debug)]
pub(super) struct History {
    changes: VecDeque<Arc<Change>>,
    marks: VecDeque<Mark>,
    bytes: usize,
    compacted: Revision,
    bounds: Bounds,
}

impl History {
    pub(super) fn new(compacted: Revision, bounds: Bounds) -> Self {
        Self { changes: VecDeque::new(), marks: VecDeque::new(), bytes: 0, compacted, bounds }
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// What the changes keep in memory. A value that is also held elsewhere is counted again, so that the bound on
    /// history is a bound on what history alone can keep alive.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes after a revision.
    pub(super) fn after(&self, revision: Revision) -> impl Iterator<Item = &Arc<Change>> {
        let start = self.changes.partition_point(|change| change.revision <= revision);
        self.changes.range(start..)
    }

    pub(super) fn push(&mut self, change: Arc<Change>, now_ms: u64) {
        let revision = change.revision;
        self.bytes += bytes(&change);
        self.changes.push_back(change);
        // A sixteenth of the age is exact enough.
        match self.marks.back_mut().filter(|mark| now_ms < mark.begin_ms + self.bounds.age_ms / 16) {
            Some(mark) => (mark.end_ms, mark.revision) = (now_ms, revision),
            None => self.marks.push_back(Mark { begin_ms: now_ms, end_ms: now_ms, revision }),
        }
    }

    /// Forgets what no longer fits the bounds in number and bytes. Gives what was forgotten.
    pub(super) fn trim(&mut self) -> Vec<Arc<Change>> {
        let (mut many, mut held) = (self.changes.len(), self.bytes);
        let over = self.changes.iter().take_while(|change| {
            let over = many > self.bounds.changes || held > self.bounds.bytes;
            many -= 1;
            held -= bytes(change);
            over
        });
        over.last().map(|last| last.revision).map_or_else(Vec::new, |revision| self.compact(revision))
    }

    /// Forgets everything up to `revision`. Gives what was forgotten.
    pub(super) fn compact(&mut self, revision: Revision) -> Vec<Arc<Change>> {
        let many = self.changes.partition_point(|change| change.revision <= revision);
        let forgotten: Vec<_> = self.changes.drain(..many).collect();
        self.bytes -= forgotten.iter().map(|change| bytes(change)).sum::<usize>();
        let passed = self.marks.partition_point(|mark| mark.revision <= revision);
        self.marks.drain(..passed);
        self.compacted = self.compacted.max(revision);
        forgotten
    }

    /// Forgets what is too old. Gives what was forgotten.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<Arc<Change>> {
        let old = |mark: &Mark| mark.end_ms.saturating_add(self.bounds.age_ms) <= now_ms;
        let newest = self.marks.iter().take_while(|mark| old(mark)).last().map(|mark| mark.revision);
        newest.map_or_else(Vec::new, |revision| self.compact(revision))
    }

    /// When there is something to forget for its age.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        self.marks.front().map(|mark| mark.end_ms.saturating_add(self.bounds.age_ms))
    }
}

fn bytes(change: &Change) -> usize {
    let entry = |entry: &Option<Arc<Entry>>| entry.as_ref().map_or(0, |entry| entry.key.len() + entry.value.len());
    change.key.len() + entry(&change.current) + entry(&change.previous) + size_of::<Change>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64) -> Arc<Change> {
        Arc::new(Change { key: "/a".into(), current: None, previous: None, revision: Revision(revision) })
    }

    #[test]
    fn history_keeps_its_bounds_in_changes_and_in_bytes() {
        let one = bytes(&change(1));
        let (changes, bytes, age_ms) = (99, usize::MAX, u64::MAX);
        for bounds in [Bounds { changes: 3, bytes, age_ms }, Bounds { changes, bytes: 3 * one, age_ms }] {
            let mut history = History::new(Revision(0), bounds);
            for revision in 1..=10 {
                history.push(change(revision), 0);
                history.trim();
            }
            assert_eq!((history.len(), history.bytes(), history.compacted()), (3, 3 * one, Revision(7)));
        }
    }

    #[test]
    fn changes_of_one_revision_are_forgotten_together() {
        let bounds = Bounds { changes: 3, bytes: usize::MAX, age_ms: u64::MAX };
        let mut history = History::new(Revision(0), bounds);
        for revision in [1, 1, 1, 2] {
            history.push(change(revision), 0);
        }
        assert_eq!((history.trim().len(), history.len(), history.compacted()), (3, 1, Revision(1)));
    }

    #[test]
    fn nothing_is_forgotten_for_its_age_before_its_time_and_everything_a_little_later() {
        let bounds = Bounds { changes: 999, bytes: usize::MAX, age_ms: 1600 };
        let mut history = History::new(Revision(0), bounds);
        for revision in 1..=100 {
            history.push(change(revision), revision * 10);
        }
        for now in (0..3000).step_by(7) {
            history.expire(now);
            let youngest_forgotten = history.compacted().0 * 10;
            assert!(youngest_forgotten == 0 || youngest_forgotten + 1600 <= now, "at {now}");
            assert!(history.changes.front().is_none_or(|oldest| oldest.revision.0 * 10 + 1600 + 100 > now), "at {now}");
            assert_eq!(history.next_expiry_ms().is_none(), history.len() == 0);
        }
        assert_eq!((history.len(), history.compacted()), (0, Revision(100)));
    }
}

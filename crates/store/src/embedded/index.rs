//! The in-memory multi-version index: the present objects, the versions that older readers may still ask for, and the
//! last changes for watchers. Pure: no locks, no I/O.

use crate::{Change, Entry, RangePage, RangeRequest, Revision, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// A value with its revisions; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: Bytes,
    pub(super) create_revision: Revision,
    pub(super) mod_revision: Revision,
}

impl Stored {
    pub(super) fn entry(&self, key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
        }
    }
}

/// One change, as history keeps it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) key: Arc<str>,
    pub(super) revision: Revision,
    pub(super) current: Option<Stored>,
    pub(super) previous: Option<Stored>,
}

impl Record {
    fn change(&self) -> Change {
        Change {
            key: self.key.to_string(),
            current: self.current.as_ref().map(|stored| stored.entry(&self.key)),
            previous: self.previous.as_ref().map(|stored| stored.entry(&self.key)),
            revision: self.revision,
        }
    }

    /// What the record holds in memory, in bytes. A value that is also held elsewhere is counted again, so that the
    /// bound on history is a bound on what history alone can keep alive.
    fn bytes(&self) -> usize {
        let value = |stored: &Option<Stored>| stored.as_ref().map_or(0, |stored| stored.value.len());
        self.key.len() + value(&self.current) + value(&self.previous) + size_of::<Record>()
    }
}

/// A state of one key, from `revision` until the next version; none when it is deleted.
#[derive(Debug)]
struct Version {
    revision: Revision,
    stored: Option<Stored>,
}

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) changes: usize,
    pub(super) bytes: usize,
}

/// A piece of history for a watcher.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) changes: Vec<Change>,
    /// Everything up to here is in `changes` or has been given before.
    pub(super) up_to: Revision,
    /// Whether that is everything there is.
    pub(super) caught_up: bool,
}

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    /// Versions of a key in ascending order. No list is empty, and a tombstone stands only where an older revision
    /// can still be read.
    keys: BTreeMap<Arc<str>, Vec<Version>>,
    history: VecDeque<Record>,
    history_bytes: usize,
    bounds: Bounds,
    current: Revision,
    compacted: Revision,
}

impl Index {
    /// An index over the objects of the log. What was before `current` is not known and counts as compacted.
    pub(super) fn new(objects: impl Iterator<Item = (Arc<str>, Stored)>, current: Revision, bounds: Bounds) -> Self {
        let keys = objects
            .map(|(key, stored)| (key, vec![Version { revision: stored.mod_revision, stored: Some(stored) }]))
            .collect();
        Self { keys, history: VecDeque::new(), history_bytes: 0, bounds, current, compacted: current }
    }

    pub(super) fn current(&self) -> Revision {
        self.current
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn get(&self, key: &str) -> Option<&Stored> {
        self.keys.get(key)?.last()?.stored.as_ref()
    }

    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangePage, StoreError> {
        let at = request.at.unwrap_or(self.current);
        if at > self.current {
            return Err(StoreError::Future { asked: at, current: self.current });
        }
        if at < self.compacted {
            return Err(StoreError::Compacted { asked: at, compacted: self.compacted });
        }
        let prefix = request.prefix.as_str();
        let from = match request.after.as_deref() {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let mut visible = self
            .keys
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| state_at(versions, at).map(|stored| (key, stored)));
        let limit = request.limit.unwrap_or(usize::MAX);
        let entries = visible.by_ref().take(limit).map(|(key, stored)| stored.entry(key)).collect();
        Ok(RangePage { entries, revision: at, remaining: visible.count() })
    }

    /// Takes in durable changes, in order of their revisions, and forgets what no longer fits the bounds.
    pub(super) fn apply(&mut self, records: Vec<Record>) {
        for record in records {
            debug_assert!(record.revision >= self.current, "changes come in order");
            self.current = record.revision;
            let version = Version { revision: record.revision, stored: record.current.clone() };
            self.keys.entry(Arc::clone(&record.key)).or_default().push(version);
            self.history_bytes += record.bytes();
            self.history.push_back(record);
        }
        while self.history.len() > self.bounds.changes || self.history_bytes > self.bounds.bytes {
            let Some(oldest) = self.history.front() else { break };
            self.compact(oldest.revision);
        }
    }

    /// Forgets what was before `revision`, which must not be in the future.
    pub(super) fn compact(&mut self, revision: Revision) {
        debug_assert!(revision <= self.current, "only the past is compacted");
        while self.history.front().is_some_and(|record| record.revision <= revision) {
            let record = self.history.pop_front().expect("there is a front");
            self.history_bytes -= record.bytes();
            self.prune(&record.key, revision);
        }
        self.compacted = self.compacted.max(revision);
    }

    /// Drops the versions of a key that nobody may ask for any more. Only keys in history have more than one.
    fn prune(&mut self, key: &str, compacted: Revision) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        let readable = versions.partition_point(|version| version.revision <= compacted).saturating_sub(1);
        versions.drain(..readable);
        if versions.first().is_some_and(|first| first.revision <= compacted && first.stored.is_none()) {
            versions.remove(0);
        }
        if versions.is_empty() {
            self.keys.remove(key);
        }
    }

    /// Changes under `prefix` after `after`, which must not be compacted: at most `limit`, except that the changes of
    /// one revision stay together.
    pub(super) fn replay(&self, prefix: &str, after: Revision, limit: usize) -> Replay {
        let start = self.history.partition_point(|record| record.revision <= after);
        let mut changes: Vec<Change> = Vec::new();
        let mut up_to = after;
        for record in self.history.range(start..) {
            if changes.len() >= limit && record.revision > up_to {
                return Replay { changes, up_to, caught_up: false };
            }
            up_to = record.revision;
            if record.key.starts_with(prefix) {
                changes.push(record.change());
            }
        }
        Replay { changes, up_to: self.current, caught_up: true }
    }
}

fn state_at(versions: &[Version], at: Revision) -> Option<&Stored> {
    let newer = versions.partition_point(|version| version.revision <= at);
    versions[..newer].last()?.stored.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, revision: u64, previous: Option<Stored>) -> Record {
        let revision = Revision(revision);
        let create_revision = previous.as_ref().map_or(revision, |stored| stored.create_revision);
        let stored = Stored { value: Bytes::from_static(b"v"), create_revision, mod_revision: revision };
        Record { key: key.into(), revision, current: Some(stored), previous }
    }

    fn delete(key: &str, revision: u64, previous: Option<Stored>) -> Record {
        Record { key: key.into(), revision: Revision(revision), current: None, previous }
    }

    fn index(bounds: Bounds) -> Index {
        Index::new(std::iter::empty(), Revision(0), bounds)
    }

    #[test]
    fn a_deleted_key_leaves_nothing_behind_once_compacted() {
        let mut index = index(Bounds { changes: 100, bytes: usize::MAX });
        index.apply(vec![put("/a", 1, None), delete("/a", 2, None), put("/b", 3, None)]);
        let at = |index: &Index, at| {
            let page = index.range(&RangeRequest { at: Some(Revision(at)), ..RangeRequest::default() });
            page.map(|page| page.entries.len())
        };
        assert_eq!(at(&index, 1).ok(), Some(1));
        index.compact(Revision(2));
        assert!(matches!(at(&index, 1), Err(StoreError::Compacted { .. })));
        assert_eq!(at(&index, 2).ok(), Some(0));
        assert_eq!(index.keys.len(), 1);
    }

    #[test]
    fn history_keeps_its_bounds_in_changes_and_in_bytes() {
        let one = put("/a", 1, None).bytes();
        for bounds in [Bounds { changes: 3, bytes: usize::MAX }, Bounds { changes: 99, bytes: 3 * one }] {
            let mut index = index(bounds);
            for revision in 1..=10 {
                index.apply(vec![put("/a", revision, None)]);
            }
            assert_eq!((index.history.len(), index.compacted, index.keys["/a"].len()), (3, Revision(7), 4));
        }
    }

    #[test]
    fn changes_of_one_revision_are_replayed_together() {
        let mut index = index(Bounds { changes: 100, bytes: usize::MAX });
        index.apply(vec![put("/a", 1, None), put("/b", 1, None), put("/c", 1, None), put("/a", 2, None)]);
        let first = index.replay("/", Revision(0), 2);
        assert_eq!((first.changes.len(), first.up_to, first.caught_up), (3, Revision(1), false));
        let second = index.replay("/", first.up_to, 2);
        assert_eq!((second.changes.len(), second.up_to, second.caught_up), (1, Revision(2), true));
    }
}

//! The in-memory index: the present objects, and the last changes for watchers and for reads in the past. Pure: no locks,
//! no I/O; time comes in as a number.
//!
//! Only the present is kept as a map ([`Tree`]). A read in the past takes the present and undoes the changes since, which
//! history has. So nothing but history has to be trimmed, and a key that is gone leaves nothing behind.

use super::history::{Bounds, History};
use super::stored::Stored;
use super::tree::Tree;
use crate::{Change, Entry, RangePage, RangeRequest, Revision, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One change: as watchers see it, and what the key holds from then on.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) change: Arc<Change>,
    pub(super) stored: Option<Stored>,
}

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    tree: Tree,
    history: History,
    current: Revision,
}

impl Index {
    /// An index over the objects of the log, in order of keys. What was before `current` is not known and counts as
    /// compacted.
    pub(super) fn new(objects: Vec<Stored>, current: Revision, bounds: Bounds) -> Self {
        Self { tree: Tree::from_sorted(objects), history: History::new(current, bounds), current }
    }

    pub(super) fn current(&self) -> Revision {
        self.current
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn get(&self, key: &str) -> Option<&Stored> {
        self.tree.get(key)
    }

    /// The present objects, as they stay for the caller.
    pub(super) fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Takes what a request needs, quickly; the page is then read without the index.
    pub(super) fn view(&self, request: &RangeRequest) -> Result<View, StoreError> {
        let at = request.at.unwrap_or(self.current);
        if at > self.current {
            return Err(StoreError::Future { asked: at, current: self.current });
        }
        if at < self.history.compacted() {
            return Err(StoreError::Compacted { asked: at, compacted: self.history.compacted() });
        }
        let changes = self.history.after(at).filter(|change| change.key.starts_with(&request.prefix));
        Ok(View { tree: self.tree.clone(), since: changes.cloned().collect(), at })
    }

    /// Takes in durable changes, in order of their revisions, and forgets what no longer fits the bounds. Gives what was
    /// forgotten.
    pub(super) fn apply(&mut self, records: Vec<Record>, now_ms: u64) -> Vec<Arc<Change>> {
        for Record { change, stored } in records {
            debug_assert!(change.revision >= self.current, "changes come in order");
            self.current = change.revision;
            match stored {
                Some(stored) => self.tree.insert(stored),
                None => self.tree.remove(&change.key),
            };
            self.history.push(change, now_ms);
        }
        let mut forgotten = self.history.trim();
        forgotten.append(&mut self.history.expire(now_ms));
        forgotten
    }

    /// Forgets what was before `revision`, which must not be in the future. Gives what was forgotten.
    pub(super) fn compact(&mut self, revision: Revision) -> Vec<Arc<Change>> {
        debug_assert!(revision <= self.current, "only the past is compacted");
        self.history.compact(revision)
    }

    /// Forgets changes that are older than the bounds allow. Gives what was forgotten.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<Arc<Change>> {
        self.history.expire(now_ms)
    }
}

/// What is needed to read at one revision.
#[derive(Debug)]
pub(super) struct View {
    tree: Tree,
    /// The changes after `at`, in order.
    since: Vec<Arc<Change>>,
    at: Revision,
}

impl View {
    /// The page that the request asks for.
    pub(super) fn page(&self, request: &RangeRequest) -> RangePage {
        let prefix = request.prefix.as_bytes();
        let from = match request.after.as_deref() {
            // The least key that is greater.
            Some(after) if after.as_bytes() >= prefix => [after.as_bytes(), b"\0"].concat(),
            Some(_) | None => prefix.to_vec(),
        };
        let end = end_of(prefix);
        let mut total = self.tree.rank(end.as_deref()).saturating_sub(self.tree.rank(Some(&from)));
        // What was at `at` in the place of what is now; the first change since then knows it.
        let mut then: BTreeMap<&str, Option<&Arc<Entry>>> = BTreeMap::new();
        for change in self.since.iter().filter(|change| change.key.as_bytes() >= &*from) {
            then.entry(&change.key).or_insert_with(|| {
                total += usize::from(change.previous.is_some());
                total -= usize::from(self.tree.get(&change.key).is_some());
                change.previous.as_ref()
            });
        }
        let taken = request.limit.unwrap_or(total).min(total);
        let now = self.tree.iter_from(&from).take_while(|stored| stored.key().as_bytes().starts_with(prefix));
        let entries: Vec<Arc<Entry>> = if then.is_empty() {
            now.take(taken).map(|stored| Arc::clone(&stored.entry)).collect()
        } else {
            merge(now, then, taken)
        };
        RangePage { remaining: total - entries.len(), entries, revision: self.at }
    }
}

/// The first entries of what is now, with what was then in its place.
fn merge<'a>(
    now: impl Iterator<Item = &'a Stored>,
    then: BTreeMap<&str, Option<&Arc<Entry>>>,
    limit: usize,
) -> Vec<Arc<Entry>> {
    let mut entries = Vec::with_capacity(limit);
    let mut now = now.peekable();
    let mut then = then.into_iter().peekable();
    while entries.len() < limit {
        let unchanged = match (now.peek(), then.peek()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(stored), Some((key, _))) => stored.key() < *key,
        };
        if unchanged {
            entries.extend(now.next().map(|stored| Arc::clone(&stored.entry)));
        } else if let Some((key, was)) = then.next() {
            now.next_if(|stored| stored.key() == key);
            entries.extend(was.cloned());
        }
    }
    entries
}

/// The least bytes that are greater than everything that begins with `prefix`; none when there are none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn put(key: &str, revision: u64, previous: Option<&Stored>) -> Record {
        let revision = Revision(revision);
        let create_revision = previous.map_or(revision, |stored| stored.entry.create_revision);
        let entry = Entry { key: key.into(), value: Bytes::new(), create_revision, mod_revision: revision };
        let previous = previous.map(|stored| Arc::clone(&stored.entry));
        let stored = Stored::new(entry, None, 1);
        let change = Change { key: key.into(), current: Some(Arc::clone(&stored.entry)), previous, revision };
        Record { change: Arc::new(change), stored: Some(stored) }
    }

    fn delete(previous: &Stored, revision: u64) -> Record {
        let key = previous.key().to_owned();
        let previous = Some(Arc::clone(&previous.entry));
        let change = Change { key, current: None, previous, revision: Revision(revision) };
        Record { change: Arc::new(change), stored: None }
    }

    #[test]
    fn the_past_is_read_by_undoing_what_happened_since() {
        let mut index = Index::new(Vec::new(), Revision(0), Bounds { changes: 100, bytes: usize::MAX, age_ms: 1 });
        let first = put("/a", 1, None);
        let gone = delete(first.stored.as_ref().unwrap(), 2);
        index.apply(vec![first, gone, put("/b", 3, None), put("/a", 4, None)], 0);
        let keys = |index: &Index, at, limit| {
            let request = RangeRequest { at: Some(Revision(at)), limit, ..RangeRequest::default() };
            let page = index.view(&request).map(|view| view.page(&request));
            page.map(|page| {
                let keys = page.entries.iter().map(|entry| format!("{}@{}", entry.key, entry.mod_revision.0));
                (keys.collect::<Vec<_>>().join(" "), page.remaining)
            })
        };
        for (at, limit, expected) in [
            (0, None, ("", 0)),
            (1, None, ("/a@1", 0)),
            (2, None, ("", 0)),
            (3, None, ("/b@3", 0)),
            (4, None, ("/a@4 /b@3", 0)),
            (4, Some(1), ("/a@4", 1)),
            (3, Some(0), ("", 1)),
        ] {
            let (text, remaining) = keys(&index, at, limit).unwrap();
            assert_eq!((text.as_str(), remaining), expected, "at {at}, limit {limit:?}");
        }
        index.compact(Revision(2));
        assert!(matches!(keys(&index, 1, None), Err(StoreError::Compacted { .. })));
        assert_eq!(keys(&index, 2, None).unwrap(), (String::new(), 0));
        assert!(matches!(keys(&index, 5, None), Err(StoreError::Future { .. })));
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_does_not_begin_with_it() {
        assert_eq!(end_of(b"/a/"), Some(b"/a0".to_vec()));
        assert_eq!(end_of(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!((end_of(b""), end_of(b"\xff")), (None, None));
    }
}

//! What a batch of transactions would write, worked out before anything is written. Pure: time comes in as a number.

use super::index::{Index, Record};
use super::stored::Stored;
use crate::{Change, Compare, Entry, Op, Revision, StoreError, Txn, TxnOutcome};
use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// A batch in the making. Transactions see the writes of those before them, although nothing is durable yet.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    index: &'a Index,
    now_ms: u64,
    plan: Plan,
}

/// What has to be written, and told to watchers once it is durable.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) finals: BTreeMap<String, Final>,
    pub(super) records: Vec<Record>,
    pub(super) revision: Revision,
    /// The number of the next row in the file.
    pub(super) next_id: i64,
}

/// What the batch makes of a key.
#[derive(Debug)]
pub(super) struct Final {
    /// What it holds on disk now.
    pub(super) before: Option<Stored>,
    /// What it holds after the batch; none when it is deleted.
    pub(super) after: Option<Stored>,
}

/// A transaction that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("the transaction writes the key {0:?} twice")]
struct WrittenTwice(String);

impl<'a> Batch<'a> {
    pub(super) fn new(index: &'a Index, now_ms: u64, next_id: i64) -> Self {
        let plan = Plan { finals: BTreeMap::new(), records: Vec::new(), revision: index.current(), next_id };
        Self { index, now_ms, plan }
    }

    pub(super) fn finish(self) -> Plan {
        self.plan
    }

    fn get(&self, key: &str) -> Option<&Stored> {
        match self.plan.finals.get(key) {
            Some(end) => end.after.as_ref(),
            None => self.index.get(key),
        }
    }

    /// Adds a transaction. The outcome holds once the plan is durable.
    pub(super) fn txn(&mut self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        if let Some(twice) = written_twice(&txn.ops) {
            let source = Box::new(WrittenTwice(twice.to_owned()));
            return Err(StoreError::Backend { doing: "checking a transaction", source });
        }
        if !txn.compare.iter().all(|compare| self.holds(compare)) {
            let present = |compare: &Compare| -> Option<Entry> {
                let (Compare::Absent(key) | Compare::ModRevision(key, _)) = compare;
                self.get(key).map(|stored| (*stored.entry).clone())
            };
            return Ok(TxnOutcome::Conflict(txn.compare.iter().map(present).collect()));
        }
        let revision = Revision(self.plan.revision.0 + 1);
        for op in txn.ops {
            self.op(op, revision);
        }
        Ok(TxnOutcome::Committed(self.plan.revision))
    }

    /// Adds the deletion of an expired key.
    pub(super) fn expire(&mut self, key: &str) {
        self.op(Op::Delete { key: key.to_owned() }, Revision(self.plan.revision.0 + 1));
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Absent(key) => self.get(key).is_none(),
            Compare::ModRevision(key, at) => self.get(key).is_some_and(|stored| stored.entry.mod_revision == *at),
        }
    }

    /// Adds a write. The batch moves on to `revision` only if there is something to write.
    fn op(&mut self, op: Op, revision: Revision) {
        let before = self.get(key_of(&op)).cloned();
        let previous = before.as_ref().map(|stored| Arc::clone(&stored.entry));
        let (key, stored) = match op {
            Op::Put { key, value, ttl } => {
                let create_revision = previous.as_ref().map_or(revision, |entry| entry.create_revision);
                let entry = Entry { key: key.clone(), value, create_revision, mod_revision: revision };
                let id = self.id(&key, before.as_ref());
                (key, Some(Stored::new(entry, ttl.map(|ttl| self.deadline(ttl)), id)))
            }
            Op::Delete { .. } if previous.is_none() => return,
            Op::Delete { key } => (key, None),
        };
        self.plan.revision = revision;
        let current = stored.as_ref().map(|stored| Arc::clone(&stored.entry));
        let change = Arc::new(Change { key: key.clone(), current, previous, revision });
        self.plan.records.push(Record { change, stored: stored.clone() });
        match self.plan.finals.entry(key) {
            MapEntry::Occupied(mut end) => end.get_mut().after = stored,
            MapEntry::Vacant(end) => drop(end.insert(Final { before, after: stored })),
        }
    }

    /// The row that a key has in the file, or a new one. A key that was deleted in this batch still has its row there.
    fn id(&mut self, key: &str, before: Option<&Stored>) -> i64 {
        let there = || self.plan.finals.get(key).and_then(|end| end.before.as_ref());
        if let Some(stored) = before.or_else(there) {
            return stored.id;
        }
        self.plan.next_id += 1;
        self.plan.next_id - 1
    }

    /// A deadline beyond SQLite's integers is as good as none, and becomes the last that there is.
    fn deadline(&self, ttl: Duration) -> u64 {
        let at = self.now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        at.min(i64::MAX.cast_unsigned())
    }
}

fn key_of(op: &Op) -> &str {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    }
}

fn written_twice(ops: &[Op]) -> Option<&str> {
    let mut written = HashSet::with_capacity(if ops.len() > 1 { ops.len() } else { 0 });
    ops.iter().map(key_of).find(|key| ops.len() > 1 && !written.insert(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::history::Bounds;
    use bytes::Bytes;

    fn put(key: &str) -> Txn {
        let op = Op::Put { key: key.to_owned(), value: Bytes::new(), ttl: None };
        Txn { compare: vec![Compare::Absent(key.to_owned())], ops: vec![op] }
    }

    #[test]
    fn a_key_keeps_its_row_and_a_new_one_gets_the_next() {
        let entry =
            Entry { key: "/a".into(), value: Bytes::new(), create_revision: Revision(1), mod_revision: Revision(1) };
        let bounds = Bounds { changes: 9, bytes: usize::MAX, age_ms: u64::MAX };
        let index = Index::new(vec![Stored::new(entry, None, 7)], Revision(1), bounds);
        let mut batch = Batch::new(&index, 0, 9);
        batch.expire("/a");
        for key in ["/a", "/b", "/c"] {
            assert!(matches!(batch.txn(put(key)), Ok(TxnOutcome::Committed(_))));
        }
        batch.expire("/b");
        let plan = batch.finish();
        let rows = |end: &Final| [&end.before, &end.after].map(|stored| stored.as_ref().map(|stored| stored.id));
        let rows: Vec<_> = plan.finals.values().map(rows).collect();
        assert_eq!(rows, [[Some(7), Some(7)], [None, None], [None, Some(10)]]);
        assert_eq!((plan.revision, plan.next_id), (Revision(6), 11));
    }
}

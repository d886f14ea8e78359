//! What a batch of transactions would write, worked out before anything is written. Pure: time comes in as a number.

use super::index::{Index, Record, Stored};
use crate::{Compare, Entry, Op, Revision, StoreError, Txn, TxnOutcome};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The state that a key has after the batch.
#[derive(Debug, Clone)]
pub(super) struct Final {
    /// None when the key is deleted.
    pub(super) stored: Option<Stored>,
    /// When it expires, in milliseconds since 1970.
    pub(super) expires_ms: Option<u64>,
}

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
    pub(super) finals: BTreeMap<Arc<str>, Final>,
    pub(super) records: Vec<Record>,
    pub(super) revision: Revision,
}

/// A transaction that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("the transaction writes the key {0:?} twice")]
struct WrittenTwice(String);

impl<'a> Batch<'a> {
    pub(super) fn new(index: &'a Index, now_ms: u64) -> Self {
        let plan = Plan { finals: BTreeMap::new(), records: Vec::new(), revision: index.current() };
        Self { index, now_ms, plan }
    }

    pub(super) fn finish(self) -> Plan {
        self.plan
    }

    fn get(&self, key: &str) -> Option<&Stored> {
        match self.plan.finals.get(key) {
            Some(end) => end.stored.as_ref(),
            None => self.index.get(key),
        }
    }

    /// Adds a transaction. The outcome holds once the plan is durable.
    pub(super) fn txn(&mut self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let mut written = HashSet::new();
        if let Some(twice) = txn.ops.iter().map(key_of).find(|key| !written.insert(*key)) {
            let source = Box::new(WrittenTwice(twice.to_owned()));
            return Err(StoreError::Backend { doing: "checking a transaction", source });
        }
        if !txn.compare.iter().all(|compare| self.holds(compare)) {
            let present = |compare: &Compare| -> Option<Entry> {
                let (Compare::Absent(key) | Compare::ModRevision(key, _)) = compare;
                self.get(key).map(|stored| stored.entry(key))
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
            Compare::ModRevision(key, revision) => self.get(key).is_some_and(|stored| stored.mod_revision == *revision),
        }
    }

    /// Adds a write. The batch moves on to `revision` only if there is something to write.
    fn op(&mut self, op: Op, revision: Revision) {
        let previous = self.get(key_of(&op)).cloned();
        let (key, stored, expires_ms) = match op {
            Op::Put { key, value, ttl } => {
                let create_revision = previous.as_ref().map_or(revision, |stored| stored.create_revision);
                let stored = Stored { value, create_revision, mod_revision: revision };
                (key, Some(stored), ttl.map(|ttl| self.deadline(ttl)))
            }
            Op::Delete { .. } if previous.is_none() => return,
            Op::Delete { key } => (key, None, None),
        };
        self.plan.revision = revision;
        let key: Arc<str> = key.into();
        self.plan.records.push(Record { key: Arc::clone(&key), revision, current: stored.clone(), previous });
        self.plan.finals.insert(key, Final { stored, expires_ms });
    }

    fn deadline(&self, ttl: Duration) -> u64 {
        self.now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }
}

fn key_of(op: &Op) -> &str {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    }
}

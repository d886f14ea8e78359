//! Random operations against a simple oracle.

use super::{next_change, quiet_until};
use bytes::Bytes;
use orrery_store::{
    Change, Compare, Entry, Op, RangePage, RangeRequest, Revision, Store, StoreError, Txn, TxnOutcome, Watch,
    WatchEvent,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// One random step. Revisions are given as steps back from the current one.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Txn(Vec<Condition>, Vec<Write>),
    Range { prefix: String, after: Option<String>, limit: Option<usize>, back: Option<u64> },
    Watch { prefix: String, back: u64 },
    Compact { back: u64 },
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Absent(String),
    /// The key's present revision, or one that is off by so much.
    Revision(String, u64),
}

#[derive(Debug, Clone)]
pub(crate) enum Write {
    Put(String, u8),
    Delete(String),
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["/", "/a", "/a/x", "/a/y", "/ab", "/b", "/b/x", "/b/é"]).prop_map(str::to_owned)
}

fn prefix() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "/", "/a", "/a/", "/b/", "/none"]).prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    let condition = prop_oneof![
        key().prop_map(Condition::Absent),
        (key(), prop_oneof![4 => Just(0_u64), 1 => 1..3_u64]).prop_map(|(key, off)| Condition::Revision(key, off)),
    ];
    let write = prop_oneof![
        3 => (key(), any::<u8>()).prop_map(|(key, value)| Write::Put(key, value)),
        1 => key().prop_map(Write::Delete),
    ];
    let txn = (prop::collection::vec(condition, 0..4), prop::collection::vec(write, 0..5));
    let range = (prefix(), prop::option::of(key()), prop::option::of(0..4_usize), prop::option::of(0..12_u64));
    prop_oneof![
        8 => txn.prop_map(|(conditions, writes)| Step::Txn(conditions, writes)),
        4 => range.prop_map(|(prefix, after, limit, back)| Step::Range { prefix, after, limit, back }),
        2 => (prefix(), 0..8_u64).prop_map(|(prefix, back)| Step::Watch { prefix, back }),
        1 => (0..10_u64).prop_map(|back| Step::Compact { back }),
    ]
}

/// Random steps for [`follows_the_oracle`].
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

/// The oracle: the whole store at each revision, and all changes.
struct Oracle {
    /// The revision of the first state.
    base: u64,
    states: Vec<BTreeMap<String, Entry>>,
    changes: Vec<Change>,
    compacted: u64,
}

impl Oracle {
    fn current(&self) -> u64 {
        self.base + self.states.len() as u64 - 1
    }

    /// So many steps back, but not to before the beginning.
    fn back(&self, steps: u64) -> Revision {
        Revision(self.current().saturating_sub(steps).max(self.base))
    }

    fn now(&self) -> &BTreeMap<String, Entry> {
        self.states.last().expect("there is always a state")
    }

    fn txn(&mut self, txn: &Txn) -> TxnOutcome {
        let holds = |compare: &Compare| match compare {
            Compare::Absent(key) => !self.now().contains_key(key),
            Compare::ModRevision(key, at) => self.now().get(key).is_some_and(|entry| entry.mod_revision == *at),
        };
        if !txn.compare.iter().all(holds) {
            let present = |compare: &Compare| match compare {
                Compare::Absent(key) | Compare::ModRevision(key, _) => self.now().get(key).cloned(),
            };
            return TxnOutcome::Conflict(txn.compare.iter().map(present).collect());
        }
        let revision = Revision(self.current() + 1);
        let mut next = self.now().clone();
        let mut changes = Vec::new();
        for op in &txn.ops {
            let (Op::Put { key, .. } | Op::Delete { key }) = op;
            let previous = next.remove(key);
            let current = match op {
                Op::Put { value, .. } => Some(Entry {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: previous.as_ref().map_or(revision, |entry| entry.create_revision),
                    mod_revision: revision,
                }),
                Op::Delete { .. } => None,
            };
            next.extend(current.clone().map(|entry| (key.clone(), entry)));
            if current.is_some() || previous.is_some() {
                let (current, previous) = (current.map(Arc::new), previous.map(Arc::new));
                changes.push(Change { key: key.clone(), current, previous, revision });
            }
        }
        if changes.is_empty() {
            return TxnOutcome::Committed(Revision(self.current()));
        }
        self.states.push(next);
        self.changes.extend(changes);
        TxnOutcome::Committed(revision)
    }

    fn range(&self, request: &RangeRequest) -> Option<RangePage> {
        let revision = request.at.unwrap_or(Revision(self.current()));
        if revision.0 < self.compacted {
            return None;
        }
        let wanted = |entry: &&Entry| {
            entry.key.starts_with(&request.prefix) && request.after.as_ref().is_none_or(|after| entry.key > *after)
        };
        let all: Vec<Arc<Entry>> =
            self.states[(revision.0 - self.base) as usize].values().filter(wanted).cloned().map(Arc::new).collect();
        let taken = request.limit.unwrap_or(all.len()).min(all.len());
        Some(RangePage { remaining: all.len() - taken, entries: all[..taken].to_vec(), revision })
    }
}

/// Carries the steps out on the store, which is empty, and on the oracle; panics where they differ.
pub(crate) async fn follows_the_oracle<S: Store>(store: &S, steps: Vec<Step>) {
    let Revision(base) = store.current_revision().await.expect("revision");
    let mut oracle = Oracle { base, states: vec![BTreeMap::new()], changes: Vec::new(), compacted: base };
    let mut watches = Vec::new();
    for step in steps {
        match step {
            Step::Txn(conditions, writes) => {
                let txn = transaction(&oracle, conditions, writes);
                let outcome = store.txn(txn.clone()).await.expect("the transaction is fine");
                assert_eq!(outcome, oracle.txn(&txn), "{txn:?}");
            }
            Step::Range { prefix, after, limit, back } => {
                let at = back.map(|back| oracle.back(back));
                let request = RangeRequest { prefix, after, limit, at };
                match (store.range(request.clone()).await, oracle.range(&request)) {
                    (Ok(page), Some(expected)) => assert_eq!(page, expected, "{request:?}"),
                    (Err(StoreError::Compacted { .. }), None) => {}
                    (answer, expected) => panic!("{request:?}: {answer:?} instead of {expected:?}"),
                }
            }
            Step::Watch { prefix, back } => {
                let from = oracle.back(back);
                watches.push((store.watch(&prefix, from).await.expect("watch"), prefix, from));
            }
            Step::Compact { back } => {
                let at = oracle.back(back);
                store.compact(at).await.expect("compact");
                oracle.compacted = oracle.compacted.max(at.0);
            }
        }
        assert_eq!(store.current_revision().await.expect("revision"), Revision(oracle.current()));
    }
    for (watch, prefix, from) in watches {
        check_watch(&oracle, watch, &prefix, from).await;
    }
}

fn transaction(oracle: &Oracle, conditions: Vec<Condition>, writes: Vec<Write>) -> Txn {
    let compare = conditions.into_iter().map(|condition| match condition {
        Condition::Absent(key) => Compare::Absent(key),
        Condition::Revision(key, off) => {
            let present = oracle.now().get(&key).map_or(0, |entry| entry.mod_revision.0);
            Compare::ModRevision(key, Revision(present + off))
        }
    });
    let mut written = HashSet::new();
    let ops = writes.into_iter().filter_map(|write| {
        let (Write::Put(key, _) | Write::Delete(key)) = &write;
        written.insert(key.clone()).then(|| match write {
            Write::Put(key, value) => Op::Put { key, value: Bytes::from(vec![value]), ttl: None },
            Write::Delete(key) => Op::Delete { key },
        })
    });
    Txn { compare: compare.collect(), ops: ops.collect() }
}

/// A watch gives exactly the changes after its start, in order; or says that it is lost, where that can be.
async fn check_watch(oracle: &Oracle, mut watch: Watch, prefix: &str, from: Revision) {
    let wanted = |change: &&Change| change.revision > from && change.key.starts_with(prefix);
    let mut given = from;
    for expected in oracle.changes.iter().filter(wanted) {
        match next_change(&mut watch).await {
            WatchEvent::Change(change) => {
                assert_eq!(*change, *expected);
                given = change.revision;
            }
            lost => return assert_lost(oracle, &mut watch, lost, given).await,
        }
    }
    if from.0 < oracle.compacted {
        // Whether it was lost depends on how far it was when the past was forgotten.
        watch.request_progress();
        match watch.next().await.expect("an event") {
            WatchEvent::Progress(_) => {}
            lost => return assert_lost(oracle, &mut watch, lost, given).await,
        }
    }
    quiet_until(&mut watch, Revision(oracle.current())).await;
}

async fn assert_lost(oracle: &Oracle, watch: &mut Watch, event: WatchEvent, given: Revision) {
    let WatchEvent::Lost { compacted } = event else { panic!("{event:?} was not to come") };
    assert!(compacted > given && compacted.0 <= oracle.compacted, "lost without a reason: {compacted:?}");
    assert_eq!(watch.next().await, None);
}

//! What is measured of each engine.

use crate::Failure;
use bytes::Bytes;
use orrery_store::{Compare, Op, RangeRequest, Revision, Store, Txn, TxnOutcome};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[async_trait::async_trait]
pub(crate) trait Engine: Send + Sync + 'static {
    /// Creates objects, all at once.
    async fn load(&self, objects: Vec<(String, Bytes)>) -> Result<(), Failure>;

    /// Writes an object on condition that it has not changed since it was known; durable when this returns. Tried again when
    /// another was faster.
    async fn put(&self, key: String, value: Bytes) -> Result<(), Failure>;

    /// The same when nobody else writes.
    async fn put_alone(&self, key: String, value: Bytes) -> Result<(), Failure> {
        self.put(key, value).await
    }

    async fn get(&self, key: &str) -> Result<Bytes, Failure>;

    /// Reads everything under a prefix; how much that was.
    async fn range(&self, prefix: &str) -> Result<usize, Failure>;
}

/// A store as the product uses it: who writes knows the revision of what he changes.
pub(crate) struct Through<S> {
    store: Arc<S>,
    known: Mutex<HashMap<String, Revision>>,
}

impl<S: Store> Through<S> {
    /// Learns the revisions of all objects.
    pub(crate) async fn new(store: S) -> Result<Self, Failure> {
        let page = store.range(RangeRequest::default()).await?;
        let known = page.entries.iter().map(|entry| (entry.key.clone(), entry.mod_revision)).collect();
        Ok(Self { store: Arc::new(store), known: Mutex::new(known) })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Revision>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl<S: Store> Engine for Through<S> {
    async fn load(&self, objects: Vec<(String, Bytes)>) -> Result<(), Failure> {
        let keys: Vec<String> = objects.iter().map(|(key, _)| key.clone()).collect();
        let ops = objects.into_iter().map(|(key, value)| Op::Put { key, value, ttl: None });
        if let TxnOutcome::Committed(at) = self.store.txn(Txn { compare: Vec::new(), ops: ops.collect() }).await? {
            self.known().extend(keys.into_iter().map(|key| (key, at)));
        }
        Ok(())
    }

    async fn put(&self, key: String, value: Bytes) -> Result<(), Failure> {
        loop {
            let known = self.known().get(&key).copied();
            let compare =
                known.map_or_else(|| Compare::Absent(key.clone()), |at| Compare::ModRevision(key.clone(), at));
            let ops = vec![Op::Put { key: key.clone(), value: value.clone(), ttl: None }];
            match self.store.txn(Txn { compare: vec![compare], ops }).await? {
                TxnOutcome::Committed(at) => {
                    self.known().insert(key, at);
                    return Ok(());
                }
                TxnOutcome::Conflict(present) => {
                    let present = present.into_iter().next().flatten().ok_or("the object has gone")?;
                    self.known().insert(key.clone(), present.mod_revision);
                }
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Bytes, Failure> {
        Ok(self.store.get(key).await?.ok_or("the object is not there")?.value)
    }

    async fn range(&self, prefix: &str) -> Result<usize, Failure> {
        let page = self.store.range(RangeRequest { prefix: prefix.to_owned(), ..RangeRequest::default() }).await?;
        Ok(page.entries.len())
    }
}

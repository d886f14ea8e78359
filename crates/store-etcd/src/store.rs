//! The trait on etcd.

use crate::client::{Client, ConnectError, EtcdOptions, failure, is_compacted, is_future};
use crate::convert::{self, Root, check_ops, foreign, header, number};
use crate::hub::Hub;
use crate::leases::{self, Leases};
use crate::{compactor, feed, proto};
use orrery_store::{Entry, Op, RangePage, RangeRequest, Revision, Store, StoreError, Txn, TxnOutcome, Watch};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tonic::{Code, Status};

/// Entries that are read with one call.
const PAGE: usize = 1000;

/// A store in etcd. Clones are the same store.
#[derive(Debug, Clone)]
pub struct EtcdStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    root: Root,
    hub: Hub,
    leases: Mutex<Leases>,
    leases_granted: AtomicU64,
    /// What the leases' time is counted from.
    began: Instant,
    pace: feed::Pace,
    compactor: Option<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(compactor) = &self.compactor {
            compactor.abort();
        }
    }
}

impl EtcdStore {
    /// Connects to etcd and looks whether it is new enough.
    ///
    /// # Errors
    /// When the options are of no use, no member answers, or one is too old.
    pub async fn connect(options: EtcdOptions) -> Result<Self, ConnectError> {
        let client = Client::connect(&options).await?;
        let compactor = options.history_age.map(|age| tokio::spawn(compactor::run(client.clone(), age)).abort_handle());
        Ok(Self(Arc::new(Inner {
            hub: Hub::new(client.clone()),
            client,
            root: Root::new(&options.root),
            leases: Mutex::default(),
            leases_granted: AtomicU64::new(0),
            began: Instant::now(),
            pace: feed::Pace { buffer: options.watch_buffer.max(1), progress: options.progress_interval },
            compactor,
        })))
    }

    /// How many leases this store has asked etcd for; far fewer than values with a time to live.
    #[must_use]
    pub fn leases_granted(&self) -> u64 {
        self.0.leases_granted.load(Ordering::Relaxed)
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, Leases> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease for a time to live; 0 for none.
    async fn lease(&self, ttl: Option<Duration>) -> Result<i64, StoreError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let Some(ttl_ms) = ttl.map(millis) else { return Ok(0) };
        let now_ms = millis(self.0.began.elapsed());
        if let Some(id) = self.leases().share(ttl_ms, now_ms) {
            return Ok(id);
        }
        // etcd refuses more than this (about 285 years), which is as good as for ever.
        let ttl = leases::seconds(ttl_ms).min(9_000_000_000);
        let request = proto::LeaseGrantRequest { ttl };
        let granted = self.0.client.call("/etcdserverpb.Lease/LeaseGrant", request).await;
        let granted: proto::LeaseGrantResponse = granted.map_err(|status| failure("asking for a lease", status))?;
        if !granted.error.is_empty() {
            return Err(failure("asking for a lease", Status::internal(granted.error)));
        }
        self.leases().granted(ttl_ms, granted.id, now_ms);
        self.0.leases_granted.fetch_add(1, Ordering::Relaxed);
        Ok(granted.id)
    }

    async fn request(&self, txn: Txn) -> Result<proto::TxnRequest, StoreError> {
        let root = &self.0.root;
        let compare = txn.compare.iter().map(|compare| root.compare(compare)).collect();
        let failure = txn.compare.iter().map(|compare| root.read(compare)).collect();
        let mut success = Vec::with_capacity(txn.ops.len());
        for op in txn.ops {
            let ttl = if let Op::Put { ttl, .. } = &op { *ttl } else { None };
            success.push(root.write(op, self.lease(ttl).await?));
        }
        Ok(proto::TxnRequest { compare, success, failure })
    }

    async fn commit(&self, request: proto::TxnRequest) -> Result<proto::TxnResponse, Status> {
        self.0.client.call("/etcdserverpb.KV/Txn", request).await
    }

    /// The entries that a failed transaction has read instead.
    fn present(&self, responses: Vec<proto::ResponseOp>) -> Result<Vec<Option<Entry>>, StoreError> {
        let read = responses.into_iter().map(|response| match response.response {
            Some(proto::Response::Range(mut range)) => range.kvs.pop().map(|kv| self.0.root.entry(kv)).transpose(),
            None => Err(convert::ForeignData::Missing("entry of a comparison")),
        });
        read.collect::<Result<_, _>>().map_err(foreign)
    }

    /// What a read that failed means.
    async fn read_failure(&self, asked: Option<Revision>, status: Status) -> StoreError {
        let Some(asked) = asked else { return failure("reading", status) };
        if is_compacted(&status) {
            return StoreError::Compacted { asked, compacted: self.0.hub.compacted_after(asked).await };
        }
        if is_future(&status) {
            let current = self.current_revision().await.unwrap_or_default();
            return StoreError::Future { asked, current };
        }
        failure("reading", status)
    }
}

#[async_trait::async_trait]
impl Store for EtcdStore {
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        check_ops(&txn.ops)?;
        let lives = txn.ops.iter().any(|op| matches!(op, Op::Put { ttl: Some(_), .. }));
        let request = self.request(txn.clone()).await?;
        let response = match self.commit(request.clone()).await {
            // Nothing was written. The lease has ended meanwhile, or somebody has revoked it.
            Err(status) if lives && status.code() == Code::NotFound => {
                let used = request.success.iter().filter_map(|op| match &op.request {
                    Some(proto::Request::Put(put)) => Some(put.lease),
                    _ => None,
                });
                used.for_each(|id| self.leases().forget(id));
                let request = self.request(txn).await?;
                self.commit(request).await
            }
            result => result,
        };
        let response = response.map_err(|status| failure("writing", status))?;
        if response.succeeded {
            let revision = header(response.header)?;
            self.0.hub.saw(revision);
            Ok(TxnOutcome::Committed(revision))
        } else {
            Ok(TxnOutcome::Conflict(self.present(response.responses)?))
        }
    }

    async fn range(&self, request: RangeRequest) -> Result<RangePage, StoreError> {
        let mut page = RangePage { entries: Vec::new(), revision: request.at.unwrap_or_default(), remaining: 0 };
        let mut at = request.at;
        let mut after = request.after.clone();
        loop {
            let left = request.limit.map(|limit| limit - page.entries.len());
            let (key, range_end) = self.0.root.range(&request.prefix, after.as_deref());
            let asked = proto::RangeRequest {
                key,
                range_end,
                limit: i64::try_from(left.unwrap_or(PAGE).min(PAGE)).unwrap_or(i64::MAX),
                // etcd begins with revision 1, at which it has nothing, as at 0.
                revision: at.map_or(0, |at| number(at).max(1)),
                count_only: left == Some(0),
            };
            let response = match self.0.client.range(asked).await {
                Ok(response) => response,
                Err(status) => return Err(self.read_failure(at, status).await),
            };
            if at.is_none() {
                page.revision = header(response.header)?;
                self.0.hub.saw(page.revision);
                at = Some(page.revision);
            }
            let got = response.kvs.len();
            for kv in response.kvs {
                page.entries.push(Arc::new(self.0.root.entry(kv).map_err(foreign)?));
            }
            page.remaining = usize::try_from(response.count).unwrap_or(0).saturating_sub(got);
            let enough = request.limit.is_some_and(|limit| page.entries.len() >= limit);
            if enough || page.remaining == 0 {
                return Ok(page);
            }
            after = page.entries.last().map(|entry| entry.key.clone());
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let request = proto::RangeRequest { key: self.0.root.key(key), ..proto::RangeRequest::default() };
        let response = self.0.client.range(request).await;
        let mut response = response.map_err(|status| failure("reading", status))?;
        response.kvs.pop().map(|kv| self.0.root.entry(kv)).transpose().map_err(foreign)
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        // etcd would wait for a revision that is not there yet, also when it belongs to another etcd.
        if from > self.0.hub.seen() {
            let current = self.current_revision().await?;
            if from > current {
                return Err(StoreError::Future { asked: from, current });
            }
        }
        Ok(feed::watch(self.0.hub.clone(), self.0.root.clone(), prefix, from, self.0.pace))
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        let request = proto::RangeRequest { key: self.0.root.key("/"), count_only: true, ..Default::default() };
        let response = self.0.client.range(request).await;
        let revision = header(response.map_err(|status| failure("reading the revision", status))?.header)?;
        self.0.hub.saw(revision);
        Ok(revision)
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let request = proto::CompactionRequest { revision: number(revision) };
        let compacted = self.0.client.call::<_, proto::CompactionResponse>("/etcdserverpb.KV/Compact", request).await;
        match compacted {
            Ok(_) => Ok(()),
            // That far or further it was compacted before.
            Err(status) if is_compacted(&status) => Ok(()),
            Err(status) if is_future(&status) => {
                Err(StoreError::Future { asked: revision, current: self.current_revision().await? })
            }
            Err(status) => Err(failure("compacting", status)),
        }
    }
}

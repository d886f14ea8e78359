//! The one thread that writes: it takes what is queued, works out one plan, makes it durable with one SQLite
//! transaction, publishes it and answers. While the disk works, the next batch gathers.

use super::deadlines::Deadlines;
use super::log::Log;
use super::plan::{Batch, Plan};
use super::shared::Shared;
use crate::{StoreError, Txn, TxnOutcome};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Transactions that share one commit, at most.
const BATCH: usize = 256;
/// Expired keys that are deleted with one commit, at most.
const EXPIRY_BATCH: usize = 256;
/// How long the writer has to be idle before it tidies the file.
const QUIET: Duration = Duration::from_secs(1);
/// How long expired keys wait when they could not be deleted.
const RETRY: Duration = Duration::from_secs(2);

/// A queued transaction.
pub(super) struct Request {
    pub(super) txn: Txn,
    pub(super) answer: oneshot::Sender<Result<TxnOutcome, StoreError>>,
    /// The place in the queue, given back when the request is taken up.
    pub(super) place: OwnedSemaphorePermit,
}

type Answer = (oneshot::Sender<Result<TxnOutcome, StoreError>>, Result<TxnOutcome, StoreError>);

/// The writer's state.
pub(super) struct Writer {
    log: Log,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    requests: Receiver<Request>,
    state: Health,
    /// What the age of history is counted from.
    began: Instant,
}

/// Where the writer stands.
///
/// ```text
/// Clean -- something written --> Untidy -- quiet for a while --> Clean
/// Clean, Untidy -- a write failed --> Failing -- a write succeeded --> Untidy
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Clean,
    Untidy,
    Failing,
}

impl Writer {
    pub(super) fn new(log: Log, shared: Arc<Shared>, deadlines: Deadlines, requests: Receiver<Request>) -> Self {
        // What a crash left in the write-ahead log is tidied up in the first quiet moment.
        Self { log, shared, deadlines, requests, state: Health::Untidy, began: Instant::now() }
    }

    /// Works until the queue's sending side is gone, and finishes what is queued.
    pub(super) fn run(mut self) {
        loop {
            match self.next_batch() {
                Ok(batch) => self.carry_out(batch),
                Err(RecvTimeoutError::Timeout) => self.idle(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.log.tidy();
    }

    /// Waits for requests; times out when there is something else to do.
    fn next_batch(&self) -> Result<Vec<Request>, RecvTimeoutError> {
        let first = match self.patience() {
            Some(patience) => self.requests.recv_timeout(patience)?,
            None => self.requests.recv().map_err(|_| RecvTimeoutError::Disconnected)?,
        };
        let rest = self.requests.try_iter().take(BATCH - 1);
        Ok(std::iter::once(first).chain(rest).collect())
    }

    fn patience(&self) -> Option<Duration> {
        let until = |at: u64, now: u64| Duration::from_millis(at.saturating_sub(now));
        let expiry = self.deadlines.next().map(|at| until(at, now_ms()));
        let (tidying, expiry) = match self.state {
            Health::Clean => (None, expiry),
            Health::Untidy => (Some(QUIET), expiry),
            Health::Failing => (None, expiry.map(|expiry| expiry.max(RETRY))),
        };
        let ageing = self.shared.index().history().next_expiry_ms().map(|at| until(at, self.age_ms()));
        [expiry, tidying, ageing].into_iter().flatten().min()
    }

    fn idle(&mut self) {
        self.shared.expire(self.age_ms());
        if self.deadlines.next().is_some_and(|at| at <= now_ms()) {
            self.carry_out(Vec::new());
        } else if self.state == Health::Untidy {
            self.log.tidy();
            self.state = Health::Clean;
        }
    }

    /// Milliseconds since the writer was made; unlike the wall clock nobody sets this one.
    fn age_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Carries out a batch, together with the deletion of what has expired.
    fn carry_out(&mut self, requests: Vec<Request>) {
        let (plan, answers) = self.plan(requests);
        if plan.records.is_empty() {
            return give(answers);
        }
        match self.log.commit(&plan) {
            Ok(()) => {
                if self.state == Health::Failing {
                    tracing::info!("the store can write again");
                }
                self.state = Health::Untidy;
                for (key, end) in &plan.finals {
                    self.deadlines.replace(key, end.before.as_ref(), end.after.as_ref());
                }
                let waiting = self.shared.publish(plan.records, self.age_ms());
                give(answers);
                waiting.into_iter().for_each(Waker::wake);
            }
            Err(error) => {
                if self.state != Health::Failing {
                    tracing::error!(%error, "the store refuses writes until this is repaired; reads go on");
                }
                self.state = Health::Failing;
                let text = match error {
                    StoreError::Unwritable(text) => text,
                    other => other.to_string(),
                };
                // A conflict may be one with a write that did not happen, so no outcome of the batch holds.
                let refused = |(answer, _)| (answer, Err(StoreError::Unwritable(text.clone())));
                give(answers.into_iter().map(refused).collect());
            }
        }
    }

    fn plan(&self, requests: Vec<Request>) -> (Plan, Vec<Answer>) {
        let now_ms = now_ms();
        let index = self.shared.index();
        let mut batch = Batch::new(&index, now_ms);
        for key in self.deadlines.due(now_ms, EXPIRY_BATCH) {
            batch.expire(&key);
        }
        let answers = requests
            .into_iter()
            .map(|Request { txn, answer, place }| {
                drop(place);
                (answer, batch.txn(txn))
            })
            .collect();
        (batch.finish(), answers)
    }
}

/// Answers. One who no longer waits is no error: the write is done all the same.
fn give(answers: Vec<Answer>) {
    for (answer, outcome) in answers {
        drop(answer.send(outcome));
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

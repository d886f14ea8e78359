//! Writing: takes what is queued, works out one plan, makes it durable with one SQLite transaction, publishes it and answers.
//! While the disk works, the next batch gathers.
//!
//! A thread does that, and who finds it idle writes himself: between threads a lone write would lose more time than SQLite takes
//! to compute.

use super::deadlines::Deadlines;
use super::log::Log;
use super::plan::{Batch, Plan};
use super::shared::{Aftermath, Shared};
use crate::{Op, StoreError, Txn, TxnOutcome};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
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
#[derive(Debug)]
pub(super) struct Writer {
    log: Log,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    state: Health,
    /// What the age of history is counted from.
    began: Instant,
    /// When something was last written.
    wrote: Instant,
}

/// The writer, held by who writes: its thread, or a caller who found nobody else writing. Empty once the thread has ended.
pub(super) type Desk = Mutex<Option<Writer>>;

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

/// Writes what is queued until the queue's sending side is gone, and finishes what is left in it.
pub(super) fn run(desk: &Desk, requests: &Receiver<Request>) {
    // A poisoned desk means that a write was broken off by a panic: nobody knows what holds, so nothing is written any more.
    let sit = || desk.lock().ok();
    while let Some(patience) = sit().and_then(|writer| writer.as_ref().map(Writer::patience)) {
        let batch = next_batch(requests, patience);
        let Some(mut seat) = sit() else { return };
        let Some(writer) = seat.as_mut() else { return };
        match batch {
            Ok(batch) => writer.carry_out(batch),
            Err(RecvTimeoutError::Timeout) => writer.idle(),
            Err(RecvTimeoutError::Disconnected) => {
                writer.log.tidy();
                *seat = None;
            }
        }
    }
}

/// Waits for requests; times out when there is something else to do.
fn next_batch(requests: &Receiver<Request>, patience: Option<Duration>) -> Result<Vec<Request>, RecvTimeoutError> {
    let first = match patience {
        Some(patience) => requests.recv_timeout(patience)?,
        None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected)?,
    };
    let rest = requests.try_iter().take(BATCH - 1);
    Ok(std::iter::once(first).chain(rest).collect())
}

impl Writer {
    pub(super) fn new(log: Log, shared: Arc<Shared>, deadlines: Deadlines) -> Self {
        // What a crash left in the write-ahead log is tidied up in the first quiet moment.
        let now = Instant::now();
        Self { log, shared, deadlines, state: Health::Untidy, began: now, wrote: now }
    }

    /// Whether the transaction may be carried out by its caller: the thread then learns of it in time, which looks after the
    /// store once per [`QUIET`] now, but for times to live, which could end before that.
    pub(super) fn lends_itself_to(&self, txn: &Txn) -> bool {
        self.state == Health::Untidy && !txn.ops.iter().any(|op| matches!(op, Op::Put { ttl: Some(_), .. }))
    }

    fn patience(&self) -> Option<Duration> {
        let until = |at: u64, now: u64| Duration::from_millis(at.saturating_sub(now));
        let expiry = self.deadlines.next().map(|at| until(at, now_ms()));
        let (tidying, expiry) = match self.state {
            Health::Clean => (None, expiry),
            Health::Untidy => (Some(QUIET.saturating_sub(self.wrote.elapsed())), expiry),
            Health::Failing => (None, expiry.map(|expiry| expiry.max(RETRY))),
        };
        let ageing = self.shared.index().history().next_expiry_ms().map(|at| until(at, self.age_ms()));
        [expiry, tidying, ageing].into_iter().flatten().min()
    }

    fn idle(&mut self) {
        self.shared.expire(self.age_ms());
        if self.deadlines.next().is_some_and(|at| at <= now_ms()) {
            self.carry_out(Vec::new());
        } else if self.state == Health::Untidy && self.wrote.elapsed() >= QUIET {
            self.log.tidy();
            self.state = Health::Clean;
        }
    }

    /// Milliseconds since the writer was made; unlike the wall clock nobody sets this one.
    fn age_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Carries out a batch, together with the deletion of what has expired.
    pub(super) fn carry_out(&mut self, requests: Vec<Request>) {
        let (plan, answers) = self.plan(requests);
        if plan.records.is_empty() {
            return give(answers);
        }
        match self.log.commit(&plan) {
            Ok(()) => {
                if self.state == Health::Failing {
                    tracing::info!("the store can write again");
                }
                (self.state, self.wrote) = (Health::Untidy, Instant::now());
                for (key, end) in &plan.finals {
                    self.deadlines.replace(key, end.before.as_ref(), end.after.as_ref());
                }
                let Aftermath { waiting, forgotten } = self.shared.publish(plan.records, self.age_ms());
                give(answers);
                waiting.into_iter().for_each(Waker::wake);
                drop(forgotten);
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
        let mut batch = Batch::new(&index, now_ms, self.log.next_id());
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

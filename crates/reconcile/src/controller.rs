//! The loop that takes keys from a queue and reconciles them.

use crate::{
    ControllerError, Metrics, ObjectKey, Queue, chain,
    metrics::{ByName, ByResult},
};
use futures::FutureExt;
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// When a key is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// When something changes.
    Done,
    /// When something changes, and after this time at the latest.
    After(Duration),
}

impl Outcome {
    /// The caches don't show our own last write yet. Its arrival wakes the key; the time is for the case that an object
    /// came and went between two lists.
    pub const BEHIND: Self = Self::After(Duration::from_millis(50));

    /// The sooner of both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done, other) | (other, Self::Done) => other,
            (Self::After(one), Self::After(two)) => Self::After(one.min(two)),
        }
    }

    /// After `delay`, if there is one.
    #[must_use]
    pub fn maybe_after(delay: Option<Duration>) -> Self {
        delay.map_or(Self::Done, Self::After)
    }
}

/// What a controller does with one key: read, plan, apply. It must be fit to be called at any time, again and again, and
/// to be ended anywhere.
pub trait Reconcile: Send + Sync + 'static {
    /// Looks at `key` and does what is to be done.
    ///
    /// # Errors
    /// When the API refused or failed; the key is tried again with back-off.
    fn reconcile(&self, key: &ObjectKey) -> impl Future<Output = Result<Outcome, ControllerError>> + Send;
}

/// A queue with workers.
pub struct Controller<R> {
    /// The name, for the log and metrics.
    pub name: &'static str,
    /// What is done with a key.
    pub reconciler: Arc<R>,
    /// The keys.
    pub queue: Arc<Queue>,
    /// How many keys are in work at a time.
    pub workers: usize,
    /// Where it is counted.
    pub metrics: Metrics,
}

impl<R> Clone for Controller<R> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            reconciler: Arc::clone(&self.reconciler),
            queue: Arc::clone(&self.queue),
            workers: self.workers,
            metrics: self.metrics.clone(),
        }
    }
}

impl<R: Reconcile> Controller<R> {
    /// Works until `shutdown`. A key in work then is finished.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            let (worker, shutdown) = (self.clone(), shutdown.clone());
            workers.spawn(async move {
                loop {
                    let key = tokio::select! {
                        // Cancel-safe: see `Queue::next`.
                        key = worker.queue.next() => key,
                        () = shutdown.cancelled() => return,
                    };
                    worker.turn(&key).await;
                }
            });
        }
        while workers.join_next().await.is_some() {}
    }

    /// One look at one key.
    async fn turn(&self, key: &ObjectKey) {
        let depth = i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
        self.metrics.depth.get_or_create(&ByName { name: self.name }).set(depth);
        // A panic is the fault of this key's state: others go on, and this one is tried again with back-off.
        let result = AssertUnwindSafe(self.reconciler.reconcile(key)).catch_unwind().await;
        let what = match result {
            Ok(Ok(Outcome::Done)) => {
                self.queue.done(key);
                "success"
            }
            Ok(Ok(Outcome::After(delay))) => {
                self.queue.done(key);
                self.queue.add_after(key.clone(), delay);
                "requeue_after"
            }
            Ok(Err(error)) => {
                let delay = self.retry(key);
                let error_text = chain(&error);
                if error.is_conflict() {
                    tracing::debug!(controller = self.name, %key, error = error_text, "somebody else was faster");
                } else {
                    tracing::warn!(controller = self.name, %key, error = error_text, ?delay, "tried again");
                }
                "error"
            }
            Err(_) => {
                let delay = self.retry(key);
                tracing::error!(controller = self.name, %key, ?delay, "the reconciler panicked; the key is tried again");
                "panic"
            }
        };
        self.metrics.reconciles.get_or_create(&ByResult { controller: self.name, result: what }).inc();
    }

    fn retry(&self, key: &ObjectKey) -> Duration {
        self.metrics.retries.get_or_create(&ByName { name: self.name }).inc();
        self.queue.failed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Clumsy {
        looks: AtomicU32,
        shutdown: CancellationToken,
    }

    impl Reconcile for Clumsy {
        async fn reconcile(&self, _: &ObjectKey) -> Result<Outcome, ControllerError> {
            match self.looks.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("as the test wants it"),
                1 => Err(ControllerError::WatchEnded("pods")),
                2 => Ok(Outcome::After(Duration::from_secs(7))),
                _ => {
                    self.shutdown.cancel();
                    Ok(Outcome::Done)
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_survives_panics_failures_and_delays() {
        let shutdown = CancellationToken::new();
        let controller = Controller {
            name: "clumsy",
            reconciler: Arc::new(Clumsy { looks: AtomicU32::new(0), shutdown: shutdown.clone() }),
            queue: Arc::default(),
            workers: 2,
            metrics: Metrics::default(),
        };
        controller.queue.add(ObjectKey::new("demo", "a"));
        let start = tokio::time::Instant::now();
        controller.clone().run(shutdown).await;
        assert_eq!(controller.reconciler.looks.load(Ordering::SeqCst), 4);
        assert!(start.elapsed() >= Duration::from_secs(7));
        let count =
            |result| controller.metrics.reconciles.get_or_create(&ByResult { controller: "clumsy", result }).get();
        assert_eq!((count("panic"), count("error"), count("requeue_after"), count("success")), (1, 1, 1, 1));
    }
}

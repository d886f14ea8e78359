//! Many clients that do the same for a while.

use crate::{
    Failure,
    product::{self, LOADED},
    wire::{Sent, Target},
};
use hyper::Method;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// One kind of request; each is numbered.
pub(crate) struct Load {
    next: Arc<AtomicUsize>,
    make: fn(usize) -> Sent,
}

impl Load {
    pub(crate) fn of(make: fn(usize) -> Sent) -> Self {
        Self { next: Arc::default(), make }
    }

    /// New pods.
    pub(crate) fn creates() -> Self {
        Self {
            next: Arc::default(),
            make: |number| Sent {
                method: Method::POST,
                path: product::collection(LOADED),
                content_type: "application/json",
                body: product::pod(&format!("pod-{number:08}")),
            },
        }
    }

    /// Reads pods of the listed namespace, spread over all.
    pub(crate) fn gets() -> Self {
        Self { next: Arc::default(), make: |number| Sent::get(product::listed(number)) }
    }

    /// Changes a label of pods of the listed namespace by server-side apply.
    pub(crate) fn applies() -> Self {
        Self {
            next: Arc::default(),
            make: |number| Sent {
                method: Method::PATCH,
                path: format!("{}?fieldManager=bench&force=true", product::listed(number)),
                content_type: "application/apply-patch+yaml",
                body: product::applied(number),
            },
        }
    }

    /// How many requests a second are answered with `clients` at a time.
    pub(crate) async fn run(&mut self, target: &Target, clients: usize, time: Duration) -> Result<f64, Failure> {
        let started = Instant::now();
        let done = self.until(target, clients, move |_| started.elapsed() < time).await?;
        #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        Ok(done as f64 / started.elapsed().as_secs_f64())
    }

    /// Sends `count` requests.
    pub(crate) async fn times(&mut self, target: &Target, clients: usize, count: usize) -> Result<(), Failure> {
        let end = self.next.load(Ordering::Relaxed) + count;
        self.until(target, clients, move |number| number < end).await.map(drop)
    }

    async fn until(
        &self,
        target: &Target,
        clients: usize,
        goes_on: impl Fn(usize) -> bool + Clone + Send + 'static,
    ) -> Result<usize, Failure> {
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let (next, make, goes_on) = (Arc::clone(&self.next), self.make, goes_on.clone());
            let mut connection = target.one_by_one().await?;
            running.spawn(async move {
                let mut done = 0;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(number) {
                        return Ok::<_, Failure>(done);
                    }
                    connection.send(make(number)).await?;
                    done += 1;
                }
            });
        }
        let mut all = 0;
        while let Some(done) = running.join_next().await {
            all += done??;
        }
        Ok(all)
    }
}

/// The middle of some numbers.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

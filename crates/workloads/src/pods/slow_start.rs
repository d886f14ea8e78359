//! Doing the same thing many times, carefully at first: one, then two, four, eight ... A template that the API refuses is
//! tried once, not a thousand times (`pkg/controller/replicaset`, `slowStartBatch`).

use futures::{StreamExt, stream};
use orrery_reconcile::ControllerError;
use std::future::Future;

/// How many requests are under way at once.
const AT_ONCE: usize = 64;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Started {
    /// How often it was done.
    pub(crate) done: usize,
    /// Why it was given up.
    pub(crate) error: Option<ControllerError>,
}

/// Does `work` for each number below `count`, until a batch has a failure in it.
pub(crate) async fn slow_start<F, R>(count: usize, work: F) -> Started
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<(), ControllerError>>,
{
    let mut started = Started::default();
    let (mut from, mut batch) = (0, 1);
    while from < count && started.error.is_none() {
        let to = count.min(from + batch);
        let results: Vec<_> = stream::iter((from..to).map(&work)).buffer_unordered(AT_ONCE).collect().await;
        for result in results {
            match result {
                Ok(()) => started.done += 1,
                Err(error) => started.error = started.error.or(Some(error)),
            }
        }
        (from, batch) = (to, batch * 2);
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn batches_double_and_stop_after_the_first_that_fails() {
        let calls = AtomicUsize::new(0);
        let run = |count, broken: usize| {
            calls.store(0, Ordering::SeqCst);
            let calls = &calls;
            slow_start(count, move |index| async move {
                calls.fetch_add(1, Ordering::SeqCst);
                if index >= broken { Err(ControllerError::Changed("it")) } else { Ok(()) }
            })
        };
        // (wanted, first that fails) -> (calls, done)
        for ((count, broken), expected) in
            [((0, 0), (0, 0)), ((100, 100), (100, 100)), ((100, 0), (1, 0)), ((100, 4), (7, 4))]
        {
            let started = run(count, broken).await;
            assert_eq!((calls.load(Ordering::SeqCst), started.done), expected);
            assert_eq!(started.error.is_some(), started.done < count);
        }
    }
}

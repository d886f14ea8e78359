//! Restarting controllers that fail.

use std::{future::Future, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A controller that ran for so long is taken to have been well.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// Why a controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControllerError {
    /// The watch is over for good.
    #[error("the watch on {0} has ended")]
    WatchEnded(&'static str),
    /// The API refused or failed.
    #[error("cannot {doing}")]
    Api {
        doing: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
}

impl ControllerError {
    /// For `map_err`: the API call that failed was to do `doing`.
    pub(crate) fn api(doing: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self::Api { doing, source: Box::new(source) }
    }
}

/// Runs what `start` makes, again and again, until `shutdown`. A failure is logged; the wait after it doubles each time
/// and begins anew after a good run.
pub(crate) async fn supervise<F, R>(name: &'static str, shutdown: CancellationToken, start: F)
where
    F: Fn() -> R,
    R: Future<Output = Result<(), ControllerError>>,
{
    let mut delay = FIRST_DELAY;
    loop {
        let started = Instant::now();
        let ended = tokio::select! {
            // Not cancel-safe and need not be: all that a controller knows is in the API.
            ended = start() => ended,
            () = shutdown.cancelled() => return,
        };
        if started.elapsed() >= WELL_AFTER {
            delay = FIRST_DELAY;
        }
        match ended {
            Ok(()) => tracing::warn!(controller = name, ?delay, "the controller ended; it is restarted"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(controller = name, ?delay, error, "the controller failed; it is restarted");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.cancelled() => return,
        }
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

/// An error with all its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    #[tokio::test(start_paused = true)]
    async fn a_failing_controller_is_started_again_until_shutdown() {
        let shutdown = CancellationToken::new();
        let starts = Arc::new(AtomicU32::new(0));
        let (count, stop) = (Arc::clone(&starts), shutdown.clone());
        supervise("test", shutdown, move || {
            if count.fetch_add(1, Ordering::SeqCst) == 4 {
                stop.cancel();
            }
            async { Err(ControllerError::WatchEnded("pods")) }
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 5);
    }
}

//! Restarting what fails as a whole, and why it may fail.

use futures::FutureExt;
use std::{future::Future, panic::AssertUnwindSafe, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A controller that ran for so long is taken to have been well.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// Why a controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The watch is over for good.
    #[error("the watch on {0} has ended")]
    WatchEnded(&'static str),
    /// The API refused or failed.
    #[error("cannot {doing}")]
    Api {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// What was read does not fit what is in the cache; it is looked at again when the cache has caught up.
    #[error("{0} has changed meanwhile")]
    Changed(&'static str),
    /// What is asked for cannot be done as it stands; it is for people to change it.
    #[error("{0}")]
    Invalid(String),
}

impl ControllerError {
    /// For `map_err`: the API call that failed was to do `doing`.
    pub fn api(doing: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self::Api { doing, source: Box::new(source) }
    }

    /// The HTTP status that the API refused with.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::WatchEnded(_) | Self::Changed(_) | Self::Invalid(_) => None,
        }
    }

    /// Whether somebody else has written the object meanwhile: looking again is all it takes.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Changed(_)) || self.code() == Some(409)
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether the API refused because the namespace is being deleted: nothing can be made there, and it will be gone.
    #[must_use]
    pub fn is_namespace_terminating(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let kube::Error::Api(status) = source.as_ref() else { return false };
        let cause =
            status.details.iter().flat_map(|details| &details.causes).any(|c| c.reason == "NamespaceTerminating");
        status.code == 403 && (cause || status.message.contains("being terminated"))
    }

    /// The API's own words, for events and conditions.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => status.message.clone(),
                other => chain(other),
            },
            Self::WatchEnded(_) | Self::Changed(_) | Self::Invalid(_) => self.to_string(),
        }
    }
}

/// Runs what `start` makes, again and again, until `shutdown`. A failure or panic is logged; the wait after it doubles each
/// time and begins anew after a good run.
pub async fn supervise<F, R>(name: &'static str, shutdown: CancellationToken, start: F)
where
    F: Fn() -> R,
    R: Future<Output = Result<(), ControllerError>>,
{
    let mut delay = FIRST_DELAY;
    loop {
        let started = Instant::now();
        let ended = tokio::select! {
            // Not cancel-safe and need not be: all that a controller knows is in the API.
            ended = AssertUnwindSafe(start()).catch_unwind() => ended,
            () = shutdown.cancelled() => return,
        };
        if started.elapsed() >= WELL_AFTER {
            delay = FIRST_DELAY;
        }
        match ended {
            Ok(Ok(())) => tracing::warn!(controller = name, ?delay, "the controller ended; it is restarted"),
            Ok(Err(error)) => {
                let error = chain(&error);
                tracing::warn!(controller = name, ?delay, error, "the controller failed; it is restarted");
            }
            Err(_) => tracing::error!(controller = name, ?delay, "the controller panicked; it is restarted"),
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.cancelled() => return,
        }
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

/// An error with all its causes, for the log.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
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
    async fn a_failing_or_panicking_controller_is_started_again_until_shutdown() {
        let shutdown = CancellationToken::new();
        let starts = Arc::new(AtomicU32::new(0));
        let (count, stop) = (Arc::clone(&starts), shutdown.clone());
        supervise("test", shutdown, move || {
            let round = count.fetch_add(1, Ordering::SeqCst);
            if round == 4 {
                stop.cancel();
            }
            async move {
                assert_ne!(round, 2, "as the test wants it");
                Err(ControllerError::WatchEnded("pods"))
            }
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 5);
    }
}

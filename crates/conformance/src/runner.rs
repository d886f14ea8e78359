//! Runs tests: several at a time, then the serial ones alone, each with a time limit and its rubbish removed.

use crate::{
    harness::{Context, Failure, Run},
    registry::Test,
};
use futures::{FutureExt, StreamExt, stream};
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

/// What one test came to.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The test.
    pub codename: &'static str,
    /// What it came to.
    pub result: Result<(), Failure>,
    /// How long it took.
    pub took: Duration,
    /// What it left behind, and why.
    pub left: Vec<String>,
}

/// Runs `tests` against a server, `parallel` at a time; `tell` hears each verdict as it falls. `limit` is for all tests
/// that allow themselves more.
pub async fn run(
    run: &Arc<Run>,
    tests: Vec<Test>,
    parallel: usize,
    limit: Option<Duration>,
    mut tell: impl FnMut(&Verdict),
) -> Vec<Verdict> {
    let (serial, others): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| test.serial);
    let mut verdicts = Vec::new();
    for (group, width) in [(others, parallel.max(1)), (serial, 1)] {
        let mut running = stream::iter(group).map(|test| one(run, test, limit)).buffer_unordered(width);
        while let Some(verdict) = running.next().await {
            let Some(verdict) = verdict else { continue };
            tell(&verdict);
            verdicts.push(verdict);
        }
    }
    verdicts
}

/// Runs one test and removes its rubbish; none when the run was stopped before it began.
async fn one(run: &Arc<Run>, test: Test, limit: Option<Duration>) -> Option<Verdict> {
    if run.stop.is_cancelled() {
        return None;
    }
    let started = Instant::now();
    let context = match Context::new(run) {
        Ok(context) => context,
        Err(failure) => {
            let took = started.elapsed();
            return Some(Verdict { codename: test.codename, result: Err(failure), took, left: Vec::new() });
        }
    };
    let limit = limit.map_or(test.limit, |limit| limit.min(test.limit));
    // A test that panics is a test that fails; it must not take the others' clean-up with it.
    let body = AssertUnwindSafe((test.body)(&context)).catch_unwind();
    let result = tokio::select! {
        // Cancel-safe: whatever the test has made so far is in its context and is removed below.
        () = run.stop.cancelled() => Err(Failure::wrong("the run was stopped")),
        done = tokio::time::timeout(limit, body) => match done {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Failure::wrong(format!("the test itself failed: {}", message(&panic)))),
            Err(_) => Err(Failure::wrong(format!(
                "not done within {} s; the last request was {}",
                limit.as_secs(),
                context.api.last_request()
            ))),
        },
    };
    let took = started.elapsed();
    let left = if run.keep { Vec::new() } else { context.clean_up().await };
    Some(Verdict { codename: test.codename, result, took, left })
}

fn message(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

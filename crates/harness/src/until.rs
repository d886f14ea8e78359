//! Asking again until it is so.

use super::{Failure, Outcome};
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait between two looks, at first and at most.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(500);

/// Looks until there is something, and returns it.
///
/// # Errors
/// Those of looking, at once; or that there was nothing within `limit`.
pub async fn until<T, F>(limit: Duration, mut look: impl FnMut() -> F) -> Outcome<T>
where
    F: Future<Output = Outcome<Option<T>>>,
{
    let end = Instant::now() + limit;
    let mut pause = FIRST;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(Failure::wrong(format!("not so within {} s", limit.as_secs())));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Tries until it succeeds.
///
/// # Errors
/// The last failure, when none succeeds within `limit`; a skip at once.
pub async fn retry<T, F>(limit: Duration, mut attempt: impl FnMut() -> F) -> Outcome<T>
where
    F: Future<Output = Outcome<T>>,
{
    let end = Instant::now() + limit;
    let mut pause = FIRST;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Failure::Wrong(why)) if Instant::now() < end => {
                let _ = why; // told only when it is the last
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
            Err(Failure::Wrong(why)) => {
                return Err(Failure::wrong(format!("{why} (tried for {} s)", limit.as_secs())));
            }
            Err(skipped @ Failure::Skipped(_)) => return Err(skipped),
        }
    }
}

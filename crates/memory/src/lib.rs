//! Gives memory that is not used any more back to the system.
//!
//! glibc keeps what was freed for the next who asks, in an arena for each thread. After a burst of large requests a server
//! that uses 20 MiB may so hold half a gigabyte for ever. [`give_back`] looks at the process's resident memory now and then,
//! and asks glibc to give free pages back when there has been a burst.
//!
//! What it is not: an allocator, or a limit. It frees nothing that is used. With another C library than glibc it does
//! nothing.
//!
//! One task, and a thread for the moment in which memory is given back. Start reading at [`give_back`].

use std::{fs, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often resident memory is looked at, at most and at least.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// How much more than it ever was at least is a burst.
const BURST_BYTES: usize = 48 * 1024 * 1024;
/// Less than this is not worth to be looked for again soon.
const LITTLE_BYTES: usize = 8 * 1024 * 1024;
/// Of what `/proc/self/statm` counts in, on every machine that this runs on.
const PAGE_BYTES: usize = 4096;

/// Gives memory back after bursts, until `shutdown`.
pub async fn give_back(shutdown: CancellationToken) {
    let (shortest, longest) = INTERVALS;
    let (mut least, mut interval) = (usize::MAX, shortest);
    loop {
        tokio::select! {
            // Cancel-safe: neither arm has begun anything.
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let Some(resident) = resident_bytes() else { return };
        least = least.min(resident);
        if resident - least < BURST_BYTES {
            interval = shortest;
            continue;
        }
        // It takes locks and walks through pages: milliseconds, but none of a task's.
        if tokio::task::spawn_blocking(trim).await.is_err() {
            return;
        }
        let after = resident_bytes().unwrap_or(resident);
        tracing::debug!(before = resident, after, "gave memory back");
        // What could not be given back is used, for now.
        let little = resident.saturating_sub(after) < LITTLE_BYTES;
        interval = if little { (2 * interval).min(longest) } else { shortest };
    }
}

/// Resident memory of this process; none where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * PAGE_BYTES)
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it takes no pointers and may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_burst_left_is_given_back() {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(give_back(shutdown.clone()));
        tokio::time::sleep(2 * INTERVALS.0).await;
        let before = resident_bytes().unwrap();
        // Small pieces, of which every other one goes first: the heap does not shrink by itself.
        let mut pieces: Vec<Option<Box<[u8; 1024]>>> = (0..200_000).map(|n| Some(Box::new([n as u8; 1024]))).collect();
        let kept = Box::new([1_u8; 64]);
        let during = resident_bytes().unwrap();
        assert!(during > before + 2 * BURST_BYTES);
        pieces.iter_mut().for_each(|piece| *piece = None);
        let given_back = async {
            while resident_bytes().unwrap() > before + BURST_BYTES {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), given_back).await.expect("memory is given back");
        drop(kept);
        shutdown.cancel();
        task.await.unwrap();
    }
}

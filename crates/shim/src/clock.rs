//! The host's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix nanoseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).expect("the clock is before the year 2554")
}

//! Which lease a value with a time to live goes to. Pure: time comes in as a number.
//!
//! A lease for each value would be a transaction more for each, and memory in etcd for as long as it lives. So values that
//! are written within a short while share one, as in kube-apiserver: a value may live a little longer than asked, never
//! shorter.

use std::collections::HashMap;

/// Values on one lease, at most.
const VALUES: usize = 1000;
/// How long a lease is shared, at most, in milliseconds.
const WINDOW_MS: u64 = 60_000;

#[derive(Debug)]
struct Lease {
    id: i64,
    values: usize,
    /// Until when values may still be put on it.
    until_ms: u64,
}

/// The leases that can still be shared, by time to live.
#[derive(Debug, Default)]
pub(crate) struct Leases(HashMap<u64, Lease>);

/// How long after its grant a lease for values of `ttl_ms` takes more of them.
fn window_ms(ttl_ms: u64) -> u64 {
    (ttl_ms / 20).min(WINDOW_MS)
}

/// For how many seconds to grant a lease: etcd counts in whole ones, and the last value has to live as long as the first.
pub(crate) fn seconds(ttl_ms: u64) -> i64 {
    i64::try_from(ttl_ms.saturating_add(window_ms(ttl_ms)).div_ceil(1000).max(1)).unwrap_or(i64::MAX)
}

impl Leases {
    /// A lease that takes one more value; none when one has to be granted.
    pub(crate) fn share(&mut self, ttl_ms: u64, now_ms: u64) -> Option<i64> {
        self.0.retain(|_, lease| now_ms < lease.until_ms && lease.values < VALUES);
        let lease = self.0.get_mut(&ttl_ms)?;
        lease.values += 1;
        Some(lease.id)
    }

    /// A lease has been granted, asked for at `asked_ms`, and has its first value.
    pub(crate) fn granted(&mut self, ttl_ms: u64, id: i64, asked_ms: u64) {
        self.0.insert(ttl_ms, Lease { id, values: 1, until_ms: asked_ms + window_ms(ttl_ms) });
    }

    /// A lease is gone.
    pub(crate) fn forget(&mut self, id: i64) {
        self.0.retain(|_, lease| lease.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn values_of_one_minute_share_a_lease_that_outlives_the_last_of_them() {
        let mut leases = Leases::default();
        assert_eq!(leases.share(HOUR, 0), None);
        leases.granted(HOUR, 7, 0);
        assert_eq!(leases.share(HOUR, 59_999), Some(7));
        assert_eq!(leases.share(2 * HOUR, 59_999), None);
        assert_eq!(leases.share(HOUR, 60_000), None);
        assert_eq!(seconds(HOUR), 3660);
    }

    #[test]
    fn a_lease_takes_a_thousand_values() {
        let mut leases = Leases::default();
        leases.granted(HOUR, 7, 0);
        assert!((1..VALUES).all(|_| leases.share(HOUR, 1) == Some(7)));
        assert_eq!(leases.share(HOUR, 1), None);
    }

    #[test]
    fn short_lives_are_hardly_shared_and_rounded_up() {
        let mut leases = Leases::default();
        leases.granted(200, 7, 0);
        assert_eq!(leases.share(200, 10), None);
        assert_eq!((seconds(200), seconds(0), seconds(20_000), seconds(u64::MAX)), (1, 1, 21, 18_446_744_073_709_552));
    }

    #[test]
    fn a_lease_that_is_gone_is_not_shared() {
        let mut leases = Leases::default();
        leases.granted(HOUR, 7, 0);
        leases.forget(7);
        assert_eq!(leases.share(HOUR, 1), None);
    }
}

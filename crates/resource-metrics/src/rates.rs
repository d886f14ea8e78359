//! From counters to what is used in a second.

use crate::told::Reading;
use jiff::Timestamp;

/// What is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// When the later of the two readings was taken.
    pub(crate) at: Timestamp,
    /// The time between them, in nanoseconds.
    pub(crate) window_nanos: u64,
    /// CPU time in a second, in nanoseconds: billionths of a processor.
    pub(crate) cpu_nanos: u64,
    pub(crate) working_set_bytes: u64,
}

/// The least time that a rate is made of, in nanoseconds.
const LEAST_WINDOW: u64 = 500_000_000;

/// What was used between an earlier reading and this one. Without an earlier one of the same life, since its beginning, if
/// that was not before `earlier_round`: the mean of a long life says nothing of this moment. None when too little time has
/// passed.
pub(crate) fn used(earlier: Option<Reading>, now: Reading, earlier_round: Option<Timestamp>) -> Option<Used> {
    let same_life = |earlier: &Reading| earlier.since == now.since && earlier.cpu_nanos <= now.cpu_nanos;
    let (from, counted) = match earlier.filter(same_life) {
        Some(earlier) => (earlier.at, earlier.cpu_nanos),
        None if earlier_round.is_some_and(|round| now.since >= round) => (now.since, 0),
        None => return None,
    };
    let window_nanos = u64::try_from(now.at.as_nanosecond() - from.as_nanosecond()).ok()?;
    if window_nanos < LEAST_WINDOW {
        return None;
    }
    let rate = u128::from(now.cpu_nanos - counted) * 1_000_000_000 / u128::from(window_nanos);
    let cpu_nanos = u64::try_from(rate).unwrap_or(u64::MAX);
    Some(Used { at: now.at, window_nanos, cpu_nanos, working_set_bytes: now.working_set_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    fn reading(since: i64, now: i64, cpu_millis: u64) -> Reading {
        Reading { at: at(now), since: at(since), cpu_nanos: cpu_millis * 1_000_000, working_set_bytes: 1 }
    }

    #[test]
    fn a_rate_is_of_the_same_life() {
        let rate = |earlier, now, round| used(earlier, now, round).map(|used| used.cpu_nanos);
        let first = reading(0, 10_000, 1_000);
        for (earlier, now, round, expected, why) in [
            (Some(first), reading(0, 12_000, 2_000), None, Some(500_000_000), "half a processor"),
            (Some(first), reading(11_000, 13_000, 500), None, None, "began anew, nobody knows when the last round was"),
            (
                Some(first),
                reading(11_000, 13_000, 500),
                Some(at(10_000)),
                Some(250_000_000),
                "began since the last round",
            ),
            (Some(first), reading(9_000, 13_000, 500), Some(at(10_000)), None, "began before, but was not seen"),
            (Some(first), reading(0, 10_400, 1_100), None, None, "too soon"),
            (Some(first), reading(0, 9_000, 1_100), None, None, "the clock went back"),
            (Some(first), reading(0, 12_000, 900), None, None, "the counter went back"),
            (None, first, None, None, "nothing to compare with"),
        ] {
            assert_eq!(rate(earlier, now, round), expected, "{why}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_kubelets_tell_is_too_much(a in any::<[u32; 3]>(), b in any::<[u32; 3]>(), cpu in any::<u64>(), round in any::<u32>()) {
            let of = |[since, now, cpu]: [u32; 3]| reading(i64::from(since), i64::from(now), u64::from(cpu));
            let now = Reading { cpu_nanos: cpu, ..of(b) };
            if let Some(used) = used(Some(of(a)), now, Some(at(i64::from(round)))) {
                prop_assert!(used.window_nanos >= LEAST_WINDOW);
                prop_assert!(u128::from(used.cpu_nanos) <= u128::from(cpu) * 2);
            }
        }
    }
}

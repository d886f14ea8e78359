//! How many machines of which kind are kept warm. Pure: time is told, nothing is done.
//!
//! A kind that is always wanted has as many as may be; another as many as machines of it were wanted lately, and none when
//! nobody wants it any more. What could not be made rests, longer each time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// So long a wish counts.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Rest after a first failure; it doubles with each one more.
const FIRST_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(1800);

#[derive(Debug, Clone, Copy)]
struct Rest {
    failures: u32,
    until: Instant,
}

/// What was wanted.
#[derive(Debug)]
pub(crate) struct Demand<K> {
    /// Most machines of one kind.
    most: usize,
    always: BTreeSet<K>,
    wishes: BTreeMap<K, VecDeque<Instant>>,
    rests: BTreeMap<K, Rest>,
}

impl<K: Ord + Clone> Demand<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, always: BTreeSet::new(), wishes: BTreeMap::new(), rests: BTreeMap::new() }
    }

    /// The kinds that are always wanted, from now on.
    pub(crate) fn always(&mut self, kinds: impl IntoIterator<Item = K>) {
        self.always = kinds.into_iter().collect();
    }

    /// Somebody wanted a machine of this kind.
    pub(crate) fn wish(&mut self, kind: K, now: Instant) {
        let wishes = self.wishes.entry(kind).or_default();
        wishes.push_back(now);
        if wishes.len() > self.most {
            wishes.pop_front();
        }
    }

    /// How many there shall be.
    pub(crate) fn target(&self, kind: &K, now: Instant) -> usize {
        let counts = |wish: &&Instant| now.duration_since(**wish) < REMEMBERED;
        if self.always.contains(kind) {
            self.most
        } else {
            self.wishes.get(kind).map_or(0, |wishes| wishes.iter().filter(counts).count())
        }
    }

    /// How many there shall be of all kinds.
    pub(crate) fn wanted(&self, now: Instant) -> usize {
        let kinds: BTreeSet<&K> = self.always.iter().chain(self.wishes.keys()).collect();
        kinds.into_iter().map(|kind| self.target(kind, now)).sum()
    }

    /// What lacks most, given how many there are.
    pub(crate) fn next(&self, held: impl Fn(&K) -> usize, now: Instant) -> Option<K> {
        let rests = |kind: &K| self.rests.get(kind).is_some_and(|rest| now < rest.until);
        let lack = |kind: &K| self.target(kind, now).saturating_sub(held(kind));
        let kinds: BTreeSet<&K> = self.always.iter().chain(self.wishes.keys()).collect();
        let lacking = kinds.into_iter().filter(|kind| !rests(kind) && lack(kind) > 0);
        lacking.max_by_key(|kind| lack(kind)).cloned()
    }

    /// One was made, or could not be.
    pub(crate) fn made(&mut self, kind: &K, success: bool, now: Instant) {
        if success {
            self.rests.remove(kind);
            return;
        }
        let failures = self.rests.get(kind).map_or(0, |rest| rest.failures);
        let rest = FIRST_REST.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST_REST);
        self.rests.insert(kind.clone(), Rest { failures: failures + 1, until: now + rest });
    }

    /// Forgets what counts no more.
    pub(crate) fn tidy(&mut self, now: Instant) {
        self.wishes.retain(|_, wishes| wishes.back().is_some_and(|wish| now.duration_since(*wish) < REMEMBERED));
        self.rests.retain(|_, rest| now < rest.until + LONGEST_REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_always_wanted_is_kept_full_and_the_rest_as_it_was_wanted_lately() {
        let (mut demand, now) = (Demand::new(3), Instant::now());
        demand.always(["default"]);
        demand.wish("large", now);
        demand.wish("large", now + REMEMBERED / 2);
        assert_eq!(demand.target(&"default", now), 3);
        assert_eq!(demand.target(&"large", now + REMEMBERED / 2), 2);
        assert_eq!(demand.target(&"large", now + REMEMBERED), 1);
        assert_eq!(demand.target(&"large", now + REMEMBERED * 2), 0);
        assert_eq!(demand.target(&"unknown", now), 0);
        assert_eq!(demand.next(|_| 0, now), Some("default"));
        assert_eq!(demand.next(|kind| if *kind == "default" { 2 } else { 0 }, now + REMEMBERED / 2), Some("large"));
        assert_eq!(demand.next(|_| 3, now), None);
    }

    #[test]
    fn what_cannot_be_made_rests_longer_each_time_and_is_forgiven_at_once() {
        let (mut demand, mut now) = (Demand::new(1), Instant::now());
        demand.always(["a"]);
        for seconds in [10, 20, 40] {
            demand.made(&"a", false, now);
            assert_eq!(demand.next(|_| 0, now + Duration::from_secs(seconds - 1)), None);
            now += Duration::from_secs(seconds);
            assert_eq!(demand.next(|_| 0, now), Some("a"));
        }
        demand.made(&"a", true, now);
        demand.made(&"a", false, now);
        assert_eq!(demand.next(|_| 0, now + FIRST_REST), Some("a"));
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_the_most_and_what_is_forgotten_was_not_wanted(
            wishes in prop::collection::vec((0u8..4, 0u64..900), 0..60)
        ) {
            let (mut demand, mut now) = (Demand::new(5), Instant::now());
            demand.always([0]);
            for (kind, seconds) in wishes {
                now += Duration::from_secs(seconds);
                demand.wish(kind, now);
                let before: Vec<usize> = (0..4).map(|kind| demand.target(&kind, now)).collect();
                demand.tidy(now);
                let after: Vec<usize> = (0..4).map(|kind| demand.target(&kind, now)).collect();
                prop_assert!(after.iter().all(|target| *target <= 5) && after[usize::from(kind)] > 0);
                prop_assert_eq!(before, after);
            }
        }
    }
}

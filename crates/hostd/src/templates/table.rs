//! Which templates there are, which are to be made, and which are to go. Pure: time is told, nothing is done.
//!
//! ```text
//!            wanted                 made
//!   (none) --------> Wanted --> Making --> Ready --too old--> Ready, making --> Ready
//!                       ^         | failed   | nobody wanted it for long, of another build, or too many
//!                       |         v          v
//!                       +---- Resting     (none)
//!                      its time is over
//! ```
//! A template that is made anew serves until the new one is there, and also when that fails.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Rest after a first failure; it doubles with each one more.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// A template that nobody wanted for so long goes, unless it is one that shall always be there.
const IDLE: Duration = Duration::from_secs(3600);

/// How many templates there may be and how long each serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Most at once, not counting what is being made anew.
    pub(crate) most: usize,
    /// What is older is made anew: all clones of a template share what was random at its boot.
    pub(crate) max_age: Duration,
}

#[derive(Debug, Clone)]
struct Ready<T> {
    template: T,
    made: Instant,
    wanted: Instant,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    ready: Option<Ready<T>>,
    making: bool,
    failures: u32,
    /// Nothing is tried before.
    rests_until: Option<Instant>,
    always: bool,
}

impl<T> Entry<T> {
    fn new() -> Self {
        Self { ready: None, making: false, failures: 0, rests_until: None, always: false }
    }

    fn is_due(&self, now: Instant, rules: &Rules) -> bool {
        let rests = self.rests_until.is_some_and(|until| now < until);
        let fresh = self.ready.as_ref().is_some_and(|ready| now.duration_since(ready.made) < rules.max_age);
        !self.making && !rests && !fresh
    }

    /// When it was last of use.
    fn wanted(&self) -> Option<Instant> {
        self.ready.as_ref().map(|ready| ready.wanted)
    }
}

/// The templates of a host, by what they are for.
#[derive(Debug)]
pub(crate) struct Table<K, T> {
    rules: Rules,
    entries: BTreeMap<K, Entry<T>>,
}

impl<K: Ord + Clone, T: Clone> Table<K, T> {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, entries: BTreeMap::new() }
    }

    /// The template for `key`, if there is one. Without one it will be made, for whoever comes later.
    pub(crate) fn want(&mut self, key: &K, now: Instant) -> Option<T> {
        let entry = self.entries.entry(key.clone()).or_insert_with(Entry::new);
        let ready = entry.ready.as_mut()?;
        ready.wanted = now;
        Some(ready.template.clone())
    }

    /// Has a template made for `key` that stays also when nobody wants it.
    pub(crate) fn keep(&mut self, key: &K) {
        self.entries.entry(key.clone()).or_insert_with(Entry::new).always = true;
    }

    /// What is to be made next; it then is being made.
    pub(crate) fn next(&mut self, now: Instant) -> Option<K> {
        let rules = self.rules;
        let (key, entry) = self.entries.iter_mut().find(|(_, entry)| entry.is_due(now, &rules))?;
        entry.making = true;
        Some(key.clone())
    }

    /// What became of the making.
    pub(crate) fn made(&mut self, key: &K, template: Option<T>, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.making = false;
        match template {
            Some(template) => {
                let wanted = entry.wanted().unwrap_or(now);
                entry.ready = Some(Ready { template, made: now, wanted });
                (entry.failures, entry.rests_until) = (0, None);
            }
            None => {
                let rest = FIRST_REST.saturating_mul(2u32.saturating_pow(entry.failures)).min(LONGEST_REST);
                entry.failures += 1;
                entry.rests_until = Some(now + rest);
            }
        }
        self.make_room();
    }

    /// Lets go of what is of no use any more. `current` says whether a key may still be wanted.
    pub(crate) fn tidy(&mut self, now: Instant, current: impl Fn(&K) -> bool) {
        self.entries.retain(|key, entry| {
            let idle = entry.wanted().is_some_and(|wanted| now.duration_since(wanted) >= IDLE);
            entry.making || (current(key) && (entry.always || !idle))
        });
    }

    /// The templates that there are.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (&K, &T)> {
        self.entries.iter().filter_map(|(key, entry)| Some((key, &entry.ready.as_ref()?.template)))
    }

    /// Lets the least wanted go while there are too many; those that shall always be there are the last.
    fn make_room(&mut self) {
        while self.ready().count() > self.rules.most {
            let ready = self.entries.iter().filter(|(_, entry)| entry.ready.is_some() && !entry.making);
            let least = ready.min_by_key(|(_, entry)| (entry.always, entry.wanted())).map(|(key, _)| key.clone());
            match least {
                Some(key) => drop(self.entries.remove(&key)),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { most: 2, max_age: Duration::from_secs(24 * 3600) };
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_wanted_is_made_once_and_then_given() {
        let (mut table, now) = (Table::new(RULES), Instant::now());
        assert_eq!(table.want(&"a", now), None::<u32>);
        assert_eq!(table.want(&"a", now), None);
        assert_eq!(table.next(now), Some("a"));
        assert_eq!(table.next(now), None);
        table.made(&"a", Some(1), now);
        assert_eq!((table.want(&"a", now), table.next(now)), (Some(1), None));
    }

    #[test]
    fn a_failure_is_tried_again_after_a_rest_that_grows() {
        let (mut table, mut now) = (Table::<_, u32>::new(RULES), Instant::now());
        table.want(&"a", now);
        for rest in [30, 60, 120, 240] {
            assert_eq!(table.next(now), Some("a"));
            table.made(&"a", None, now);
            assert_eq!(table.next(now + Duration::from_secs(rest - 1)), None);
            now += Duration::from_secs(rest);
        }
        assert_eq!(table.next(now), Some("a"));
    }

    #[test]
    fn an_old_template_serves_until_its_successor_is_there() {
        let (mut table, now) = (Table::new(RULES), Instant::now());
        table.keep(&"a");
        table.next(now);
        table.made(&"a", Some(1), now);
        let later = now + RULES.max_age;
        assert_eq!(table.next(later), Some("a"));
        assert_eq!(table.want(&"a", later), Some(1));
        table.made(&"a", None, later);
        assert_eq!(table.want(&"a", later), Some(1));
        assert_eq!(table.next(later + MINUTE), Some("a"));
        table.made(&"a", Some(2), later + MINUTE);
        assert_eq!(table.want(&"a", later + MINUTE), Some(2));
    }

    #[test]
    fn what_nobody_wants_or_can_want_goes_and_what_shall_stay_stays() {
        let (mut table, now) = (Table::new(RULES), Instant::now());
        table.keep(&"kept");
        table.want(&"used", now);
        while let Some(key) = table.next(now) {
            table.made(&key, Some(1), now);
        }
        table.tidy(now + IDLE, |_| true);
        assert_eq!(table.ready().map(|(key, _)| *key).collect::<Vec<_>>(), ["kept"]);
        table.tidy(now, |_| false);
        assert_eq!(table.ready().count(), 0);
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_allowed_and_never_two_at_work_on_one(
            steps in prop::collection::vec((0usize..4, 0u8..6, 0u64..7200), 0..80)
        ) {
            let (mut table, mut now) = (Table::new(RULES), Instant::now());
            let mut making: Vec<u8> = Vec::new();
            for (what, key, seconds) in steps {
                now += Duration::from_secs(seconds);
                match what {
                    0 => drop(table.want(&key, now)),
                    1 => if let Some(next) = table.next(now) {
                        prop_assert!(!making.contains(&next));
                        making.push(next);
                    },
                    2 => if let Some(done) = making.pop() {
                        table.made(&done, key.is_multiple_of(2).then_some(key), now);
                    },
                    _ => table.tidy(now, |_| true),
                }
                prop_assert!(table.ready().filter(|(key, _)| !making.contains(key)).count() <= RULES.most);
            }
        }
    }
}

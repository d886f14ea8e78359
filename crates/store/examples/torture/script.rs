//! What the writers write. Pure: step `number` of a writer is the same in every process, so that who checks knows what
//! must be there without having been told.

use std::collections::BTreeMap;

/// Writers that write at the same time, each under keys of its own.
pub(crate) const WRITERS: usize = 8;
/// Keys of a writer, beside its counter.
const KEYS: u64 = 40;

/// A random number that follows from another (the finalizer of SplitMix64).
pub(crate) fn scatter(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Everything that a writer writes is below this.
pub(crate) fn prefix(writer: usize) -> String {
    format!("/writer-{writer}/")
}

/// The key that holds the number of the writer's last step.
pub(crate) fn counter(writer: usize) -> String {
    prefix(writer) + "counter"
}

/// The writes of one step, all in one transaction: the counter, and a few puts and deletions of other keys.
pub(crate) fn step(writer: usize, number: u64) -> Vec<(String, Option<Vec<u8>>)> {
    let mut random = scatter(scatter(writer as u64) ^ number);
    let mut next = || {
        random = scatter(random);
        random
    };
    let mut writes = BTreeMap::from([(counter(writer), Some(number.to_string().into_bytes()))]);
    for _ in 0..=next() % 3 {
        let key = format!("{}{}", prefix(writer), next() % KEYS);
        // Some values are larger than a page of the file.
        let length = if next().is_multiple_of(8) { next() % 20_000 } else { next() % 3_000 };
        let fill = next().to_le_bytes()[0];
        let put = !next().is_multiple_of(4);
        writes.insert(key, put.then(|| vec![fill; usize::try_from(length).expect("it is small")]));
    }
    writes.into_iter().collect()
}

/// What a writer's keys hold.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// The number of the last step; none before the first.
    pub(crate) done: Option<u64>,
    pub(crate) values: BTreeMap<String, Vec<u8>>,
}

impl Model {
    /// Goes on to a later step.
    pub(crate) fn advance(&mut self, writer: usize, to: u64) {
        for number in self.done.map_or(0, |done| done + 1)..=to {
            for (key, value) in step(writer, number) {
                match value {
                    Some(value) => drop(self.values.insert(key, value)),
                    None => drop(self.values.remove(&key)),
                }
            }
        }
        self.done = Some(to);
    }
}

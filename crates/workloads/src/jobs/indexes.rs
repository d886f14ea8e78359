//! Sets of completion indexes, written as `1,3-5,7`. Pure.

use std::fmt::{self, Write as _};

/// Ranges (first, last) in order, none of which touches the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// Reads a text of `status.completedIndexes`; what is not below `limit` or no number is left out.
    pub(super) fn parse(text: &str, limit: i32) -> Self {
        let mut set = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.add_range(first.max(0), last.min(limit - 1));
            }
        }
        set
    }

    fn add_range(&mut self, first: i32, last: i32) {
        if first > last {
            return;
        }
        let from = self.0.partition_point(|(_, end)| i64::from(*end) + 1 < i64::from(first));
        let to = self.0.partition_point(|(start, _)| i64::from(*start) <= i64::from(last) + 1);
        let (mut first, mut last) = (first, last);
        if let Some((start, _)) = self.0.get(from).filter(|_| from < to) {
            first = first.min(*start);
        }
        if from < to {
            last = last.max(self.0[to - 1].1);
        }
        self.0.splice(from..to, [(first, last)]);
    }

    pub(super) fn insert(&mut self, index: i32) {
        self.add_range(index, index);
    }

    pub(super) fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < index);
        self.0.get(at).is_some_and(|(start, _)| *start <= index)
    }

    /// How many there are.
    pub(super) fn total(&self) -> i32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many of these are in `other`.
    pub(super) fn common(&self, other: &Self) -> i32 {
        let overlap = |a: (i32, i32), b: (i32, i32)| (a.1.min(b.1) - a.0.max(b.0) + 1).max(0);
        let (mut one, mut two, mut total) = (0, 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(one), other.0.get(two)) {
            total += overlap(*a, *b);
            if a.1 < b.1 { one += 1 } else { two += 1 }
        }
        total
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_char(',')?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                // Two neighbours are written as two, as upstream does.
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn texts_are_written_as_upstream_writes_them() {
        for (text, limit, expected) in
            [("", 9, ""), ("0-2,4", 9, "0-2,4"), ("3,4", 9, "3,4"), ("1-8", 4, "1-3"), ("x,5,2-", 9, "5")]
        {
            assert_eq!(Indexes::parse(text, limit).to_string(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0..40i32, 0..40), others in prop::collection::btree_set(0..40i32, 0..20)) {
            let mut set = Indexes::default();
            let mut model = BTreeSet::new();
            for number in numbers {
                set.insert(number);
                model.insert(number);
            }
            prop_assert_eq!(set.total(), i32::try_from(model.len()).unwrap());
            for index in -1..41 {
                prop_assert_eq!(set.contains(index), model.contains(&index));
            }
            prop_assert_eq!(&Indexes::parse(&set.to_string(), 100), &set);
            let mut other = Indexes::default();
            others.iter().for_each(|index| other.insert(*index));
            prop_assert_eq!(set.common(&other), i32::try_from(model.intersection(&others).count()).unwrap());
        }
    }
}

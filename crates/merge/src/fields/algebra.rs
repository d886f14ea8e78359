//! Union, intersection and the two differences. Both sides stand in order, so each is one pass.

use super::{FieldSet, Node, Pattern};
use std::cmp::Ordering;

impl<'a> FieldSet<'a> {
    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let mut nodes = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        let (mut left, mut right) = (self.nodes.into_iter().peekable(), other.nodes.into_iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Self { nodes },
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.element.compare(&right.element),
            };
            match order {
                Ordering::Less => nodes.extend(left.next()),
                Ordering::Greater => nodes.extend(right.next()),
                Ordering::Equal => nodes.extend(left.next().zip(right.next()).map(|(left, right)| Node {
                    element: left.element,
                    member: left.member || right.member,
                    below: left.below.union(right.below),
                })),
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet<'_>) -> Self {
        let mut common = Self::new();
        let mut others = other.nodes.iter().peekable();
        for node in &self.nodes {
            while others.next_if(|other| other.element.compare(&node.element).is_lt()).is_some() {}
            let Some(other) = others.next_if(|other| other.element.compare(&node.element).is_eq()) else { continue };
            let (member, below) = (node.member && other.member, node.below.intersection(&other.below));
            if member || !below.is_empty() {
                common.nodes.push(Node { element: node.element.clone(), member, below });
            }
        }
        common
    }

    /// Whether the two have a field in common.
    #[must_use]
    pub fn intersects(&self, other: &FieldSet<'_>) -> bool {
        let mut others = other.nodes.iter().peekable();
        self.nodes.iter().any(|node| {
            while others.next_if(|other| other.element.compare(&node.element).is_lt()).is_some() {}
            let same = others.next_if(|other| other.element.compare(&node.element).is_eq());
            same.is_some_and(|other| (node.member && other.member) || node.below.intersects(&other.below))
        })
    }

    /// Whether all that is in this set is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &FieldSet<'_>) -> bool {
        let mut others = other.nodes.iter().peekable();
        self.nodes.iter().all(|node| {
            while others.next_if(|other| other.element.compare(&node.element).is_lt()).is_some() {}
            let same = others.next_if(|other| other.element.compare(&node.element).is_eq());
            same.is_some_and(|other| (!node.member || other.member) && node.below.is_subset(&other.below))
        })
    }

    /// What is in this set and not in `other`. What is below a field of `other` stays.
    #[must_use]
    pub fn difference(self, other: &FieldSet<'_>) -> Self {
        self.without(other, &mut |node, other| {
            node.member = node.member && !other.member;
            node.below = std::mem::take(&mut node.below).difference(&other.below);
        })
    }

    /// What is in this set and neither in `other` nor below a field of `other`.
    #[must_use]
    pub fn recursive_difference(self, other: &FieldSet<'_>) -> Self {
        self.without(other, &mut |node, other| {
            node.member = node.member && !other.member;
            let below = std::mem::take(&mut node.below);
            node.below = if other.member { Self::new() } else { below.recursive_difference(&other.below) };
        })
    }

    fn without(mut self, other: &FieldSet<'_>, take: &mut dyn FnMut(&mut Node<'a>, &Node<'_>)) -> Self {
        let mut others = other.nodes.iter().peekable();
        self.nodes.retain_mut(|node| {
            while others.next_if(|other| other.element.compare(&node.element).is_lt()).is_some() {}
            let Some(other) = others.next_if(|other| other.element.compare(&node.element).is_eq()) else { return true };
            take(node, other);
            node.member || !node.below.is_empty()
        });
        self
    }

    /// What any of `patterns` matches, with all that is below it.
    #[must_use]
    pub fn matching(mut self, patterns: &[Pattern]) -> Self {
        let patterns: Vec<&[Option<&str>]> = patterns.iter().map(|pattern| pattern.0).collect();
        self.retain_matching(&patterns);
        self
    }

    fn retain_matching(&mut self, patterns: &[&[Option<&str>]]) {
        if patterns.iter().any(|pattern| pattern.is_empty()) {
            return;
        }
        self.nodes.retain_mut(|node| {
            let matching = |pattern: &&[Option<&str>]| Pattern::matches(pattern[0], &node.element);
            let rests: Vec<_> = patterns.iter().filter(|p| matching(p)).map(|p| &p[1..]).collect();
            if rests.is_empty() {
                return false;
            }
            // As upstream, a field on the way to what matches stays, too.
            node.below.retain_matching(&rests);
            node.member || !node.below.is_empty()
        });
    }
}

//! Sets of fields, as `metadata.managedFields` keeps them.
//!
//! A [`FieldSet`] is a tree: each node is a [`PathElement`], whether the field itself is a member, and what is below it.
//! Nodes stand in upstream's order, so that the algebra is a merge of two lists and the encoding is deterministic. Names and
//! values are borrowed from the objects that a set was taken from, where they can be; a set costs one list for each level
//! that has members.
//!
//! * [`FieldSet::from_v1`] and [`FieldSet::to_v1`]: the format `FieldsV1`.
//! * [`FieldSet::union`], [`FieldSet::difference`] and so on: the algebra.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff/v6/fieldpath`.

mod algebra;
mod element;
mod pattern;
mod v1;

pub use element::{PathElement, compare_values, go_quote};
pub use pattern::Pattern;
pub use v1::FieldsError;

use std::borrow::Cow;

/// A set of fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet<'a> {
    /// In order, each element once; none is without members.
    nodes: Vec<Node<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Node<'a> {
    element: PathElement<'a>,
    /// Whether the field itself is in the set.
    member: bool,
    /// What is in the set of what is below the field.
    below: FieldSet<'a>,
}

impl<'a> FieldSet<'a> {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// The set of fields that are reached by names alone.
    ///
    /// ```
    /// use orrery_machinery::fields::FieldSet;
    /// assert_eq!(FieldSet::of(&[&["spec", "replicas"]]).to_string(), ".spec.replicas");
    /// ```
    #[must_use]
    pub fn of(paths: &[&[&'a str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let path: Vec<PathElement<'a>> = path.iter().map(|name| PathElement::Field(Cow::Borrowed(name))).collect();
            set.insert(&path);
        }
        set
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many fields are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.below.len()).sum()
    }

    /// Adds the field that `path` leads to; those above it are not added. The empty path stands for the whole object, which
    /// nobody owns.
    pub fn insert(&mut self, path: &[PathElement<'a>]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.node(first.clone());
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether the field that `path` leads to is in the set.
    #[must_use]
    pub fn contains(&self, path: &[PathElement<'_>]) -> bool {
        match path.split_first() {
            None => false,
            Some((first, [])) => self.has(first),
            Some((first, rest)) => self.below(first).is_some_and(|below| below.contains(rest)),
        }
    }

    /// Whether the field `element` of the top level is in the set.
    pub(crate) fn has(&self, element: &PathElement<'_>) -> bool {
        self.find(element).is_ok_and(|index| self.nodes[index].member)
    }

    /// What is in the set below `element`.
    pub(crate) fn below(&self, element: &PathElement<'_>) -> Option<&Self> {
        let index = self.find(element).ok()?;
        Some(&self.nodes[index].below).filter(|below| !below.is_empty())
    }

    fn find(&self, element: &PathElement<'_>) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.compare(element))
    }

    fn node(&mut self, element: PathElement<'a>) -> &mut Node<'a> {
        let index = match self.nodes.last() {
            Some(last) if last.element.compare(&element).is_lt() => Err(self.nodes.len()),
            None => Err(0),
            Some(_) => self.find(&element),
        };
        let index = index.unwrap_or_else(|index| {
            self.nodes.insert(index, Node { element, member: false, below: Self::new() });
            index
        });
        &mut self.nodes[index]
    }

    /// Adds `element` (as a member, if so) with all of `below`. Cheap when elements come in their order.
    pub(crate) fn push(&mut self, element: PathElement<'a>, member: bool, below: Self) {
        if !member && below.is_empty() {
            return;
        }
        let node = self.node(element);
        node.member |= member;
        node.below = if node.below.is_empty() { below } else { std::mem::take(&mut node.below).union(below) };
    }

    /// The set of these nodes, in whatever order they come.
    fn from_nodes(mut nodes: Vec<Node<'a>>) -> Self {
        if nodes.is_sorted_by(|left, right| left.element.compare(&right.element).is_lt()) {
            return Self { nodes };
        }
        nodes.sort_by(|left, right| left.element.compare(&right.element));
        let mut set = Self { nodes: Vec::with_capacity(nodes.len()) };
        for node in nodes {
            set.push(node.element, node.member, node.below);
        }
        set
    }

    /// The fields and what is below each: the element, whether it is a member, the set below.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&PathElement<'a>, bool, &Self)> {
        self.nodes.iter().map(|node| (&node.element, node.member, &node.below))
    }

    /// Calls `each` with the path of every field: those of a level first, then what is below them.
    pub fn for_each<'s>(&'s self, mut each: impl FnMut(&[&'s PathElement<'a>])) {
        self.walk(&mut Vec::new(), &mut each);
    }

    fn walk<'s>(&'s self, path: &mut Vec<&'s PathElement<'a>>, each: &mut impl FnMut(&[&'s PathElement<'a>])) {
        for node in self.nodes.iter().filter(|node| node.member) {
            path.push(&node.element);
            each(path);
            path.pop();
        }
        for node in &self.nodes {
            path.push(&node.element);
            node.below.walk(path, each);
            path.pop();
        }
    }

    /// The fields' paths as texts, such as `.spec.containers[name="web"].image`, in the order of [`FieldSet::for_each`].
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.for_each(|path| paths.push(path.iter().map(ToString::to_string).collect()));
        paths
    }

    /// The same set, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> FieldSet<'static> {
        let owned = |node: Node<'a>| Node {
            element: node.element.into_owned(),
            member: node.member,
            below: node.below.into_owned(),
        };
        FieldSet { nodes: self.nodes.into_iter().map(owned).collect() }
    }
}

/// One path a line.
impl std::fmt::Display for FieldSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.paths().join("\n"))
    }
}

#[cfg(test)]
mod tests;

//! A persistent ordered map of entries: a B+ tree whose nodes are shared between copies.
//!
//! A copy costs one reference count, whatever the size, and stays as it is while the original goes on: a reader takes one
//! under a short lock and reads without. A write copies only the nodes on its way that somebody else still reads. Branches
//! know how many entries are below them, so that counting a range takes two walks from the root and not one over the range.

use super::stored::{Fingerprint, Stored};
use std::sync::Arc;

/// Entries of a leaf, or children of a branch, at most.
const MAX: usize = 32;
/// Fewer than that and a node is joined with a neighbour, if both fit into one.
const FEW: usize = MAX / 4;

#[derive(Debug, Clone)]
enum Node {
    /// In ascending order of keys.
    Leaf(Vec<Stored>),
    /// In ascending order; never empty.
    Branch(Vec<Child>),
}

#[derive(Debug, Clone)]
struct Child {
    /// No key below the child is less; of no meaning for the first child.
    first: Arc<str>,
    /// Entries below the child.
    count: usize,
    node: Arc<Node>,
}

/// The map. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    root: Arc<Node>,
    len: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl Tree {
    /// A tree of entries in strictly ascending order of keys.
    pub(super) fn from_sorted(entries: Vec<Stored>) -> Self {
        let len = entries.len();
        let mut level: Vec<Child> = chunks(entries).into_iter().map(|part| child(Node::Leaf(part))).collect();
        while level.len() > 1 {
            level = chunks(level).into_iter().map(|part| child(Node::Branch(part))).collect();
        }
        level.pop().map_or_else(Self::default, |root| Self { root: root.node, len })
    }

    pub(super) fn get(&self, key: &str) -> Option<&Stored> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => return find(entries, key, Fingerprint::of(key)).map(|place| &entries[place]),
                Node::Branch(children) => node = &children[place_of(children, key.as_bytes())].node,
            }
        }
    }

    /// Puts an entry in the place of the one with the same key.
    pub(super) fn insert(&mut self, stored: Stored) -> Option<Stored> {
        let (old, split) = insert(&mut self.root, stored);
        if let Some(right) = split {
            let left = Child { first: "".into(), count: count(&self.root), node: Arc::clone(&self.root) };
            self.root = Arc::new(Node::Branch(vec![left, right]));
        }
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Stored> {
        // Looked up first: a miss copies nothing.
        self.get(key)?;
        let old = remove(&mut self.root, key);
        self.len -= usize::from(old.is_some());
        while let Node::Branch(children) = &*self.root {
            let [only] = &children[..] else { break };
            self.root = Arc::clone(&only.node);
        }
        old
    }

    /// How many keys are less than `bound`; all without one.
    pub(super) fn rank(&self, bound: Option<&[u8]>) -> usize {
        let Some(bound) = bound else { return self.len };
        let mut node = &*self.root;
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(entries) => return before + lower_bound(entries, bound),
                Node::Branch(children) => {
                    let place = place_of(children, bound);
                    before += children[..place].iter().map(|child| child.count).sum::<usize>();
                    node = &children[place].node;
                }
            }
        }
    }

    /// The entries from the first key that is not less than `from`, in order.
    pub(super) fn iter_from(&self, from: &[u8]) -> Iter<'_> {
        let mut branches = Vec::new();
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => return Iter { branches, leaf: entries[lower_bound(entries, from)..].iter() },
                Node::Branch(children) => {
                    let place = place_of(children, from);
                    branches.push(children[place + 1..].iter());
                    node = &children[place].node;
                }
            }
        }
    }
}

/// Walks over a tree.
pub(super) struct Iter<'a> {
    /// What is left of each branch on the way, the root's first.
    branches: Vec<std::slice::Iter<'a, Child>>,
    leaf: std::slice::Iter<'a, Stored>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Stored;

    fn next(&mut self) -> Option<&'a Stored> {
        loop {
            if let Some(stored) = self.leaf.next() {
                return Some(stored);
            }
            let mut node = loop {
                match self.branches.last_mut()?.next() {
                    Some(child) => break &*child.node,
                    None => drop(self.branches.pop()),
                }
            };
            while let Node::Branch(children) = node {
                let mut children = children.iter();
                node = &children.next().expect("a branch is never empty").node;
                self.branches.push(children);
            }
            let Node::Leaf(entries) = node else { unreachable!("what is no branch is a leaf") };
            self.leaf = entries.iter();
        }
    }
}

/// Where a key is in a leaf. The entries lie side by side, their keys do not: going over the fingerprints is faster than
/// halving the keys, each step of which waits for memory.
fn find(entries: &[Stored], key: &str, fingerprint: Fingerprint) -> Option<usize> {
    entries.iter().position(|stored| stored.fingerprint == fingerprint && stored.key() == key)
}

fn lower_bound(entries: &[Stored], bound: &[u8]) -> usize {
    entries.partition_point(|stored| stored.key().as_bytes() < bound)
}

/// The child below which a key is, if it is anywhere.
fn place_of(children: &[Child], key: &[u8]) -> usize {
    children[1..].partition_point(|child| child.first.as_bytes() <= key)
}

fn count(node: &Node) -> usize {
    match node {
        Node::Leaf(entries) => entries.len(),
        Node::Branch(children) => children.iter().map(|child| child.count).sum(),
    }
}

fn child(node: Node) -> Child {
    let first = match &node {
        Node::Leaf(entries) => entries.first().map_or_else(|| "".into(), |stored| stored.key().into()),
        Node::Branch(children) => Arc::clone(&children[0].first),
    };
    Child { first, count: count(&node), node: Arc::new(node) }
}

/// Parts of even size that leave room for insertions.
fn chunks<T>(mut items: Vec<T>) -> Vec<Vec<T>> {
    let parts = items.len().div_ceil(MAX * 3 / 4).max(1);
    let mut chunks: Vec<Vec<T>> = Vec::with_capacity(parts);
    for part in (1..parts).rev() {
        chunks.push(items.split_off(items.len() * part / (part + 1)));
    }
    if !items.is_empty() {
        chunks.push(items);
    }
    chunks.reverse();
    chunks
}

/// Inserts below a node; gives what was there, and the node's second half if it had to be split.
fn insert(node: &mut Arc<Node>, stored: Stored) -> (Option<Stored>, Option<Child>) {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            if let Some(place) = find(entries, stored.key(), stored.fingerprint) {
                return (Some(std::mem::replace(&mut entries[place], stored)), None);
            }
            entries.insert(lower_bound(entries, stored.key().as_bytes()), stored);
            (None, second_half(entries).map(|half| child(Node::Leaf(half))))
        }
        Node::Branch(children) => {
            let place = place_of(children, stored.key().as_bytes());
            let below = &mut children[place];
            let (old, split) = insert(&mut below.node, stored);
            below.count += usize::from(old.is_none());
            if let Some(right) = split {
                below.count -= right.count;
                children.insert(place + 1, right);
            }
            (old, second_half(children).map(|half| child(Node::Branch(half))))
        }
    }
}

/// Splits what has grown too large.
fn second_half<T>(items: &mut Vec<T>) -> Option<Vec<T>> {
    (items.len() > MAX).then(|| items.split_off(items.len() / 2))
}

fn remove(node: &mut Arc<Node>, key: &str) -> Option<Stored> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let place = find(entries, key, Fingerprint::of(key))?;
            Some(entries.remove(place))
        }
        Node::Branch(children) => {
            let place = place_of(children, key.as_bytes());
            let old = remove(&mut children[place].node, key)?;
            children[place].count -= 1;
            if size(&children[place].node) < FEW && children.len() > 1 {
                join(children, place.min(children.len() - 2));
            }
            Some(old)
        }
    }
}

fn size(node: &Node) -> usize {
    match node {
        Node::Leaf(entries) => entries.len(),
        Node::Branch(children) => children.len(),
    }
}

/// Joins a child with the next one, if both fit into one node with room to spare, or one is empty.
fn join(children: &mut Vec<Child>, place: usize) {
    let (left, right) = (size(&children[place].node), size(&children[place + 1].node));
    if left + right > MAX * 3 / 4 && left > 0 && right > 0 {
        return;
    }
    let right = children.remove(place + 1);
    let left = &mut children[place];
    left.count += right.count;
    let first = right.first;
    match (Arc::make_mut(&mut left.node), Arc::unwrap_or_clone(right.node)) {
        (Node::Leaf(left), Node::Leaf(right)) => left.extend(right),
        (Node::Branch(left), Node::Branch(mut right)) => {
            // The first child's own bound had no meaning, and so may be too high; now it gets one.
            right[0].first = first;
            left.extend(right);
        }
        (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => {
            unreachable!("all leaves are equally far from the root")
        }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;

//! The tree against the standard library's map.

use super::*;
use crate::{Entry, Revision};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn stored(key: u16, revision: u64) -> Stored {
    let (create_revision, mod_revision) = (Revision(1), Revision(revision));
    let entry = Entry { key: format!("/{key:04}"), value: Bytes::new(), create_revision, mod_revision };
    Stored::new(entry, None, 1)
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16),
    Remove(u16),
    /// Removes so many keys from a key on.
    Clear(u16, u16),
    Keep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..600_u16).prop_map(Step::Insert),
        4 => (0..600_u16).prop_map(Step::Remove),
        1 => (0..600_u16, 0..200_u16).prop_map(|(from, many)| Step::Clear(from, many)),
        1 => Just(Step::Keep),
    ];
    prop::collection::vec(step, 0..900)
}

fn same(tree: &Tree, model: &BTreeMap<String, u64>, bounds: &[u16]) {
    assert_eq!(tree.rank(None), model.len());
    for bound in bounds {
        let bound = format!("/{bound:04}");
        assert_eq!(tree.rank(Some(bound.as_bytes())), model.range(..bound.clone()).count());
        let read = |stored: &Stored| (stored.key().to_owned(), stored.entry.mod_revision.0);
        let rest: Vec<_> = tree.iter_from(bound.as_bytes()).map(read).collect();
        let expected: Vec<_> = model.range(bound.clone()..).map(|(key, at)| (key.clone(), *at)).collect();
        assert_eq!(rest, expected);
        assert_eq!(tree.get(&bound).map(|stored| stored.entry.mod_revision.0), model.get(&bound).copied());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_an_ordered_map_and_its_copies_stay_as_they_were(
        first in prop::collection::btree_set(0..600_u16, 0..400),
        steps in steps(),
        bounds in prop::collection::vec(0..620_u16, 4),
    ) {
        let mut tree = Tree::from_sorted(first.iter().map(|key| stored(*key, 1)).collect());
        let mut model: BTreeMap<String, u64> = first.iter().map(|key| (format!("/{key:04}"), 1)).collect();
        let mut kept = Vec::new();
        for (step, revision) in steps.into_iter().zip(2..) {
            match step {
                Step::Insert(key) => {
                    let old = tree.insert(stored(key, revision)).map(|stored| stored.entry.mod_revision.0);
                    assert_eq!(old, model.insert(format!("/{key:04}"), revision));
                }
                Step::Remove(key) => {
                    let key = format!("/{key:04}");
                    assert_eq!(tree.remove(&key).map(|stored| stored.entry.mod_revision.0), model.remove(&key));
                }
                Step::Clear(from, many) => {
                    for key in (from..from + many).map(|key| format!("/{key:04}")) {
                        assert_eq!(tree.remove(&key).is_some(), model.remove(&key).is_some());
                    }
                }
                Step::Keep => kept.push((tree.clone(), model.clone())),
            }
        }
        kept.push((tree, model));
        kept.iter().for_each(|(tree, model)| same(tree, model, &bounds));
    }
}

#[test]
fn without_a_bound_everything_is_counted() {
    let tree = Tree::from_sorted((0..1000).map(|key| stored(key, 1)).collect());
    assert_eq!((tree.rank(None), tree.rank(Some(b"")), tree.iter_from(b"").count()), (1000, 0, 1000));
    assert_eq!(Tree::default().iter_from(b"").count(), 0);
}

//! Shapes for tests: tables of merge keys.

use orrery_machinery::shape::{Atom, AtomId, Field, List, ListKind, Map, Patch, PatchStrategy, Shape, Shapes};
use std::{collections::BTreeMap, sync::Arc};

/// How one list merges.
pub(super) struct MergeKey {
    /// Path of the list, names joined by `.`, through lists too: `spec.containers.ports`.
    pub(super) path: &'static str,
    /// The key that identifies an element; none for a list of scalars that merges as a set.
    pub(super) key: Option<&'static str>,
}

/// The shape that says of lists what `keys` say, and nothing of anything else.
pub(super) fn shape_of(keys: &[MergeKey]) -> Shape {
    let mut root = Node::default();
    for key in keys {
        let node = key.path.split('.').fold(&mut root, |node, name| node.below.entry(name).or_default());
        node.list = Some(key.key);
    }
    let mut shapes = Shapes::new();
    let root = root.object(&mut shapes);
    Shape::new(Arc::new(shapes), root)
}

/// A field that something is known of, or that leads to one.
#[derive(Default)]
struct Node {
    /// The merge key of a list that merges; none within for a list of scalars.
    list: Option<Option<&'static str>>,
    below: BTreeMap<&'static str, Node>,
}

impl Node {
    fn object(&self, shapes: &mut Shapes) -> AtomId {
        let mut fields = Vec::with_capacity(self.below.len());
        for (name, node) in &self.below {
            let inner = node.object(shapes);
            let (atom, patch) = match node.list {
                None => (inner, None),
                Some(key) => {
                    let list = Some(List { element: inner, kind: ListKind::Atomic });
                    let merge_key = key.map(Into::into);
                    let patch = Patch { strategy: Some(PatchStrategy::Merge), retain_keys: false, merge_key };
                    (shapes.add(Atom { list, ..Atom::default() }), Some(Box::new(patch)))
                }
            };
            fields.push(Field { name: (*name).into(), atom, always: false, patch });
        }
        let map = Map { fields: fields.into(), rest: Some(Shapes::DEDUCED), atomic: false };
        shapes.add(Atom { map: Some(map), ..Atom::default() })
    }
}

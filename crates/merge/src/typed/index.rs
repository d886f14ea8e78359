//! Which element of a list is which.

use crate::fields::PathElement;
use orrery_machinery::shape::{Key, ListKind};
use serde_json::Value;
use std::borrow::Cow;

/// What tells `item` apart from the other elements of its list.
pub(super) fn element_of<'a>(kind: &'a ListKind, item: &'a Value) -> Result<PathElement<'a>, String> {
    match kind {
        ListKind::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        ListKind::Set => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(PathElement::Value(Cow::Borrowed(scalar))),
        },
        ListKind::Map(keys) => keyed(keys, item),
    }
}

fn keyed<'a>(keys: &'a [Key], item: &'a Value) -> Result<PathElement<'a>, String> {
    let map = match item {
        Value::Object(map) => map,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let value = map.get(&*key.name).or(key.default.as_ref()).ok_or_else(|| {
            let name = crate::fields::go_quote(&key.name);
            format!(
                "associative list with keys has an element that omits key field {name} (and doesn't have default value)"
            )
        })?;
        found.push((Cow::Borrowed(&*key.name), Cow::Borrowed(value)));
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(PathElement::Key(found.into()))
}

/// The elements of a list with what tells them apart, and where each stands first.
pub(super) struct Index<'a> {
    /// In the list's order.
    pub(super) elements: Vec<PathElement<'a>>,
    pub(super) items: &'a [Value],
    /// Places in `elements`, in the elements' order; equal ones by their place.
    order: Vec<usize>,
}

impl<'a> Index<'a> {
    /// # Errors
    /// For each element without what tells it apart: its place and why.
    pub(super) fn new(kind: &'a ListKind, items: &'a [Value]) -> Result<Self, Vec<(usize, String)>> {
        let mut elements = Vec::with_capacity(items.len());
        let mut errors = Vec::new();
        for (place, item) in items.iter().enumerate() {
            match element_of(kind, item) {
                Ok(element) => elements.push(element),
                Err(error) => errors.push((place, error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut order: Vec<usize> = (0..elements.len()).collect();
        order.sort_by(|left, right| elements[*left].compare(&elements[*right]).then(left.cmp(right)));
        Ok(Self { elements, items, order })
    }

    /// Where `element` stands.
    pub(super) fn places(&self, element: &PathElement<'_>) -> &[usize] {
        let start = self.order.partition_point(|place| self.elements[*place].compare(element).is_lt());
        let length = self.order[start..].partition_point(|place| self.elements[*place].compare(element).is_eq());
        &self.order[start..start + length]
    }

    /// Where `element` stands first, and whether it stands more than once.
    pub(super) fn find(&self, element: &PathElement<'_>) -> Option<(usize, bool)> {
        let places = self.places(element);
        places.first().map(|place| (*place, places.len() > 1))
    }

    /// The places of each element, in the elements' order.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[usize]> {
        let same = |left: usize, right: usize| self.elements[left].compare(&self.elements[right]).is_eq();
        self.order.chunk_by(move |left, right| same(*left, *right))
    }

    /// Each element once, in the elements' order: where it stands first, and whether it stands more than once.
    pub(super) fn distinct(&self) -> impl Iterator<Item = (usize, bool)> {
        self.groups().map(|group| (group[0], group.len() > 1))
    }
}

//! A set of fields with the named fields on the way to its members.

use crate::fields::{FieldSet, PathElement};
use orrery_machinery::shape::View;

/// `set`, and all named fields that something of it is below of. A set usually leaves them out, since they are not owned; a
/// field that is to go has to be known with them.
pub(crate) fn with_named_fields<'a>(set: &FieldSet<'a>, view: Option<View<'_>>) -> FieldSet<'a> {
    let mut all = FieldSet::new();
    for (element, member, below) in set.entries() {
        let map = view.and_then(|view| view.atom().map.as_ref());
        let named = match (element, map) {
            (PathElement::Field(name), Some(map)) => !below.is_empty() && map.field(name).is_some(),
            _ => false,
        };
        let inner = match element {
            PathElement::Field(name) => view.and_then(|view| view.child(name)),
            PathElement::Key(_) => view.and_then(View::element),
            PathElement::Value(_) | PathElement::Index(_) => None,
        };
        all.push(element.clone(), member || named, with_named_fields(below, inner));
    }
    all
}

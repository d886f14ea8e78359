//! A set of fields as the type is now.

use super::Part;
use crate::fields::{FieldSet, PathElement};
use orrery_machinery::shape::{ListKind, View};

/// `set` with what has become one value since it was written: who owned parts of it owns all of it. None when nothing did.
pub(crate) fn reconcile<'a>(set: &FieldSet<'a>, view: View<'_>) -> Option<FieldSet<'a>> {
    if !needs(set, view) {
        return None;
    }
    let mut reconciled = FieldSet::new();
    for (element, member, below) in set.entries() {
        match inner(element, view) {
            Some(inner) if became_atomic(member, below, inner) => {
                reconciled.push(element.clone(), true, FieldSet::new());
            }
            Some(inner) => {
                let below = reconcile(below, inner).unwrap_or_else(|| below.clone());
                reconciled.push(element.clone(), member, below);
            }
            None => reconciled.push(element.clone(), member, below.clone()),
        }
    }
    Some(reconciled)
}

fn needs(set: &FieldSet<'_>, view: View<'_>) -> bool {
    set.entries().any(|(element, member, below)| {
        inner(element, view).is_some_and(|inner| became_atomic(member, below, inner) || needs(below, inner))
    })
}

/// The type of what is below `element`; none where it says nothing of atomic or granular.
fn inner<'a>(element: &PathElement<'_>, view: View<'a>) -> Option<View<'a>> {
    let inner = match (Part::of(view.atom(), None), element) {
        (Part::Map(map), PathElement::Field(name)) if !map.atomic => view.child(name)?,
        (Part::List(list), _) if list.kind != ListKind::Atomic => view.at(list.element),
        _ => return None,
    };
    let only_unknown = inner
        .atom()
        .map
        .as_ref()
        .is_some_and(|map| map.fields.is_empty() && map.rest.is_some_and(|rest| inner.at(rest).is_deduced()));
    (!only_unknown).then_some(inner)
}

fn became_atomic(member: bool, below: &FieldSet<'_>, view: View<'_>) -> bool {
    match Part::of(view.atom(), None) {
        Part::Map(map) => map.atomic && !below.is_empty(),
        Part::List(list) => list.kind == ListKind::Atomic && (!member || !below.is_empty()),
        Part::Scalar(_) | Part::Nothing => false,
    }
}

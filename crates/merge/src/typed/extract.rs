//! The set of fields that an object mentions.

use super::Part;
use super::{DEPTH_LIMIT, Problems, index::Index};
use crate::fields::{FieldSet, PathElement};
use orrery_machinery::shape::{ListKind, View};
use serde_json::{Map, Value};

/// All leaves that `value` mentions, and all elements of lists and entries of maps on the way to them.
///
/// # Errors
/// When the value is not of its type in a way that leaves no path to say.
pub(crate) fn field_set<'a>(value: &'a Value, view: View<'a>) -> Result<FieldSet<'a>, Problems> {
    walk(value, view, 0).map(|(_, set)| set)
}

/// Whether the value itself is a member, and what is below it.
fn walk<'a>(value: &'a Value, view: View<'a>, depth: usize) -> Result<(bool, FieldSet<'a>), Problems> {
    if depth > DEPTH_LIMIT {
        return Err(Problems::too_deep());
    }
    match Part::of(view.atom(), Some(value)) {
        Part::Scalar(_) => Ok((true, FieldSet::new())),
        Part::List(list) => match (&list.kind, value) {
            (ListKind::Atomic, _) => Ok((true, FieldSet::new())),
            (kind, Value::Array(items)) => Ok((false, list_set(items, kind, view.at(list.element), depth)?)),
            _ => Ok((false, FieldSet::new())),
        },
        Part::Map(map) => match value {
            _ if map.atomic => Ok((true, FieldSet::new())),
            Value::Object(entries) => Ok((false, map_set(entries, map, view, depth)?)),
            _ => Ok((false, FieldSet::new())),
        },
        Part::Nothing => Err(Problems::one("schema error: invalid atom: inlined")),
    }
}

fn list_set<'a>(
    items: &'a [Value],
    kind: &'a ListKind,
    view: View<'a>,
    depth: usize,
) -> Result<FieldSet<'a>, Problems> {
    let index = Index::new(kind, items).map_err(|errors| {
        let mut problems = Problems::default();
        errors.into_iter().for_each(|(place, error)| problems.add(format!("element {place}: {error}")));
        problems
    })?;
    let mut set = FieldSet::new();
    for (place, repeated) in index.distinct() {
        let element = index.elements[place].clone();
        // Of an element that stands more than once nothing is owned but itself.
        let below = if repeated { FieldSet::new() } else { walk(&items[place], view, depth + 1)?.1 };
        set.push(element, true, below);
    }
    Ok(set)
}

fn map_set<'a>(
    entries: &'a Map<String, Value>,
    map: &'a orrery_machinery::shape::Map,
    view: View<'a>,
    depth: usize,
) -> Result<FieldSet<'a>, Problems> {
    let mut set = FieldSet::new();
    for (name, value) in entries {
        let field = map.field(name);
        let Some(atom) = field.map(|field| field.atom).or(map.rest) else { continue };
        let (member, below) = walk(value, view.at(atom), depth + 1)?;
        let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        set.push(PathElement::field(name), member || is_empty || field.is_none(), below);
    }
    Ok(set)
}

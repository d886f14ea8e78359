//! What was added, modified and removed between two objects.

use super::Part;
use super::{DEPTH_LIMIT, Problems, index::Index, is_equal};
use crate::fields::{FieldSet, PathElement};
use orrery_machinery::shape::{Field, ListKind, View};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The difference of two objects; no field is in more than one of the sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Comparison<'a> {
    pub(crate) added: FieldSet<'a>,
    pub(crate) modified: FieldSet<'a>,
    pub(crate) removed: FieldSet<'a>,
}

impl<'a> Comparison<'a> {
    /// Whether nothing differs.
    pub(crate) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Each set as `keep` leaves it.
    pub(crate) fn filtered(self, keep: impl Fn(FieldSet<'a>) -> FieldSet<'a>) -> Self {
        Self { added: keep(self.added), modified: keep(self.modified), removed: keep(self.removed) }
    }

    /// What is in either.
    fn union(self, other: Self) -> Self {
        Self {
            added: self.added.union(other.added),
            modified: self.modified.union(other.modified),
            removed: self.removed.union(other.removed),
        }
    }

    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Comparison<'static> {
        Comparison {
            added: self.added.into_owned(),
            modified: self.modified.into_owned(),
            removed: self.removed.into_owned(),
        }
    }

    fn push(&mut self, element: &PathElement<'a>, own: Own, below: Self) {
        let put = |set: &mut FieldSet<'a>, member: bool, below: FieldSet<'a>| {
            if member || !below.is_empty() {
                set.push(element.clone(), member, below);
            }
        };
        put(&mut self.added, own == Own::Added, below.added);
        put(&mut self.modified, own == Own::Modified, below.modified);
        put(&mut self.removed, own == Own::Removed, below.removed);
    }
}

/// What became of a field itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Same,
    Added,
    Modified,
    Removed,
}

/// What leads from `left` to `right`. Fields that the type does not know are left out.
///
/// # Errors
/// When one is not of its type in a way that leaves no path to say.
pub(crate) fn compare<'a>(left: &'a Value, right: &'a Value, view: View<'a>) -> Result<Comparison<'a>, Problems> {
    walk(Some(left), Some(right), view, 0).map(|(_, below)| below)
}

type Found<'a> = (Own, Comparison<'a>);

fn walk<'a>(
    left: Option<&'a Value>,
    right: Option<&'a Value>,
    view: View<'a>,
    depth: usize,
) -> Result<Found<'a>, Problems> {
    if depth > DEPTH_LIMIT {
        return Err(Problems::too_deep());
    }
    let (of_left, of_right) = (Part::of(view.atom(), left), Part::of(view.atom(), right));
    match (left, right) {
        (Some(_), None) => part(of_left, left, right, view, depth),
        (Some(_), Some(_)) if !of_left.is_same_kind(of_right) => {
            // The value changed its kind, where the type allows that: what it was counts, and what it is.
            let (own, below) = part(of_left, left, right, view, depth)?;
            let (other, more) = part(of_right, left, right, view, depth)?;
            Ok((if own == Own::Same { other } else { own }, below.union(more)))
        }
        _ => part(of_right, left, right, view, depth),
    }
}

fn part<'a>(
    part: Part<'a>,
    left: Option<&'a Value>,
    right: Option<&'a Value>,
    view: View<'a>,
    depth: usize,
) -> Result<Found<'a>, Problems> {
    let whole = |atomic: bool, left_empty: bool, right_empty: bool| atomic || (left_empty && right_empty);
    let below = match part {
        Part::Scalar(_) => return Ok((leaf(left, right), Comparison::default())),
        Part::Nothing => return Err(Problems::one("schema error: invalid atom: inlined")),
        Part::List(list) => {
            let items = |value: Option<&'a Value>| value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let (old, new) = (items(left), items(right));
            if whole(list.kind == ListKind::Atomic, old.is_empty(), new.is_empty()) {
                return Ok((leaf(left, right), Comparison::default()));
            }
            lists(old, new, &list.kind, view.at(list.element), depth)?
        }
        Part::Map(map) => {
            let (old, new) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
            if whole(map.atomic, old.is_none_or(Map::is_empty), new.is_none_or(Map::is_empty)) {
                return Ok((leaf(left, right), Comparison::default()));
            }
            maps(old, new, map, view, depth)?
        }
    };
    let own = match (left, right) {
        (None, _) => Own::Added,
        (_, None) => Own::Removed,
        _ => Own::Same,
    };
    Ok((own, below))
}

fn leaf(left: Option<&Value>, right: Option<&Value>) -> Own {
    match (left, right) {
        (None, _) => Own::Added,
        (_, None) => Own::Removed,
        (Some(left), Some(right)) if is_equal(left, right) => Own::Same,
        _ => Own::Modified,
    }
}

/// What stands for a field that is always there, where the object leaves it out: the empty value of the other side's kind.
fn empty_of(other: &Value) -> &'static Value {
    static EMPTY: LazyLock<[Value; 4]> = LazyLock::new(|| [Map::new().into(), "".into(), 0.into(), false.into()]);
    match other {
        Value::Object(_) => &EMPTY[0],
        Value::String(_) => &EMPTY[1],
        Value::Number(_) => &EMPTY[2],
        Value::Bool(_) => &EMPTY[3],
        Value::Array(_) | Value::Null => &Value::Null,
    }
}

fn maps<'a>(
    old: Option<&'a Map<String, Value>>,
    new: Option<&'a Map<String, Value>>,
    map: &'a orrery_machinery::shape::Map,
    view: View<'a>,
    depth: usize,
) -> Result<Comparison<'a>, Problems> {
    let entry = |found: &mut Comparison<'a>, name: &'a str, left: Option<&'a Value>, right: Option<&'a Value>| {
        let field = map.field(name);
        let Some(atom) = field.map(|field| field.atom).or(map.rest) else { return Ok(()) };
        let always = field.is_some_and(|field: &Field| field.always);
        // A structure that is there has the field, whether it says so or not.
        let (left, right) = match (left, right) {
            (None, Some(right)) if always && old.is_some() => (Some(empty_of(right)), Some(right)),
            (Some(left), None) if always && new.is_some() => (Some(left), Some(empty_of(left))),
            sides => sides,
        };
        let (own, below) = walk(left, right, view.at(atom), depth + 1)?;
        found.push(&PathElement::field(name), own, below);
        Ok::<(), Problems>(())
    };
    // Names come in their order from each side; so each side's findings are in order, and are put together at the end.
    let (mut found, mut newly_found) = (Comparison::default(), Comparison::default());
    let mut common = 0;
    for (name, left) in old.into_iter().flatten() {
        let right = new.and_then(|new| new.get(name));
        common += usize::from(right.is_some());
        entry(&mut found, name, Some(left), right)?;
    }
    if new.is_some_and(|new| common < new.len()) {
        let is_old = |name: &String| old.is_some_and(|old| old.contains_key(name));
        for (name, right) in new.into_iter().flatten().filter(|(name, _)| !is_old(name)) {
            entry(&mut newly_found, name, None, Some(right))?;
        }
    }
    Ok(found.union(newly_found))
}

fn lists<'a>(
    old: &'a [Value],
    new: &'a [Value],
    kind: &'a ListKind,
    view: View<'a>,
    depth: usize,
) -> Result<Comparison<'a>, Problems> {
    if old == new {
        return Ok(Comparison::default());
    }
    let index = |items| {
        Index::new(kind, items).map_err(|errors| {
            let mut problems = Problems::default();
            errors.into_iter().for_each(|(place, error)| problems.add(format!("element {place}: {error}")));
            problems
        })
    };
    let (left, right) = (index(old)?, index(new)?);
    let mut found = Comparison::default();
    for group in right.groups() {
        let element = &right.elements[group[0]];
        let before = left.places(element);
        match (before, group) {
            ([] | [_], [place]) => {
                let other = before.first().map(|place| &old[*place]);
                let (own, below) = walk(other, Some(&new[*place]), view, depth + 1)?;
                found.push(element, own, below);
            }
            // Elements that stand more than once are told apart by nothing, so that together they are one value.
            ([_, _, ..], [_, _, ..]) => {
                let values = |list: &'a [Value], places: &[usize]| places.iter().map(|place| &list[*place]).collect();
                let (before, after): (Vec<_>, Vec<_>) = (values(old, before), values(new, group));
                let is_same = before.len() == after.len() && before.iter().zip(&after).all(|(l, r)| is_equal(l, r));
                let own = if is_same { Own::Same } else { Own::Modified };
                found.push(element, own, Comparison::default());
            }
            ([_, _, ..], group) => {
                let (own, below) = walk(None, Some(&new[group[0]]), view, depth + 1)?;
                found.push(element, own, below);
                found.push(element, Own::Removed, Comparison::default());
            }
            (before, _) => {
                if let Some(place) = before.first() {
                    let (own, below) = walk(Some(&old[*place]), None, view, depth + 1)?;
                    found.push(element, own, below);
                }
                found.push(element, Own::Added, Comparison::default());
            }
        }
    }
    let mut gone = Comparison::default();
    for (place, repeated) in left.distinct() {
        let element = &left.elements[place];
        if right.find(element).is_none() {
            let (own, below) = match repeated {
                true => (Own::Removed, Comparison::default()),
                false => walk(Some(&old[place]), None, view, depth + 1)?,
            };
            gone.push(element, own, below);
        }
    }
    Ok(found.union(gone))
}

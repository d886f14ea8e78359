//! An object with an applied configuration in it.
//!
//! Nothing is taken away by merging; where both sides have a leaf, the configuration's stands. Elements of lists stand as the
//! configuration orders those that both have; what only one side has keeps its place between its neighbours.

use super::Part;
use super::{DEPTH_LIMIT, Problems, index::Index};
use crate::fields::PathElement;
use orrery_machinery::shape::{ListKind, View};
use serde_json::{Map, Value};
use std::collections::VecDeque;

/// What `config` makes of `live`. `metadata.managedFields` is left out.
///
/// # Errors
/// When a list has elements without keys, or `config` has two of the same keys.
pub(crate) fn merge(live: &Value, config: &Value, view: View<'_>) -> Result<Value, Problems> {
    Ok(walk(Some(live), Some(config), view, 0, Place::Root)?.unwrap_or(Value::Null))
}

/// Where the walk is, to find `metadata.managedFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Metadata,
    Elsewhere,
}

impl Place {
    fn below(self, name: &str) -> Option<Self> {
        match self {
            Self::Root if name == "metadata" => Some(Self::Metadata),
            Self::Metadata if name == "managedFields" => None,
            _ => Some(Self::Elsewhere),
        }
    }
}

fn walk(
    live: Option<&Value>,
    config: Option<&Value>,
    view: View<'_>,
    depth: usize,
    place: Place,
) -> Result<Option<Value>, Problems> {
    if depth > DEPTH_LIMIT {
        return Err(Problems::too_deep());
    }
    let part = match (live, config) {
        (live, None) => Part::of(view.atom(), live),
        (_, config) => Part::of(view.atom(), config),
    };
    let leaf = || Ok(config.or(live).cloned());
    match part {
        Part::Scalar(_) => leaf(),
        Part::Nothing => Err(Problems::one("schema error: invalid atom: inlined")),
        Part::List(list) => {
            let (old, new) = (as_list(live), as_list(config));
            if list.kind == ListKind::Atomic || (old.is_empty() && new.is_empty()) {
                return leaf();
            }
            let merged = lists(old, new, &list.kind, view.at(list.element), depth)?;
            Ok((!merged.is_empty()).then(|| merged.into()))
        }
        Part::Map(map) => {
            let (old, new) = (as_map(live), as_map(config));
            if map.atomic || (old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty)) {
                return leaf();
            }
            let merged = maps(old, new, map, view, depth, place)?;
            Ok((!merged.is_empty()).then(|| merged.into()))
        }
    }
}

fn as_list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn as_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn maps(
    live: Option<&Map<String, Value>>,
    config: Option<&Map<String, Value>>,
    map: &orrery_machinery::shape::Map,
    view: View<'_>,
    depth: usize,
    place: Place,
) -> Result<Map<String, Value>, Problems> {
    let mut merged = Map::new();
    let mut entry = |name: &String, left: Option<&Value>, right: Option<&Value>| {
        let Some(below) = place.below(name) else { return Ok(()) };
        let value = match map.child(name) {
            // What the type does not know has been there before it; it stays as it is.
            None => right.or(left).cloned(),
            Some(atom) => walk(left, right, view.at(atom), depth + 1, below)?,
        };
        if let Some(value) = value {
            merged.insert(name.clone(), value);
        }
        Ok::<(), Problems>(())
    };
    for (name, left) in live.into_iter().flatten() {
        entry(name, Some(left), config.and_then(|config| config.get(name)))?;
    }
    for (name, right) in config.into_iter().flatten() {
        if live.is_none_or(|live| !live.contains_key(name)) {
            entry(name, None, Some(right))?;
        }
    }
    Ok(merged)
}

fn lists(
    live: &[Value],
    config: &[Value],
    kind: &ListKind,
    view: View<'_>,
    depth: usize,
) -> Result<Vec<Value>, Problems> {
    let mut problems = Problems::default();
    let mut index = |items, may_repeat: bool| match Index::new(kind, items) {
        Ok(index) => {
            for (place, _) in index.distinct().filter(|(_, repeated)| *repeated && !may_repeat) {
                problems.add(format!("duplicate entries for key {}", index.elements[place]));
            }
            Some(index)
        }
        Err(errors) => {
            errors.into_iter().for_each(|(place, error)| problems.add(format!("element {place}: {error}")));
            None
        }
    };
    let indices = (index(config, false), index(live, true));
    problems.into_result()?;
    let (Some(right), Some(left)) = indices else { return Ok(Vec::new()) };
    let mut weave = Weave { left, right, view, depth, merged: Vec::with_capacity(live.len().max(config.len())) };
    weave.run()?;
    Ok(weave.merged)
}

/// Puts two lists together. Both are walked at once; `shared` are the elements that both have, in the configuration's order.
struct Weave<'a> {
    left: Index<'a>,
    right: Index<'a>,
    view: View<'a>,
    depth: usize,
    merged: Vec<Value>,
}

impl Weave<'_> {
    fn run(&mut self) -> Result<(), Problems> {
        let mut shared: VecDeque<usize> =
            (0..self.right.elements.len()).filter(|at| self.left.find(&self.right.elements[*at]).is_some()).collect();
        let mut next_shared = shared.pop_front();
        let mut is_taken = vec![false; self.right.elements.len()];
        let (mut l, mut r) = (0, 0);
        while l < self.left.elements.len() || r < self.right.elements.len() {
            if l < self.left.elements.len() && r < self.right.elements.len() {
                if self.left.elements[l] == self.right.elements[r] {
                    is_taken[r] = true;
                    self.take(self.counterpart(r), Some(r))?;
                    (l, r) = (l + 1, r + 1);
                    next_shared = shared.pop_front();
                    continue;
                }
                let awaited = next_shared.map(|at| &self.right.elements[at]);
                if self.in_right(l).is_some() && awaited.is_some_and(|awaited| *awaited != self.left.elements[l]) {
                    // Both have it, but the configuration has another one first.
                    l += 1;
                    continue;
                }
            }
            if l < self.left.elements.len() {
                match self.in_right(l) {
                    None => {
                        self.take(Some(l), None)?;
                        l += 1;
                        continue;
                    }
                    Some(at) if is_taken[at] => l += 1,
                    Some(_) => {}
                }
            }
            if r < self.right.elements.len() {
                is_taken[r] = true;
                self.take(self.counterpart(r), Some(r))?;
                if next_shared == Some(r) {
                    next_shared = shared.pop_front();
                }
                r += 1;
            }
        }
        Ok(())
    }

    fn in_right(&self, l: usize) -> Option<usize> {
        self.right.find(&self.left.elements[l]).map(|(at, _)| at)
    }

    /// The live element that `r` merges with. One that stands more than once is no counterpart: the configuration's
    /// element takes the place of all.
    fn counterpart(&self, r: usize) -> Option<usize> {
        self.left.find(&self.right.elements[r]).filter(|(_, repeated)| !repeated).map(|(at, _)| at)
    }

    fn take(&mut self, l: Option<usize>, r: Option<usize>) -> Result<(), Problems> {
        let (left, right) = (l.map(|at| &self.left.items[at]), r.map(|at| &self.right.items[at]));
        let element: Option<&PathElement<'_>> =
            r.map(|at| &self.right.elements[at]).or(l.map(|at| &self.left.elements[at]));
        let value = walk(left, right, self.view, self.depth + 1, Place::Elsewhere).map_err(|below| {
            let mut problems = Problems::default();
            problems.extend_below(&element.map(ToString::to_string).unwrap_or_default(), below);
            problems
        })?;
        self.merged.extend(value);
        Ok(())
    }
}

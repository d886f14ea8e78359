//! Whether an applied configuration is of its type.

use super::Part;
use super::{
    DEPTH_LIMIT, Problems,
    golang::{shown, spelled, type_name},
    index::element_of,
};
use crate::fields::PathElement;
use orrery_machinery::shape::{ListKind, Scalar, View};
use serde_json::Value;

/// Checks that all fields are declared, values of their kinds, and elements of lists told apart.
///
/// # Errors
/// What is wrong, with its path, in upstream's words.
pub(crate) fn validate(value: &Value, view: View<'_>) -> Result<(), Problems> {
    walk(value, view, 0).into_result()
}

fn walk(value: &Value, view: View<'_>, depth: usize) -> Problems {
    if depth > DEPTH_LIMIT {
        return Problems::too_deep();
    }
    let mut problems = Problems::default();
    match (Part::of(view.atom(), Some(value)), value) {
        (Part::Nothing, _) => problems.add("schema error: invalid atom: inlined"),
        (_, Value::Null) => {}
        (Part::Scalar(scalar), value) => problems = check_scalar(scalar, value),
        (Part::List(list), Value::Array(items)) => {
            return check_items(items, &list.kind, view.at(list.element), depth);
        }
        (Part::List(_), value) => problems.add(format!("expected list, got &{{{}}}", shown(value))),
        (Part::Map(map), Value::Object(entries)) => {
            for (name, value) in entries {
                let step = PathElement::field(name);
                let Some(atom) = map.child(name) else {
                    problems.extend_below(&step, Problems::one("field not declared in schema"));
                    // As upstream: what else is wrong with this map is said when this is mended.
                    return problems;
                };
                problems.extend_below(&step, walk(value, view.at(atom), depth + 1));
            }
        }
        (Part::Map(_), value) => problems.add(format!("expected map, got &{{{}}}", shown(value))),
    }
    problems
}

fn check_scalar(scalar: Scalar, value: &Value) -> Problems {
    let what = match (scalar, value) {
        (Scalar::Numeric, Value::Number(_))
        | (Scalar::String, Value::String(_))
        | (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Untyped, Value::Number(_) | Value::String(_) | Value::Bool(_)) => return Problems::default(),
        (Scalar::Numeric, value) => format!("expected numeric (int or float), got {}", type_name(value)),
        (Scalar::String, value) => format!("expected string, got &value.valueUnstructured{{Value:{}}}", spelled(value)),
        (Scalar::Boolean, value) => format!("expected boolean, got &{{{}}}", shown(value)),
        (Scalar::Untyped, value) => format!("expected any scalar, got &{{{}}}", shown(value)),
    };
    Problems::one(what)
}

fn check_items(items: &[Value], kind: &ListKind, view: View<'_>, depth: usize) -> Problems {
    let mut problems = Problems::default();
    let mut elements = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let element = match kind {
            ListKind::Atomic => Ok(PathElement::Index(i64::try_from(place).unwrap_or(i64::MAX))),
            kind => element_of(kind, item),
        };
        match element {
            Ok(element) => elements.push(element),
            Err(error) => {
                problems.add(format!("element {place}: {error}"));
                break;
            }
        }
    }
    if *kind != ListKind::Atomic {
        let mut sorted: Vec<&PathElement<'_>> = elements.iter().collect();
        sorted.sort_by(|left, right| left.compare(right));
        for pair in sorted.windows(2).filter(|pair| pair[0] == pair[1]) {
            problems.add(format!("duplicate entries for key {}", pair[1]));
        }
    }
    for (element, item) in elements.iter().zip(items) {
        problems.extend_below(element, walk(item, view, depth + 1));
    }
    problems
}

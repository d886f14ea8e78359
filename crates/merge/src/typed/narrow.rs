//! Which of an atom's ways a value takes.

use orrery_machinery::shape::{Atom, List, Map, Scalar};
use serde_json::Value;

/// The way in which a value of an atom is treated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    Map(&'a Map),
    Scalar(Scalar),
    List(&'a List),
    /// The type allows no value.
    Nothing,
}

impl<'a> Part<'a> {
    /// The value's own kind where the atom allows it; else the first that the atom has of map, scalar and list.
    pub(crate) fn of(atom: &'a Atom, value: Option<&Value>) -> Self {
        let own = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(_)) => atom.map.as_ref().map(Part::Map),
            Some(Value::Array(_)) => atom.list.as_ref().map(Part::List),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => atom.scalar.map(Part::Scalar),
        };
        let first = || {
            let map = atom.map.as_ref().map(Part::Map);
            map.or(atom.scalar.map(Part::Scalar)).or(atom.list.as_ref().map(Part::List)).unwrap_or(Part::Nothing)
        };
        own.unwrap_or_else(first)
    }

    pub(crate) fn is_same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

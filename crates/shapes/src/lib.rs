//! Which lists and maps of the built-in kinds merge how.
//!
//! One table of facts for all kinds of upstream's API, served here or not: which lists are sets, maps (and by which keys) or one
//! value, which maps are one value, how a strategic merge patch treats a field, and which fields are always there. Server-side
//! apply and strategic merge patches ask it ([`of`]).
//!
//! The table is `shapes.txt`, which `cargo xtask shapes` makes out of upstream's OpenAPI documents; its form is described at
//! [`orrery_machinery::shape::text`]. It is read once, when it is first asked for; names stay in the program's text. It holds
//! no rules, defaults of values or prose: those are in the descriptors of the kinds and in the schemas.
#![forbid(unsafe_code)]

use orrery_machinery::shape::{AtomId, Shape, Shapes, text};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// The type of a built-in kind; none for a kind that upstream does not have. The core group is the empty one.
///
/// ```
/// assert!(orrery_shapes::of("apps", "v1", "Deployment").is_some());
/// assert!(orrery_shapes::of("", "v1", "Pod").is_some());
/// assert!(orrery_shapes::of("apps", "v1", "Gadget").is_none());
/// ```
#[must_use]
pub fn of(group: &str, version: &str, kind: &str) -> Option<Shape> {
    let root = TABLE.kinds.get(&(group, version, kind))?;
    Some(Shape::new(TABLE.shapes.clone(), *root))
}

/// All kinds of the table: group, version and kind.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TABLE.kinds.keys().copied()
}

struct Table {
    shapes: Arc<Shapes>,
    kinds: HashMap<(&'static str, &'static str, &'static str), AtomId>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let table = text::parse(include_str!("shapes.txt")).expect("the table is made by a program, and a test reads it");
    let kinds = table.kinds.into_iter().map(|kind| ((kind.group, kind.version, kind.kind), kind.atom)).collect();
    Table { shapes: Arc::new(table.shapes), kinds }
});

#[cfg(test)]
mod tests;

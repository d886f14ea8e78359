//! What merging has to know of a type's structure.
//!
//! A [`Shapes`] is a table of atoms that refer to each other by number, so that types may be recursive; a [`Shape`] is one
//! type of such a table, cheap to clone and to share. There is one table for the built-in kinds, made once, and one for
//! each version of a custom resource, made when its definition is served.
//!
//! An atom says how a value may look: scalar, list, map, or several of them. How parts of lists and maps relate decides who
//! may own what:
//!
//! | structure | owned as |
//! |---|---|
//! | scalar | one field |
//! | map, granular (also every object with named fields) | each entry for itself |
//! | map, atomic | one field |
//! | list, atomic | one field |
//! | list, set | each scalar for itself |
//! | list, map | each element for itself, told apart by its keys |
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff/v6/schema` and of `k8s.io/kube-openapi/pkg/schemaconv`.
//!
//! * [`schema`]: shapes from JSON schemas with `x-kubernetes-*` extensions.
//! * [`text`]: shapes as a compact text, for tables that are part of a program.

mod metadata;
pub mod schema;
pub mod text;

pub use metadata::object_meta;

use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// A name of a field or key: borrowed from a table that is part of the program, or owned.
pub type Name = Cow<'static, str>;

/// The number of an atom in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AtomId(pub(crate) u32);

/// What a scalar may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// An integer or a fraction.
    Numeric,
    /// True or false.
    Boolean,
    /// Any scalar (quantities, times, ports that may have names).
    Untyped,
}

/// The ways in which a value of a type may look; at least one, unless the type allows no value at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Atom {
    /// As a scalar.
    pub scalar: Option<Scalar>,
    /// As a list.
    pub list: Option<List>,
    /// As a map.
    pub map: Option<Map>,
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// Its elements.
    pub element: AtomId,
    /// How they relate.
    pub kind: ListKind,
}

/// How the elements of a list relate.
#[derive(Debug, Clone, PartialEq)]
pub enum ListKind {
    /// The list is one value.
    Atomic,
    /// The elements are scalars, each for itself.
    Set,
    /// The elements are maps, told apart by these keys.
    Map(Box<[Key]>),
}

/// A key of a list's elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The field's name.
    pub name: Name,
    /// What the key is when an element does not have it.
    pub default: Option<Value>,
}

/// A map; an object with named fields is one, too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// The named fields, in the order of their names.
    pub fields: Box<[Field]>,
    /// What other keys hold; none when there may be no others.
    pub rest: Option<AtomId>,
    /// Whether the map is one value.
    pub atomic: bool,
}

/// A named field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub atom: AtomId,
    /// Whether upstream's type has the field even where nobody has set it (a structure by value, or no `omitempty`), so
    /// that setting something below it does not make the writer own the field itself.
    pub always: bool,
    /// How a strategic merge patch treats it; none for the usual way.
    pub patch: Option<Box<Patch>>,
}

/// How a strategic merge patch treats a field (`x-kubernetes-patch-strategy`, `x-kubernetes-patch-merge-key`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// `merge` or `replace`; none for the usual way (maps merge, lists are replaced).
    pub strategy: Option<PatchStrategy>,
    /// `retainKeys`: a patch that is made by a client lists the keys that stay.
    pub retain_keys: bool,
    /// The key that tells a list's elements apart; none for a list of scalars.
    pub merge_key: Option<Name>,
}

/// `x-kubernetes-patch-strategy`, without `retainKeys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchStrategy {
    /// A list's elements merge.
    Merge,
    /// A map is replaced.
    Replace,
}

impl Map {
    /// The named field `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok().map(|index| &self.fields[index])
    }

    /// Whether it has to be described field by field: it has named fields, or may have none at all.
    #[must_use]
    pub fn is_object(&self) -> bool {
        !self.fields.is_empty() || self.rest.is_none()
    }

    /// The type of what stands under `name`.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<AtomId> {
        self.field(name).map(|field| field.atom).or(self.rest)
    }
}

/// A table of atoms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shapes {
    atoms: Vec<Atom>,
}

impl Shapes {
    /// The number of the atom for values whose type is unknown: maps are granular, lists atomic.
    pub const DEDUCED: AtomId = AtomId(0);
    /// The number of the atom for values that are one field whatever they are.
    pub const UNTYPED: AtomId = AtomId(1);

    /// A table that has only the two atoms which every table has.
    #[must_use]
    pub fn new() -> Self {
        let anything = |map: AtomId, atomic| Atom {
            scalar: Some(Scalar::Untyped),
            list: Some(List { element: Self::UNTYPED, kind: ListKind::Atomic }),
            map: Some(Map { fields: Box::default(), rest: Some(map), atomic }),
        };
        Self { atoms: vec![anything(Self::DEDUCED, false), anything(Self::UNTYPED, true)] }
    }

    /// Adds an atom.
    ///
    /// # Panics
    /// When there are more than 2³² of them.
    pub fn add(&mut self, atom: Atom) -> AtomId {
        let id = AtomId(u32::try_from(self.atoms.len()).expect("a table has fewer than 2³² atoms"));
        self.atoms.push(atom);
        id
    }

    /// Puts `atom` where `id` stands (for types that refer to themselves).
    pub fn set(&mut self, id: AtomId, atom: Atom) {
        self.atoms[id.0 as usize] = atom;
    }

    /// The atom with this number.
    #[must_use]
    pub fn get(&self, id: AtomId) -> &Atom {
        &self.atoms[id.0 as usize]
    }

    /// All atoms with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (AtomId, &Atom)> {
        (0u32..).map(AtomId).zip(&self.atoms)
    }

    /// Mutable access for builders that complete a table in a second pass.
    pub(crate) fn get_mut(&mut self, id: AtomId) -> &mut Atom {
        &mut self.atoms[id.0 as usize]
    }
}

/// A type: a table and the number of its root.
#[derive(Debug, Clone)]
pub struct Shape {
    table: Arc<Shapes>,
    root: AtomId,
}

impl Shape {
    /// The type `root` of `table`.
    #[must_use]
    pub fn new(table: Arc<Shapes>, root: AtomId) -> Self {
        Self { table, root }
    }

    /// The type of values that nothing is known about: maps are granular, lists atomic (a custom resource without a schema).
    #[must_use]
    pub fn deduced() -> Self {
        Self::new(Arc::new(Shapes::new()), Shapes::DEDUCED)
    }

    /// The type, to walk along a value with.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { table: &self.table, id: self.root }
    }
}

/// A type within its table.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    table: &'a Shapes,
    id: AtomId,
}

impl<'a> View<'a> {
    /// The atom.
    #[must_use]
    pub fn atom(self) -> &'a Atom {
        self.table.get(self.id)
    }

    /// Another type of the same table.
    #[must_use]
    pub fn at(self, id: AtomId) -> Self {
        Self { id, ..self }
    }

    /// The type of what stands under `name` in a map.
    #[must_use]
    pub fn child(self, name: &str) -> Option<Self> {
        self.atom().map.as_ref()?.child(name).map(|id| self.at(id))
    }

    /// The type of a list's elements.
    #[must_use]
    pub fn element(self) -> Option<Self> {
        self.atom().list.as_ref().map(|list| self.at(list.element))
    }

    /// Whether this is the type of values that nothing is known about.
    #[must_use]
    pub fn is_deduced(self) -> bool {
        self.id == Shapes::DEDUCED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_others_by_the_rest() {
        let field = |name: &'static str, atom| Field { name: name.into(), atom, always: false, patch: None };
        let map = Map {
            fields: vec![field("a", Shapes::UNTYPED), field("c", Shapes::UNTYPED)].into(),
            rest: Some(Shapes::DEDUCED),
            atomic: false,
        };
        assert_eq!(map.child("a"), Some(Shapes::UNTYPED));
        assert_eq!(map.child("b"), Some(Shapes::DEDUCED));
        assert!(map.field("b").is_none());
    }

    #[test]
    fn nothing_known_means_granular_maps_and_atomic_lists() {
        let shape = Shape::deduced();
        let inside = shape.view().child("anything").unwrap();
        assert!(inside.is_deduced());
        assert_eq!(inside.atom().list.as_ref().unwrap().kind, ListKind::Atomic);
        assert!(inside.element().unwrap().atom().map.as_ref().unwrap().atomic);
    }
}

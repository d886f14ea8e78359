//! The shape of `metadata`, the one part that every kind has.

use super::{Atom, AtomId, Field, Key, List, ListKind, Map, Patch, PatchStrategy, Scalar, Shapes};

/// Adds the atoms of `meta/v1 ObjectMeta` to `table`; the number of its root.
pub fn object_meta(table: &mut Shapes) -> AtomId {
    let mut scalar = |scalar| table.add(Atom { scalar: Some(scalar), ..Atom::default() });
    let (text, number, truth, any) =
        (scalar(Scalar::String), scalar(Scalar::Numeric), scalar(Scalar::Boolean), scalar(Scalar::Untyped));
    let texts = table.add(granular(text));
    let finalizers = table.add(list(text, ListKind::Set));
    let owner = ["apiVersion", "kind", "name", "uid"].map(|name| (name, text));
    let owner = owner.into_iter().chain([("blockOwnerDeletion", truth), ("controller", truth)]);
    let owner = table.add(object(owner, true));
    let owners = table.add(list(owner, ListKind::Map([Key { name: "uid".into(), default: None }].into())));
    let entry = ["apiVersion", "fieldsType", "manager", "operation", "subresource"].map(|name| (name, text));
    let entry = entry.into_iter().chain([("fieldsV1", Shapes::DEDUCED), ("time", any)]);
    let entry = table.add(object(entry, false));
    let entries = table.add(list(entry, ListKind::Atomic));
    let texts_only = ["generateName", "name", "namespace", "resourceVersion", "selfLink", "uid"];
    let fields = texts_only.map(|name| (name, text)).into_iter().chain([
        ("annotations", texts),
        ("creationTimestamp", any),
        ("deletionGracePeriodSeconds", number),
        ("deletionTimestamp", any),
        ("finalizers", finalizers),
        ("generation", number),
        ("labels", texts),
        ("managedFields", entries),
        ("ownerReferences", owners),
    ]);
    let mut atom = object(fields, false);
    for field in atom.map.iter_mut().flat_map(|map| map.fields.iter_mut()) {
        field.patch = match &*field.name {
            "finalizers" => Some(merged_by(None)),
            "ownerReferences" => Some(merged_by(Some("uid"))),
            _ => None,
        };
    }
    table.add(atom)
}

fn merged_by(key: Option<&'static str>) -> Box<Patch> {
    let merge_key = key.map(Into::into);
    Box::new(Patch { strategy: Some(PatchStrategy::Merge), retain_keys: false, merge_key })
}

fn granular(element: AtomId) -> Atom {
    Atom { map: Some(Map { rest: Some(element), ..Map::default() }), ..Atom::default() }
}

fn list(element: AtomId, kind: ListKind) -> Atom {
    Atom { list: Some(List { element, kind }), ..Atom::default() }
}

/// An object with these fields and no others.
fn object(fields: impl IntoIterator<Item = (&'static str, AtomId)>, atomic: bool) -> Atom {
    let field = |(name, atom): (&'static str, _)| Field { name: name.into(), atom, always: false, patch: None };
    let mut fields: Vec<Field> = fields.into_iter().map(field).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Atom { map: Some(Map { fields: fields.into(), rest: None, atomic }), ..Atom::default() }
}

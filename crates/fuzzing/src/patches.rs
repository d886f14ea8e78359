//! Patches.

use crate::input::Source;
use orrery_machinery::shape::Shape;
use orrery_merge::patch::{self, PatchKind};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// JSON Patch. Lines: an object, another, operations.
pub(crate) fn json(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (from, to, operations) = (source.object(), source.object(), source.value());
    let difference = serde_json::to_value(json_patch::diff(&from, &to)).expect("a patch is JSON");
    let patched = patch::apply(PatchKind::Json, &from, &difference, None).expect("a difference applies");
    assert_eq!(patched, to, "what the difference makes is what it was taken from");
    if let Ok(patched) = patch::apply(PatchKind::Json, &from, &operations, None) {
        // What was stored is read again: it must not be nested deeper than a reader goes.
        let text = serde_json::to_vec(&patched).expect("an object is JSON");
        assert_eq!(serde_json::from_slice::<Value>(&text).expect("what a patch makes can be read"), patched);
    }
}

/// JSON merge patch. Lines: an object, another, a patch.
pub(crate) fn merge(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (from, to, patch) = (source.object(), without_nulls(source.object()), source.object());
    let merged = |object: &Value, patch: &Value| patch::apply(PatchKind::Merge, object, patch, None);
    let difference = merge_difference(&from, &to);
    assert_eq!(merged(&from, &difference).expect("a difference applies"), to);
    let once = merged(&from, &patch).expect("every object is a merge patch");
    assert_eq!(merged(&once, &patch).expect("it applied once"), once, "twice is once");
}

/// The merge patch that makes `to` of `from`; `to` has no nulls in maps.
fn merge_difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let set = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), merge_difference(old.get(key).unwrap_or(&Value::Null), value)));
    Value::Object(gone.chain(set).collect())
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

/// The shapes that are tried: with lists of every sort among them.
pub(crate) static SHAPES: LazyLock<Vec<(&'static str, &'static str, Shape)>> = LazyLock::new(|| {
    let built_in = [("", "v1", "Pod"), ("apps", "v1", "Deployment"), ("", "v1", "Service"), ("", "v1", "ConfigMap")];
    let mut shapes: Vec<_> = built_in
        .into_iter()
        .map(|(group, version, kind)| {
            let name = if group.is_empty() { "v1" } else { "apps/v1" };
            (name, kind, orrery_shapes::of(group, version, kind).expect("the table has it"))
        })
        .collect();
    shapes.push(("example.com/v1", "Odd", Shape::deduced()));
    shapes
});

/// Strategic merge patch. A letter for the kind, then lines: an object, a patch.
pub(crate) fn strategic(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (_, _, shape) = source.choose(&SHAPES);
    let (object, patch) = (source.object(), source.object());
    let patched = |object: &Value, patch: &Value| patch::apply(PatchKind::Strategic, object, patch, Some(shape));
    let Ok(once) = patched(&object, &patch) else { return };
    if !patch.to_string().contains('$') {
        // Directives aside, a patch asks for a state and not for a step. Elements without their key are taken where no list
        // was, and refused when there is one.
        if let Ok(twice) = patched(&once, &patch) {
            assert_eq!(twice, once, "twice is once");
        }
    }
    assert_eq!(patched(&once, &Value::Object(Map::new())).expect("nothing applies"), once, "nothing changes nothing");
}

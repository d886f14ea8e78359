//! Built-in kinds.

use crate::{input::Source, selectors::read_fields};
use orrery_machinery::descriptor::ResourceDescriptor;
use serde_json::Value;
use std::sync::LazyLock;

/// All built-in kinds.
pub(crate) static KINDS: LazyLock<Vec<ResourceDescriptor>> = LazyLock::new(orrery_kinds::resources);

/// The kind with this plural, for seeds that people read; else by the byte.
fn kind_of(source: &mut Source<'_>) -> &'static ResourceDescriptor {
    let named = String::from_utf8_lossy(source.clone().line()).into_owned();
    match KINDS.iter().find(|kind| kind.plural == named) {
        Some(kind) => {
            source.line();
            kind
        }
        None => source.choose(&KINDS),
    }
}

/// A line with the plural (or a byte) for the kind, then lines: an object, a change of it.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let kind = kind_of(&mut source);
    let (mut new, mut old) = (source.object(), source.object());
    if !prepare(kind, &mut new) {
        return;
    }
    let errors = kind.rules.validate(&new, None);
    if errors.is_empty() {
        let again = kind.rules.validate(&new, Some(&new));
        assert!(again.is_empty(), "a good object is a good change of itself: {again:?}");
    }
    drop(kind.rules.warnings(&new, None));
    show(kind, &new);
    let mut deleting = new.clone();
    kind.rules.prepare_delete(&mut deleting);
    if prepare(kind, &mut old) {
        kind.rules.prepare_update(&old, &mut new);
        drop(kind.rules.validate(&new, Some(&old)));
        drop(kind.rules.warnings(&new, Some(&old)));
        for subresource in &kind.subresources {
            drop(kind.rules.validate_part(&subresource.name, &new, &old));
        }
    }
}

/// Brings an object into shape as a request does; whether it is of its type.
fn prepare(kind: &ResourceDescriptor, object: &mut Value) -> bool {
    if kind.rules.decode(object).is_err() {
        return false;
    }
    let unknown = kind.rules.decode(object).expect("what was of its type is");
    assert!(unknown.is_empty(), "what is unknown goes at once: {unknown:?}");
    kind.rules.default(object);
    let once = object.clone();
    kind.rules.default(object);
    assert_eq!(*object, once, "defaulting twice is defaulting once");
    kind.rules.prepare_create(object);
    kind.rules.decode(object).expect("defaults are of their type");
    true
}

/// Tables and selectors are asked of whatever lies in the store.
fn show(kind: &ResourceDescriptor, object: &Value) {
    for column in &kind.columns {
        (column.cell)(object, 1_800_000_000);
    }
    read_fields(kind, object);
    let mut stored = object.clone();
    if kind.rules.on_write(&mut stored).is_ok() {
        kind.rules.on_read(&mut stored).expect("what was written can be read");
    }
}

//! From kubectl's apply on the client's side to apply on the server's.
//!
//! The client's side keeps what it applied in an annotation. For the manager `kubectl`, conflicts over fields that stand as the
//! annotation says are no conflicts; and the annotation is kept up to date, so that there is a way back.

use super::Resource;
use crate::{
    fields::FieldSet,
    typed::{compare::compare, extract::field_set, validate::validate},
};
use serde_json::{Map, Value};

/// The manager for which this is done.
pub(super) const MANAGER: &str = "kubectl";

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All annotations of an object together may have so many bytes.
const ANNOTATIONS_LIMIT_BYTES: usize = 256 * 1024;

/// What was applied on the client's side last.
pub(super) struct LastApplied(Value);

/// What the annotation of `live` says, where it makes sense.
pub(super) fn allowed(live: &Value, resource: &Resource<'_>) -> Option<LastApplied> {
    let text = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str().filter(|text| !text.is_empty())?;
    let applied: Value = serde_json::from_str(text).ok()?;
    let is_of_version = applied.get("apiVersion").and_then(Value::as_str) == Some(resource.api_version);
    (is_of_version && validate(&applied, resource.shape.view()).is_ok()).then_some(LastApplied(applied))
}

impl LastApplied {
    /// The fields that stand in `live` as they were applied.
    pub(super) fn fields<'a>(&'a self, live: &'a Value, resource: &Resource<'a>) -> Option<FieldSet<'a>> {
        let view = resource.shape.view();
        let (fields, change) = (field_set(&self.0, view).ok()?, compare(&self.0, live, view).ok()?);
        Some(fields.difference(&change.modified).difference(&change.added).difference(&change.removed))
    }
}

/// Sets the annotation of `object`, where it has one, to `config`.
pub(super) fn sync_last_applied(object: &mut Value, config: &Value) {
    let annotations = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    let Some(annotations) = annotations.and_then(Value::as_object_mut) else { return };
    if annotations.get(LAST_APPLIED).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = config.clone();
    let own = applied.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(own) = own.and_then(Value::as_object_mut) {
        own.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.to_owned(), format!("{applied}\n").into());
    if size_bytes(annotations) > ANNOTATIONS_LIMIT_BYTES {
        annotations.remove(LAST_APPLIED);
    }
}

fn size_bytes(annotations: &Map<String, Value>) -> usize {
    annotations.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum()
}

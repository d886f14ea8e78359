//! The entries of an object as its scale sub-resource sees them.
//!
//! `scale` is an object of its own (`autoscaling/v1 Scale`) whose `spec.replicas` is a field of the object. Who owns that field
//! owns `spec.replicas` of the scale, and the other way round.

use super::{
    entries,
    managers::{Kept, Operation},
};
use crate::fields::{FieldSet, PathElement};
use serde_json::Value;
use std::borrow::Cow;

/// The version of scales.
const SCALE_VERSION: &str = "autoscaling/v1";

/// Where the replicas are in a version of the object: the names on the way; none for a version without a scale.
pub type ReplicasPath<'a> = (&'a str, Option<&'a [&'a str]>);

fn replicas_in_scale() -> FieldSet<'static> {
    FieldSet::of(&[&["spec", "replicas"]])
}

fn path_in<'a>(mappings: &[ReplicasPath<'a>], api_version: &str) -> Option<Option<Vec<PathElement<'a>>>> {
    let (_, path) = mappings.iter().find(|(version, _)| *version == api_version)?;
    Some(path.map(|names| names.iter().map(|name| PathElement::field(name)).collect()))
}

/// The entries of the scale for the entries of its object.
///
/// # Errors
/// When the entries are malformed.
pub fn to_scale(of_object: &[Value], mappings: &[ReplicasPath<'_>]) -> Result<Vec<Value>, String> {
    let mut managers = entries::read(of_object, false)?;
    managers.retain(|manager| {
        path_in(mappings, &manager.api_version).flatten().is_some_and(|path| manager.set.contains(&path))
    });
    for manager in managers.iter_mut() {
        manager.set = replicas_in_scale();
        manager.api_version = SCALE_VERSION.into();
        manager.kept = Kept::Nothing;
    }
    Ok(entries::write(entries::plan(managers), Cow::Borrowed(&[])))
}

/// The entries of the object after a write to its scale: `of_scale` are those of the scale after it, `api_version` is the
/// object's.
///
/// # Errors
/// When entries are malformed.
pub fn to_object(
    of_object: &[Value],
    of_scale: &[Value],
    api_version: &str,
    mappings: &[ReplicasPath<'_>],
) -> Result<Vec<Value>, String> {
    let mut managers = entries::read(of_object, true)?;
    let mut scale = entries::read(of_scale, false)?;
    for manager in scale.iter_mut().filter(|manager| manager.id.operation == Operation::Update) {
        manager.id.api_version = api_version.into();
    }
    managers.retain(|manager| path_in(mappings, &manager.api_version).is_some());
    for manager in managers.iter_mut() {
        let Some(path) = path_in(mappings, &manager.api_version).flatten() else { continue };
        // Whoever does not own the scale's replicas any more has lost the object's.
        if manager.set.contains(&path) && scale.take(&manager.id).is_none() {
            let mut gone = FieldSet::new();
            gone.insert(&path);
            manager.lose(&gone);
        }
    }
    managers.retain(|manager| !manager.set.is_empty());
    let path = path_in(mappings, api_version).flatten();
    let replicas: Vec<PathElement<'_>> = ["spec", "replicas"].map(PathElement::field).into();
    for mut manager in scale {
        let Some(path) = path.as_ref().filter(|_| manager.set.contains(&replicas)) else { continue };
        manager.set = FieldSet::new();
        manager.set.insert(path);
        manager.api_version = api_version.into();
        // As upstream: an entry that is new by the scale has no time.
        manager.time = None;
        manager.kept = Kept::Nothing;
        managers.put(manager);
    }
    Ok(entries::write(entries::plan(managers), Cow::Borrowed(of_object)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VERSION: &str = "apps/v1";
    const T: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn who_scales_owns_the_replicas() {
        let path: &[&str] = &["spec", "replicas"];
        let mappings = [(VERSION, Some(path))];
        let entries = json!([{
            "manager": "me", "operation": "Apply", "apiVersion": VERSION, "time": T, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}, "f:text": {}}},
        }]);
        let entries = entries.as_array().unwrap();
        let scale = to_scale(entries, &mappings).unwrap();
        assert_eq!(scale[0]["apiVersion"], "autoscaling/v1");
        let same = to_object(entries, &scale, VERSION, &mappings).unwrap();
        assert_eq!(same, *entries);
        let taken = json!([{
            "manager": "scaler", "operation": "Update", "apiVersion": "autoscaling/v1", "subresource": "scale", "time": T,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }]);
        let after = to_object(entries, taken.as_array().unwrap(), VERSION, &mappings).unwrap();
        assert_eq!(after[0]["fieldsV1"], json!({"f:spec": {"f:text": {}}}));
        let expected = json!({
            "manager": "scaler", "operation": "Update", "apiVersion": VERSION, "subresource": "scale",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}},
        });
        assert_eq!(after[1], expected);
    }
}

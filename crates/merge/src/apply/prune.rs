//! What an applier no longer mentions goes, unless somebody else owns it.

use super::{
    Resource,
    managers::{Manager, ManagerId, Managers},
    versions::ConvertError,
};
use crate::{
    fields::FieldSet,
    typed::{extract::field_set, named::with_named_fields, remove::remove},
};
use orrery_machinery::shape::Shape;
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};

/// `merged` without what the applier owned by `last`, does not own now, and nobody else owns.
///
/// It takes away all that was owned, finds out what anybody owns of that or nobody ever did, and takes away the rest.
///
/// # Errors
/// When an object cannot be converted or has lists without keys.
pub(super) fn prune(
    merged: Value,
    managers: &Managers<'_>,
    applier: &ManagerId<'_>,
    last: &Manager<'_>,
    resource: &Resource<'_>,
) -> Result<Value, String> {
    let now = managers.get(applier);
    let still_owned = now.is_some_and(|now| now.api_version == last.api_version && last.set.is_subset(&now.set));
    if last.set.is_empty() || still_owned {
        return Ok(merged);
    }
    let start =
        Versioned { object: merged, shape: resource.shape.clone(), api_version: resource.api_version.to_owned() };
    let pruned = pruned_in(&start, managers, last, resource)?;
    Ok(pruned.unwrap_or(start).object)
}

/// None when a version that is needed is there no more; then nothing goes.
fn pruned_in(
    start: &Versioned,
    managers: &Managers<'_>,
    last: &Manager<'_>,
    resource: &Resource<'_>,
) -> Result<Option<Versioned>, String> {
    let Some(all) = start.to(&last.api_version, resource, "merged object to last applied version")? else {
        return Ok(None);
    };
    let owned = with_named_fields(&last.set, Some(all.shape.view()));
    let pruned = add_owned(&all, all.without(&owned), managers, resource)?;
    let Some(pruned) = pruned.to(&last.api_version, resource, "pruned object to last applied version")? else {
        return Ok(None);
    };
    let gone = all.named_set()?.difference(&pruned.named_set()?).intersection(&owned);
    let left = all.without(&gone);
    Ok(left.to(resource.api_version, resource, "pruned object")?.map(Cow::into_owned))
}

/// `pruned` with what of `all` any manager owns, version by version, that of the objects first.
fn add_owned(
    all: &Versioned,
    pruned: Versioned,
    managers: &Managers<'_>,
    resource: &Resource<'_>,
) -> Result<Versioned, String> {
    let mut owned: BTreeMap<(bool, &str), FieldSet<'_>> = BTreeMap::new();
    for manager in managers.iter() {
        let version: &str = &manager.api_version;
        let set = owned.entry((version != all.api_version, version)).or_default();
        *set = std::mem::take(set).union(manager.set.clone());
    }
    let (mut current, mut pruned) = (Cow::Borrowed(all), pruned);
    for ((_, version), owned) in owned {
        let Some(converted) = current.to(version, resource, "merged object")? else { continue };
        let Some(without) = pruned.to(version, resource, "pruned object")? else { continue };
        let owned = with_named_fields(&owned, Some(converted.shape.view()));
        let gone = converted.named_set()?.difference(&without.named_set()?.union(owned));
        let next = converted.without(&gone);
        if version != current.api_version {
            current = Cow::Owned(converted.into_owned());
        }
        pruned = next;
    }
    Ok(pruned)
}

/// An object in one of its versions.
#[derive(Clone)]
struct Versioned {
    object: Value,
    shape: Shape,
    api_version: String,
}

impl Versioned {
    /// None when there is no such version.
    fn to(&self, api_version: &str, resource: &Resource<'_>, what: &str) -> Result<Option<Cow<'_, Self>>, String> {
        if self.api_version == api_version {
            return Ok(Some(Cow::Borrowed(self)));
        }
        match resource.versions.convert(self.object.clone(), &self.api_version, api_version) {
            Ok((object, shape)) => Ok(Some(Cow::Owned(Self { object, shape, api_version: api_version.to_owned() }))),
            Err(ConvertError::NoSuchVersion(_)) => Ok(None),
            Err(ConvertError::Failed(why)) => Err(format!("failed to convert {what}: {why}")),
        }
    }

    fn without(&self, gone: &FieldSet<'_>) -> Self {
        let object = remove(&self.object, gone, self.shape.view());
        Self { object, shape: self.shape.clone(), api_version: self.api_version.clone() }
    }

    fn named_set(&self) -> Result<FieldSet<'_>, String> {
        let set = field_set(&self.object, self.shape.view()).map_err(|error| error.to_string())?;
        Ok(with_named_fields(&set, Some(self.shape.view())))
    }
}

//! What a write takes away from the other managers.

use super::{
    Resource,
    conflict::Conflicts,
    managers::{ManagerId, Managers},
    versions::ConvertError,
};
use crate::typed::{
    Problems,
    compare::{Comparison, compare},
    reconcile::reconcile,
};
use serde_json::Value;

/// Why owners cannot be told.
#[derive(Debug)]
pub(super) enum Failure {
    Conflicts(Conflicts),
    /// A text for the client.
    Other(String),
}

/// Takes fields that differ between `old` and `new` away from all managers but `writer`, and drops managers that own nothing
/// any more or wrote in versions that there are no more. What differs, as far as it counts, is returned.
///
/// # Errors
/// Without `force`, when another manager owns what was set.
pub(super) fn settle<'o>(
    managers: &mut Managers<'_>,
    old: &'o Value,
    new: &'o Value,
    resource: &Resource<'o>,
    writer: Option<&ManagerId<'_>>,
    force: bool,
) -> Result<Comparison<'o>, Failure> {
    let own = change(old, new, resource)?;
    let mut others = OtherVersions { old, new, resource, known: Vec::new() };
    let mut conflicts = Conflicts::default();
    let mut gone = Vec::new();
    for manager in managers.iter_mut().filter(|manager| writer != Some(&manager.id)) {
        let comparison = if manager.api_version == resource.api_version {
            &own
        } else {
            match others.get(&manager.api_version)? {
                Some(comparison) => comparison,
                None => {
                    gone.push(manager.id.clone());
                    continue;
                }
            }
        };
        if comparison.is_same() {
            continue;
        }
        if !force {
            let taken =
                manager.set.intersection(&comparison.modified).union(manager.set.intersection(&comparison.added));
            if !taken.is_empty() {
                conflicts.add(&manager.id, taken);
            }
            continue;
        }
        manager.lose(&comparison.modified);
        manager.lose(&comparison.added);
        manager.lose(&comparison.removed);
    }
    if !conflicts.is_empty() {
        return Err(Failure::Conflicts(conflicts));
    }
    if !force {
        // Nothing was taken, but what is no longer there is nobody's.
        for manager in managers.iter_mut().filter(|manager| writer != Some(&manager.id)) {
            let removed = if manager.api_version == resource.api_version {
                &own.removed
            } else {
                match others.get(&manager.api_version)? {
                    Some(comparison) => &comparison.removed,
                    None => continue,
                }
            };
            manager.lose(removed);
        }
    }
    managers.retain(|manager| !manager.set.is_empty() && !gone.contains(&manager.id));
    Ok(own)
}

/// What differs between `old` and `new`, as far as it counts.
///
/// # Errors
/// When they cannot be compared.
pub(super) fn change<'o>(old: &'o Value, new: &'o Value, resource: &Resource<'o>) -> Result<Comparison<'o>, Failure> {
    let describe = |problems: Problems| Failure::Other(format!("failed to compare objects: {problems}"));
    let own = compare(old, new, resource.shape.view()).map_err(describe)?;
    Ok(own.filtered(|set| resource.ignored.filter(set)))
}

/// Brings all sets up to date with the types as they are now.
pub(super) fn reconcile_all(managers: &mut Managers<'_>, live: &Value, resource: &Resource<'_>) -> Result<(), Failure> {
    for manager in managers.iter_mut() {
        let reconciled = if manager.api_version == resource.api_version {
            reconcile(&manager.set, resource.shape.view())
        } else {
            match resource.versions.convert(live.clone(), resource.api_version, &manager.api_version) {
                Ok((_, shape)) => reconcile(&manager.set, shape.view()),
                Err(ConvertError::NoSuchVersion(_)) => {
                    manager.replace(|_| crate::fields::FieldSet::new());
                    None
                }
                Err(ConvertError::Failed(why)) => return Err(Failure::Other(why)),
            }
        };
        if let Some(set) = reconciled {
            manager.replace(|_| set);
        }
    }
    managers.retain(|manager| !manager.set.is_empty());
    Ok(())
}

/// Comparisons in the versions that other managers wrote in, each made once.
struct OtherVersions<'r, 'o> {
    old: &'o Value,
    new: &'o Value,
    resource: &'r Resource<'o>,
    known: Vec<(String, Option<Comparison<'static>>)>,
}

impl OtherVersions<'_, '_> {
    /// None when there is no such version.
    fn get(&mut self, api_version: &str) -> Result<Option<&Comparison<'static>>, Failure> {
        let place = match self.known.iter().position(|(known, _)| known == api_version) {
            Some(place) => place,
            None => {
                let comparison = self.make(api_version)?;
                self.known.push((api_version.to_owned(), comparison));
                self.known.len() - 1
            }
        };
        Ok(self.known[place].1.as_ref())
    }

    fn make(&self, api_version: &str) -> Result<Option<Comparison<'static>>, Failure> {
        let convert = |object: &Value, which: &str| match self.resource.versions.convert(
            object.clone(),
            self.resource.api_version,
            api_version,
        ) {
            Ok(converted) => Ok(Some(converted)),
            Err(ConvertError::NoSuchVersion(_)) => Ok(None),
            Err(ConvertError::Failed(why)) => Err(Failure::Other(format!("failed to convert {which} object: {why}"))),
        };
        let Some((old, shape)) = convert(self.old, "old")? else { return Ok(None) };
        let Some((new, _)) = convert(self.new, "new")? else { return Ok(None) };
        let comparison = compare(&old, &new, shape.view());
        let comparison = comparison.map_err(|error| Failure::Other(format!("failed to compare objects: {error}")))?;
        Ok(Some(comparison.filtered(|set| self.resource.ignored.filter(set)).into_owned()))
    }
}

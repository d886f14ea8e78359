//! Managers and what they own.

use crate::fields::FieldSet;
use std::{borrow::Cow, cmp::Ordering};

/// How a manager wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What makes an entry: a manager that applies has one for each sub-resource, whatever the version; one that updates has
/// one for each version, too. The order is that of conflicts in an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerId<'a> {
    pub(super) manager: Cow<'a, str>,
    pub(super) operation: Operation,
    /// Empty for appliers.
    pub(super) api_version: Cow<'a, str>,
    pub(super) subresource: Cow<'a, str>,
}

impl<'a> ManagerId<'a> {
    pub(super) fn new(manager: &'a str, operation: Operation, api_version: &'a str, subresource: &'a str) -> Self {
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        Self { manager: manager.into(), operation, api_version: api_version.into(), subresource: subresource.into() }
    }
}

/// What of an entry is still as it was read, so that it need not be written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All, at this place.
    Whole(usize),
    /// The fields, at this place.
    Fields(usize),
    Nothing,
}

impl Kept {
    /// What is left of it when the time or the version changes.
    pub(super) fn fields_only(self) -> Self {
        match self {
            Self::Whole(place) | Self::Fields(place) => Self::Fields(place),
            Self::Nothing => Self::Nothing,
        }
    }
}

/// An entry.
#[derive(Debug, Clone)]
pub(super) struct Manager<'a> {
    pub(super) id: ManagerId<'a>,
    /// The version that the fields are of.
    pub(super) api_version: Cow<'a, str>,
    /// RFC 3339, UTC, whole seconds: texts of this form stand in the order of time.
    pub(super) time: Option<Cow<'a, str>>,
    pub(super) set: FieldSet<'a>,
    pub(super) kept: Kept,
}

impl<'a> Manager<'a> {
    /// Takes `gone` away from what the manager owns.
    pub(super) fn lose(&mut self, gone: &FieldSet<'_>) {
        if self.set.intersects(gone) {
            self.replace(|set| set.difference(gone));
        }
    }

    pub(super) fn replace(&mut self, change: impl FnOnce(FieldSet<'a>) -> FieldSet<'a>) {
        self.set = change(std::mem::take(&mut self.set));
        self.kept = Kept::Nothing;
    }
}

/// All entries of an object, each id once.
#[derive(Debug, Clone, Default)]
pub(super) struct Managers<'a>(Vec<Manager<'a>>);

impl<'a> Managers<'a> {
    /// Adds an entry, or puts it in the place of the one with the same id.
    pub(super) fn put(&mut self, manager: Manager<'a>) {
        match self.0.iter_mut().find(|other| other.id == manager.id) {
            Some(other) => *other = manager,
            None => self.0.push(manager),
        }
    }

    pub(super) fn take(&mut self, id: &ManagerId<'_>) -> Option<Manager<'a>> {
        let place = self.0.iter().position(|manager| manager.id == *id)?;
        Some(self.0.swap_remove(place))
    }

    pub(super) fn get(&self, id: &ManagerId<'_>) -> Option<&Manager<'a>> {
        self.0.iter().find(|manager| manager.id == *id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Manager<'a>> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Manager<'a>> {
        self.0.iter_mut()
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Manager<'a>) -> bool) {
        self.0.retain(keep);
    }

    /// The order in which entries stand in an object.
    pub(super) fn sort(&mut self) {
        self.0.sort_by(|left, right| {
            let by_operation = left.id.operation.cmp(&right.id.operation);
            let by_name = || left.id.manager.cmp(&right.id.manager);
            let by_version = || left.api_version.cmp(&right.api_version);
            let by_subresource = || left.id.subresource.cmp(&right.id.subresource);
            let first = by_operation.then_with(|| order_in_time(left, right));
            first.then_with(by_name).then_with(by_version).then_with(by_subresource)
        });
    }
}

/// Those without a time first.
pub(super) fn order_in_time(left: &Manager<'_>, right: &Manager<'_>) -> Ordering {
    left.time.cmp(&right.time)
}

impl<'a> IntoIterator for Managers<'a> {
    type Item = Manager<'a>;
    type IntoIter = std::vec::IntoIter<Manager<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

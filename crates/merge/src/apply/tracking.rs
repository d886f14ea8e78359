//! Who owns what after a write that is no apply.

use super::{
    Resource, Writer,
    cap::cap,
    entries,
    managers::{Kept, Manager, ManagerId, Managers, Operation},
    quick,
    settle::{Failure, reconcile_all, settle},
    stripped,
};
use crate::typed::compare::Comparison;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A write that is no apply.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// The object as it is stored; none when it is being created.
    pub live: Option<&'a Value>,
    /// What is written.
    pub resource: Resource<'a>,
    /// Who writes.
    pub writer: Writer<'a>,
}

/// Brings `metadata.managedFields` of `object`, which is to be stored, up to date.
///
/// Entries that the client sent are taken where they make sense, so that it may edit them; an empty list (or one empty entry)
/// forgets all owners, and nothing is tracked until the next apply. On a sub-resource the stored ones are taken whatever was
/// sent.
///
/// It never fails: the entries of before stay where new ones cannot be told, and the reason is returned for a log.
pub fn track(update: &Update<'_>, object: &mut Value) -> Option<String> {
    let sent = entries::take_entries(object);
    let stored = update.live.and_then(entries::entries_of).map(Vec::as_slice).unwrap_or_default();
    let may_set = update.writer.subresource.is_empty();
    let (tracked, problem) = match sent {
        Some(sent) if may_set && entries::is_reset(&sent) => {
            (by_entries(update, object, Cow::Borrowed(&[]), false), None)
        }
        Some(sent) if sent == stored => (by_entries(update, object, Cow::Owned(sent), true), None),
        Some(sent) if may_set => match entries::read(&sent, false).map(|managers| managers.is_empty()) {
            Ok(false) => (by_entries(update, object, Cow::Owned(sent), false), None),
            Ok(true) => (by_entries(update, object, Cow::Borrowed(stored), true), None),
            Err(error) => (by_entries(update, object, Cow::Borrowed(stored), true), Some(error)),
        },
        _ => (by_entries(update, object, Cow::Borrowed(stored), true), None),
    };
    let (entries, problem) = match tracked {
        Ok(entries) => (entries, problem),
        Err(error) => (stored.to_vec(), Some(error)),
    };
    entries::put_entries(object, entries);
    problem
}

/// The entries for `object` when those of before are `source`; `keep` when these are known to be well written.
pub(super) fn by_entries(
    update: &Update<'_>,
    object: &Value,
    source: Cow<'_, [Value]>,
    keep: bool,
) -> Result<Vec<Value>, String> {
    let is_create = update.live.is_none_or(|live| live["metadata"]["uid"].as_str().unwrap_or_default().is_empty());
    if source.is_empty() && !is_create {
        return Ok(Vec::new());
    }
    let nothing = empty_object(&update.resource);
    let live = update.live.unwrap_or(&nothing);
    if keep {
        match quick::plan(update, live, object, &source) {
            Some(quick::Quick::Unchanged) => return Ok(source.into_owned()),
            Some(quick::Quick::Changed(plan)) => return Ok(entries::write(plan, source)),
            None => {}
        }
    }
    // Entries that cannot be read are forgotten, as upstream does.
    let mut managers = entries::read(&source, keep).unwrap_or_default();
    if managers.is_empty() && !is_create {
        return Ok(Vec::new());
    }
    write_down(&mut managers, live, object, &update.resource, &update.writer).map_err(|failure| match failure {
        Failure::Other(error) => error,
        Failure::Conflicts(_) => "conflicts in spite of force".to_owned(),
    })?;
    let plan = entries::plan(managers);
    Ok(entries::write(plan, source))
}

/// What an object is compared with that is being created.
pub(super) fn empty_object(resource: &Resource<'_>) -> Value {
    json!({"apiVersion": resource.api_version, "kind": resource.kind})
}

/// Makes what differs between `live` and `object` the writer's.
pub(super) fn write_down<'a>(
    managers: &mut Managers<'a>,
    live: &Value,
    object: &Value,
    resource: &Resource<'_>,
    writer: &Writer<'a>,
) -> Result<(), Failure> {
    reconcile_all(managers, live, resource)?;
    let change = settle(managers, live, object, resource, None, true)?;
    give(managers, change, resource, writer);
    cap(managers);
    Ok(())
}

/// Makes what was added and modified the writer's.
pub(super) fn give<'a>(
    managers: &mut Managers<'a>,
    change: Comparison<'_>,
    resource: &Resource<'_>,
    writer: &Writer<'a>,
) {
    let set = change.modified.union(change.added).difference(stripped());
    if set.is_empty() {
        return;
    }
    let id = id_of(writer, Operation::Update, resource.api_version);
    let set = match managers.take(&id) {
        Some(previous) => previous.set.union(set.into_owned()),
        None => set.into_owned(),
    };
    managers.put(Manager {
        api_version: id.api_version.clone(),
        id,
        time: Some(writer.now.into()),
        set,
        kept: Kept::Nothing,
    });
}

/// The entry that a writer's write belongs to.
pub(super) fn id_of<'a>(writer: &Writer<'a>, operation: Operation, api_version: &str) -> ManagerId<'a> {
    let manager = if writer.manager.is_empty() { "unknown" } else { writer.manager };
    let api_version = if operation == Operation::Apply { String::new() } else { api_version.to_owned() };
    ManagerId {
        manager: manager.into(),
        operation,
        api_version: api_version.into(),
        subresource: writer.subresource.into(),
    }
}

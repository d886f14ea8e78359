//! `metadata.managedFields` as it stands in objects.

use super::managers::{Kept, Manager, ManagerId, Managers, Operation};
use crate::fields::FieldSet;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The entries of an object; none when it has no list of them.
pub(super) fn entries_of(object: &Value) -> Option<&Vec<Value>> {
    object.get("metadata")?.get("managedFields")?.as_array()
}

/// Takes the entries out of an object.
pub(super) fn take_entries(object: &mut Value) -> Option<Vec<Value>> {
    match object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")? {
        Value::Array(entries) => Some(entries),
        _ => None,
    }
}

/// Puts entries into an object; an empty list is left out.
pub(super) fn put_entries(object: &mut Value, entries: Vec<Value>) {
    let Some(object) = object.as_object_mut() else { return };
    if entries.is_empty() {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        return;
    }
    let metadata = object.entry("metadata").or_insert_with(|| Map::new().into());
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), entries.into());
    }
}

/// Whether a client asks to forget all owners: an empty list, or one with one empty entry.
pub(super) fn is_reset(entries: &[Value]) -> bool {
    let is_blank = |entry: &Value| entry.as_object().is_some_and(|map| map.values().all(is_zero));
    entries.is_empty() || (entries.len() == 1 && is_blank(&entries[0]))
}

fn is_zero(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// Reads entries. Where `keep`, those that don't change will be written as they stand.
///
/// # Errors
/// When one is malformed.
pub(super) fn read(entries: &[Value], keep: bool) -> Result<Managers<'_>, String> {
    let mut managers = Managers::default();
    for (place, entry) in entries.iter().enumerate() {
        let kept = if keep { Kept::Whole(place) } else { Kept::Nothing };
        let mut manager = read_head(entry, place, kept)?;
        manager.set = read_fields(entry, place)?;
        managers.put(manager);
    }
    Ok(managers)
}

/// Reads all of an entry but its fields.
///
/// # Errors
/// When it is malformed.
pub(super) fn read_head(entry: &Value, place: usize, kept: Kept) -> Result<Manager<'_>, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType") {
        "FieldsV1" => {}
        "" => return Err(format!("missing fieldsType in managed fields entry {place}")),
        other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {place}")),
    }
    let id = ManagerId::new(text("manager"), operation, api_version, text("subresource"));
    let time = Some(text("time")).filter(|time| !time.is_empty()).map(normal_time).transpose()?;
    Ok(Manager { id, api_version: api_version.into(), time, set: FieldSet::new(), kept })
}

/// Reads the fields of an entry.
///
/// # Errors
/// When they are malformed.
pub(super) fn read_fields(entry: &Value, place: usize) -> Result<FieldSet<'_>, String> {
    match entry.get("fieldsV1") {
        None | Some(Value::Null) => Ok(FieldSet::new()),
        Some(fields) => {
            FieldSet::from_v1(fields).map_err(|error| format!("error decoding managed fields entry {place}: {error}"))
        }
    }
}

/// A time as it is kept: UTC, whole seconds.
fn normal_time(text: &str) -> Result<Cow<'_, str>, String> {
    if is_normal(text) {
        return Ok(text.into());
    }
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("no time: {text:?}: {error}"))?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into())
}

/// Whether a text has the form `2026-01-02T03:04:05Z`.
fn is_normal(text: &str) -> bool {
    let form = b"dddd-dd-ddTdd:dd:ddZ";
    let fits = |(byte, form): (&u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form };
    text.len() == form.len() && text.as_bytes().iter().zip(form).all(fits)
}

/// An entry that is to be written.
pub(super) enum Planned {
    /// As it stands at this place.
    Keep(usize),
    /// Anew, with the fields of the entry at this place.
    WithFieldsOf(Map<String, Value>, usize),
    /// Anew.
    New(Map<String, Value>),
}

/// What has to be written, in its order, without borrowing from where it was read.
pub(super) fn plan(mut managers: Managers<'_>) -> Vec<Planned> {
    managers.sort();
    let planned = |manager: Manager<'_>| match manager.kept {
        Kept::Whole(place) => Planned::Keep(place),
        Kept::Fields(place) => Planned::WithFieldsOf(head(&manager), place),
        Kept::Nothing => {
            let mut entry = head(&manager);
            entry.insert("fieldsV1".to_owned(), manager.set.to_v1());
            Planned::New(entry)
        }
    };
    managers.into_iter().map(planned).collect()
}

fn head(manager: &Manager<'_>) -> Map<String, Value> {
    let mut entry = Map::new();
    let mut put = |name: &str, text: &str| {
        entry.insert(name.to_owned(), text.into());
    };
    put("apiVersion", &manager.api_version);
    put("fieldsType", "FieldsV1");
    put("manager", &manager.id.manager);
    put("operation", manager.id.operation.as_str());
    if !manager.id.subresource.is_empty() {
        put("subresource", &manager.id.subresource);
    }
    if let Some(time) = &manager.time {
        put("time", time);
    }
    entry
}

/// Writes what was planned, taking from `source` what stays. Each place is asked for once at most.
pub(super) fn write(plan: Vec<Planned>, mut source: Cow<'_, [Value]>) -> Vec<Value> {
    let mut take = |place: usize, field: Option<&str>| {
        let entry = match &mut source {
            Cow::Owned(entries) => std::mem::take(&mut entries[place]),
            Cow::Borrowed(entries) => match field {
                None => entries[place].clone(),
                Some(field) => return entries[place].get(field).cloned().unwrap_or_else(|| Map::new().into()),
            },
        };
        match (field, entry) {
            (Some(field), Value::Object(mut entry)) => entry.remove(field).unwrap_or_else(|| Map::new().into()),
            (_, entry) => entry,
        }
    };
    let entry = |planned: Planned| match planned {
        Planned::Keep(place) => take(place, None),
        Planned::New(entry) => entry.into(),
        Planned::WithFieldsOf(mut entry, place) => {
            entry.insert("fieldsV1".to_owned(), take(place, Some("fieldsV1")));
            entry.into()
        }
    };
    plan.into_iter().map(entry).collect()
}

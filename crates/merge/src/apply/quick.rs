//! The usual write: it changes a few fields, and most entries have nothing to do with them.
//!
//! Whether an entry is concerned can be told from the text of its keys, if it was written by us; then it stays as it is without
//! being read. What is rare (entries of other versions, more entries than are kept) is left to the long way, which reads all.

use super::{
    Update, cap,
    entries::{self, Planned},
    managers::{Kept, Manager, Managers, Operation},
    settle::change,
    tracking::{give, id_of},
};
use crate::typed::reconcile::reconcile;
use serde_json::Value;

/// What a write makes of the entries.
pub(super) enum Quick {
    Unchanged,
    Changed(Vec<Planned>),
}

/// What the write of `object` makes of the entries `source`; none when the long way has to be gone.
pub(super) fn plan(update: &Update<'_>, live: &Value, object: &Value, source: &[Value]) -> Option<Quick> {
    let resource = &update.resource;
    let heads = source.iter().enumerate().map(|(place, entry)| entries::read_head(entry, place, Kept::Whole(place)));
    let heads: Vec<Manager<'_>> = heads.collect::<Result<_, _>>().ok()?;
    if heads.iter().any(|head| head.api_version != resource.api_version) {
        return None;
    }
    let change = change(live, object, resource).ok()?;
    if change.is_same() {
        return Some(Quick::Unchanged);
    }
    let own = id_of(&update.writer, Operation::Update, resource.api_version);
    let updates = heads.iter().filter(|head| head.id.operation == Operation::Update).count();
    if updates >= cap::UPDATE_MANAGERS_LIMIT && !heads.iter().any(|head| head.id == own) {
        return None;
    }
    let (mut managers, mut untouched) = (Managers::default(), Vec::new());
    for (place, mut head) in heads.into_iter().enumerate() {
        let fields = source[place].get("fieldsV1").unwrap_or(&Value::Null);
        let is_touched = || [&change.modified, &change.added, &change.removed].iter().any(|set| set.touches(fields));
        if head.id != own && !is_touched() {
            untouched.push(head);
            continue;
        }
        head.set = entries::read_fields(&source[place], place).ok()?;
        if let Some(set) = reconcile(&head.set, resource.shape.view()) {
            head.replace(|_| set);
        }
        for gone in [&change.modified, &change.added, &change.removed] {
            head.lose(gone);
        }
        if !head.set.is_empty() {
            managers.put(head);
        }
    }
    give(&mut managers, change, resource, &update.writer);
    untouched.into_iter().for_each(|manager| managers.put(manager));
    Some(Quick::Changed(entries::plan(managers)))
}

//! A write that changes nothing is none.

use super::entries::entries_of;
use crate::typed::is_equal;
use serde_json::{Map, Value};

/// Gives the entries of `new` the times of those of `old` where the two objects differ in nothing else, so that a write which
/// changes nothing can be seen to be none. Call it when the object is otherwise as it is to be stored.
pub fn keep_times(old: &Value, new: &mut Value) {
    let (Some(before), Some(after)) = (entries_of(old), entries_of(new)) else { return };
    let time = |entry: &Value| entry.get("time").cloned();
    let differs = before.len() == after.len() && before.iter().zip(after).any(|(old, new)| time(old) != time(new));
    if !differs || !before.iter().zip(after).all(|(old, new)| is_same_but(old, new, &["time"])) {
        return;
    }
    let times: Vec<Option<Value>> = before.iter().map(time).collect();
    if !is_same_elsewhere(old, new) {
        return;
    }
    let entries = new.get_mut("metadata").and_then(|metadata| metadata.get_mut("managedFields"));
    for (entry, time) in entries.and_then(Value::as_array_mut).into_iter().flatten().zip(times) {
        let Some(entry) = entry.as_object_mut() else { continue };
        match time {
            Some(time) => entry.insert("time".to_owned(), time),
            None => entry.remove("time"),
        };
    }
}

/// Whether two objects differ in nothing but their managed fields.
fn is_same_elsewhere(old: &Value, new: &Value) -> bool {
    is_same_but(old, new, &["metadata"]) && is_same_but(&old["metadata"], &new["metadata"], &["managedFields"])
}

fn is_same_but(old: &Value, new: &Value, except: &[&str]) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old == new };
    let count = |map: &Map<String, Value>| map.keys().filter(|name| !except.contains(&name.as_str())).count();
    count(old) == count(new)
        && old
            .iter()
            .filter(|(name, _)| !except.contains(&name.as_str()))
            .all(|(name, value)| new.get(name).is_some_and(|other| is_equal(value, other)))
}

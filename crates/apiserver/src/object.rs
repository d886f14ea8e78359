//! Small readings and writings of objects as JSON, beyond those of `orrery_machinery::meta`.

use orrery_machinery::meta;
use serde_json::Value;

/// The text at a JSON pointer; empty when unset.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The elements of the list at a JSON pointer; none when unset.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Sets or, with none, removes a field of `metadata`.
pub(crate) fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    let metadata = meta::metadata_mut(object);
    match value {
        Some(value) => metadata.insert(field.to_owned(), value),
        None => metadata.remove(field),
    };
}

/// Sets or, with none or null, removes a top-level field.
pub(crate) fn set_field(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(object) = object.as_object_mut() {
        match value {
            None | Some(Value::Null) => object.remove(field),
            Some(value) => object.insert(field.to_owned(), value),
        };
    }
}

/// A time (Unix seconds) as `metav1.Time`: RFC 3339 in UTC with whole seconds.
pub(crate) fn time_text(unix_seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The present time, Unix seconds.
pub(crate) fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The present time as `metav1.Time`.
pub(crate) fn now_text() -> String {
    time_text(now_seconds())
}

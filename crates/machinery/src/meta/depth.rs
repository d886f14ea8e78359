//! How deep objects may be nested.

use serde_json::Value;

/// Most levels of lists and maps in an object. Readers of JSON commonly stop at 128, and objects come to them within lists and
/// events; what could be written and not be read again would stop everybody who lists it.
pub const DEPTH_LIMIT: usize = 110;

/// Whether `value` has more than `levels` levels of lists and maps.
#[must_use]
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    let below = |value: &Value| match levels.checked_sub(1) {
        Some(levels) => is_deeper(value, levels),
        None => true,
    };
    match value {
        Value::Array(list) => levels == 0 || list.iter().any(below),
        Value::Object(map) => levels == 0 || map.values().any(below),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// How many levels `value` has.
#[must_use]
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_and_maps_are_levels() {
        let table = [(json!(1), 0), (json!([]), 1), (json!({"a": 1}), 1), (json!([[1], {"a": {"b": []}}]), 4)];
        for (value, levels) in table {
            assert_eq!(depth(&value), levels, "{value}");
            assert!(!is_deeper(&value, levels), "{value}");
            assert_eq!(levels.checked_sub(1).is_some_and(|fewer| is_deeper(&value, fewer)), levels > 0, "{value}");
        }
    }
}

//! Paths of fields that a type does not know.

use serde_json::Value;

/// A path as the decoder gives it (`spec.?.containers.0.x` or `spec.containers[0].x`), in its parts.
fn segments(path: &str) -> Vec<&str> {
    path.split(['.', '[', ']']).filter(|part| !part.is_empty() && *part != "?").collect()
}

/// A path as upstream writes it: `spec.containers[0].x`.
pub(super) fn display(path: &str) -> String {
    let mut out = String::new();
    for part in segments(path) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str(&format!("[{part}]"));
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(part);
        }
    }
    out
}

/// Removes the field at a path.
pub(super) fn remove(value: &mut Value, path: &str) {
    remove_segments(value, &segments(path));
}

/// Removes the field at a path. Keys may hold dots: the longest key that fits is taken.
fn remove_segments(value: &mut Value, path: &[&str]) {
    match value {
        Value::Object(map) => {
            for taken in (1..=path.len()).rev() {
                let key = path[..taken].join(".");
                if !map.contains_key(&key) {
                    continue;
                }
                if taken == path.len() {
                    map.remove(&key);
                } else if let Some(inner) = map.get_mut(&key) {
                    remove_segments(inner, &path[taken..]);
                }
                return;
            }
        }
        Value::Array(list) => {
            if let [first, rest @ ..] = path
                && let Some(inner) = first.parse::<usize>().ok().and_then(|index| list.get_mut(index))
            {
                remove_segments(inner, rest);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_are_removed_and_shown_as_upstream_shows_them() {
        let mut value = json!({"spec": {"containers": [{"name": "a", "foo": 1}]}, "x.y": 2, "keep": 3});
        remove(&mut value, "spec.?.containers.0.foo");
        remove(&mut value, "x.y");
        assert_eq!(value, json!({"spec": {"containers": [{"name": "a"}]}, "keep": 3}));
        assert_eq!(display("spec.?.containers.0.foo"), "spec.containers[0].foo");
    }
}

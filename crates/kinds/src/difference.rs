//! What differs between two versions of a part of an object, for the messages that say what may not change.

use serde_json::Value;

/// Fields shown at most.
const SHOWN: usize = 20;

/// `why`, and a line for each field that differs: `-` what it was, `+` what it is to be. Upstream shows the two as Go
/// would write them, in a form that its authors do not keep stable.
pub(crate) fn describe(why: &str, old: &Value, new: &Value) -> String {
    let mut lines = Vec::new();
    collect("", old, new, &mut lines);
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    let mut text = format!("{why}\n{}", lines.concat());
    if more > 0 {
        text.push_str(&format!("  ... and {more} more\n"));
    }
    text
}

fn collect(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
            for name in names {
                let field = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(&field, &old[name], &new[name], lines);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                collect(&format!("{path}[{index}]"), before, after, lines);
            }
        }
        _ => {
            let mut line = String::new();
            for (sign, value) in [('-', old), ('+', new)] {
                if !value.is_null() {
                    line.push_str(&format!("{sign} {path}: {value}\n"));
                }
            }
            lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_that_differs_has_a_line() {
        let old = json!({"a": 1, "list": [{"b": "x"}], "gone": true, "same": 1});
        let new = json!({"a": 2, "list": [{"b": "y"}], "same": 1});
        assert_eq!(
            describe("no", &old, &new),
            "no\n- a: 1\n+ a: 2\n- gone: true\n- list[0].b: \"x\"\n+ list[0].b: \"y\"\n"
        );
        let many: Value =
            (0..25).map(|index| (format!("f{index:02}"), json!(index))).collect::<serde_json::Map<_, _>>().into();
        assert!(describe("no", &json!({}), &many).ends_with("... and 5 more\n"));
    }
}

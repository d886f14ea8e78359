//! Values as upstream's errors show them, which is as Go prints them.

use crate::fields::go_quote;
use serde_json::Value;

/// As `%v`.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(name, value)| format!("{name}:{}", shown(value))).collect();
            entries.sort_unstable();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// As `%#v`.
pub(super) fn spelled(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => go_quote(text),
        Value::Array(list) => {
            format!("[]interface {{}}{{{}}}", list.iter().map(spelled).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let mut entries: Vec<_> =
                map.iter().map(|(name, value)| format!("{}:{}", go_quote(name), spelled(value))).collect();
            entries.sort_unstable();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}

/// As `%T`.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

//! Values as JSON, for what mutating policies make.

use super::error::EvalError;
use super::lib_core::as_string;
use super::value::{Key, MapVal, Object, Val};
use serde_json::{Map, Value};

/// How deep values may be nested.
const MAX_DEPTH: usize = 100;

impl Val<'_> {
    /// This value as JSON. Objects have to be named by where they stand: in `Object{spec: Object.spec{}}` nothing else
    /// fits. Each value that is made takes one of `fuel`.
    ///
    /// # Errors
    /// What has no place in JSON, is named wrongly, too deep or too much.
    pub fn to_json(&self, fuel: &mut u64) -> Result<Value, EvalError> {
        let name = match self {
            Val::Object(Object::Made(name, _)) => name.to_string(),
            _ => String::new(),
        };
        convert(self, &name, 0, fuel)
    }
}

fn convert(value: &Val<'_>, path: &str, depth: usize, fuel: &mut u64) -> Result<Value, EvalError> {
    *fuel = fuel.checked_sub(1).ok_or(EvalError::CostExceeded)?;
    if depth > MAX_DEPTH {
        return Err(EvalError::TooDeep);
    }
    let below = |value: &Val<'_>, path: &str, fuel: &mut u64| convert(value, path, depth + 1, fuel);
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(flag) => (*flag).into(),
        Val::Int(value) => (*value).into(),
        Val::Uint(value) => (*value).into(),
        Val::Double(value) => (*value).into(),
        Val::String(text) => {
            *fuel = fuel.checked_sub(text.len() as u64 / 10).ok_or(EvalError::CostExceeded)?;
            (**text).into()
        }
        Val::Bytes(bytes) => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(bytes).into()
        }
        Val::Duration(_) | Val::Timestamp(_) => as_string(value)?.into(),
        Val::List(list) => {
            let items = list.iter().map(|item| below(&item?, path, fuel));
            items.collect::<Result<Vec<_>, _>>()?.into()
        }
        Val::Map(map) => {
            let mut out = Map::new();
            for key in map.keys() {
                let Key::String(name) = &key else {
                    return Err(EvalError::new("only strings can be keys of an object"));
                };
                *fuel = fuel.checked_sub(name.len() as u64 / 10).ok_or(EvalError::CostExceeded)?;
                if let Some(value) = map.get(&key) {
                    out.insert(name.to_string(), below(&value?, path, fuel)?);
                }
            }
            out.into()
        }
        // All of it, also what expressions don't see.
        Val::Object(Object::Json(map, _)) => below(&Val::Map(MapVal::Json(map, None)), "", fuel)?,
        Val::Object(Object::Made(name, fields)) => {
            if !path.is_empty() && **name != *path && &**name != "JSONPatch" {
                return Err(EvalError::new(format!(
                    "unexpected type name {name:?}, expected {path:?}, which matches field name path from root Object type"
                )));
            }
            let mut out = Map::new();
            for (field, value) in fields.iter() {
                // What stands in a patch's value starts anew.
                let inner = if &**name == "JSONPatch" { String::new() } else { format!("{name}.{field}") };
                out.insert(super::decl::unescape(field), below(value, &inner, fuel)?);
            }
            out.into()
        }
        Val::Optional(None) => Value::Null,
        Val::Optional(Some(value)) => below(value, path, fuel)?,
        Val::Type(_) | Val::Opaque(_) => {
            return Err(EvalError::new(format!("a value of type {} can't be part of an object", value.type_name())));
        }
    })
}

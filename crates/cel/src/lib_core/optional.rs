//! Optional values.

use super::super::ast::Call;
use super::super::error::EvalError;
use super::super::function::Meter;
use super::super::value::{Object, Val};
use super::Ran;

pub(super) fn optional_of<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::some(args[0].clone()))
}

pub(super) fn optional_none<'a>(_: &mut Meter, _: &Call, _: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Optional(None))
}

pub(super) fn optional_of_non_zero<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let zero = match &args[0] {
        Val::Null => true,
        Val::Bool(flag) => !flag,
        Val::Int(value) => *value == 0,
        Val::Uint(value) => *value == 0,
        Val::Double(value) => *value == 0.0,
        Val::Duration(nanos) => *nanos == 0,
        Val::String(_) | Val::Bytes(_) | Val::List(_) | Val::Map(_) => args[0].size() == 0,
        Val::Optional(inner) => inner.is_none(),
        Val::Object(Object::Json(map, _)) => map.is_empty(),
        Val::Object(Object::Made(_, fields)) => fields.is_empty(),
        Val::Timestamp(_) | Val::Type(_) | Val::Opaque(_) => false,
    };
    Ok(if zero { Val::Optional(None) } else { Val::some(args[0].clone()) })
}

fn optional<'r, 'a>(value: &'r Val<'a>) -> Result<Option<&'r Val<'a>>, EvalError> {
    match value {
        Val::Optional(inner) => Ok(inner.as_deref()),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn has_value<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(optional(&args[0])?.is_some()))
}

pub(super) fn value<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    optional(&args[0])?.cloned().ok_or_else(|| EvalError::new("optional.none() dereference"))
}

pub(super) fn or<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(if optional(&args[0])?.is_some() { args[0].clone() } else { args[1].clone() })
}

pub(super) fn or_value<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(optional(&args[0])?.unwrap_or(&args[1]).clone())
}

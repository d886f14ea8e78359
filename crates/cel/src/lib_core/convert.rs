//! Conversions between types.

use super::super::ast::Call;
use super::super::error::EvalError;
use super::super::function::Meter;
use super::super::lib_time;
use super::super::value::{Opaque, Val};
use super::Ran;
use crate::number::go_float;

fn conversion(what: &str) -> impl Fn() -> EvalError + '_ {
    move || EvalError::new(format!("type conversion error from 'string' to '{what}'"))
}

pub(super) fn to_int<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Int(value) => Ok(Val::Int(*value)),
        Val::Uint(value) => i64::try_from(*value).map(Val::Int).map_err(|_| EvalError::overflow()),
        Val::Double(value) if value.abs() < 9.223_372_036_854_775e18 => Ok(Val::Int(*value as i64)),
        Val::Double(_) => Err(EvalError::overflow()),
        Val::String(text) => text.parse().map(Val::Int).map_err(|_| conversion("int")()),
        Val::Timestamp(time) => Ok(Val::Int(time.as_second())),
        Val::Duration(nanos) => Ok(Val::Int(*nanos)),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn to_uint<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let overflow = || EvalError::new("unsigned integer overflow");
    match &args[0] {
        Val::Uint(value) => Ok(Val::Uint(*value)),
        Val::Int(value) => u64::try_from(*value).map(Val::Uint).map_err(|_| overflow()),
        Val::Double(value) if *value >= 0.0 && *value < 1.844_674_407_370_955e19 => Ok(Val::Uint(*value as u64)),
        Val::Double(_) => Err(overflow()),
        Val::String(text) => text.parse().map(Val::Uint).map_err(|_| conversion("uint")()),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn to_double<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Double(value) => Ok(Val::Double(*value)),
        Val::Int(value) => Ok(Val::Double(*value as f64)),
        Val::Uint(value) => Ok(Val::Double(*value as f64)),
        Val::String(text) => text.parse().map(Val::Double).map_err(|_| conversion("double")()),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn to_bool<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Bool(value) => Ok(Val::Bool(*value)),
        Val::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            _ => Err(conversion("bool")()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn to_bytes<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Bytes(bytes) => Ok(Val::Bytes(bytes.clone())),
        Val::String(text) => Ok(Val::Bytes(text.as_bytes().into())),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn to_string<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    if let Val::String(text) = &args[0] {
        return Ok(Val::String(text.clone()));
    }
    as_string(&args[0]).map(Val::text)
}

/// What `string(value)` gives.
pub(in super::super) fn as_string(value: &Val<'_>) -> Result<String, EvalError> {
    Ok(match value {
        Val::String(text) => text.to_string(),
        Val::Bool(flag) => flag.to_string(),
        Val::Int(value) => value.to_string(),
        Val::Uint(value) => value.to_string(),
        Val::Double(value) => go_float(*value),
        Val::Bytes(bytes) => {
            let text = String::from_utf8(bytes.to_vec());
            text.map_err(|_| EvalError::new("invalid UTF-8 in bytes, cannot convert to string"))?
        }
        Val::Timestamp(time) => lib_time::timestamp_text(*time),
        Val::Duration(nanos) => lib_time::duration_text(*nanos),
        Val::Opaque(Opaque::Ip(ip)) => ip.to_string(),
        Val::Opaque(Opaque::Cidr(cidr)) => cidr.to_string(),
        Val::Null | Val::List(_) | Val::Map(_) | Val::Object(_) | Val::Optional(_) | Val::Type(_) | Val::Opaque(_) => {
            return Err(EvalError::no_such_overload());
        }
    })
}

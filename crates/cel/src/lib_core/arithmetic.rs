//! Sums, differences, products.

use super::super::ast::Call;
use super::super::error::EvalError;
use super::super::function::Meter;
use super::super::value::Val;
use super::super::{lib_lists, lib_time};
use super::Ran;

pub(super) fn negate<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Int(value) => value.checked_neg().map(Val::Int).ok_or_else(EvalError::overflow),
        Val::Double(value) => Ok(Val::Double(-value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn add<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => a.checked_add(*b).map(Val::Int).ok_or_else(EvalError::overflow),
        (Val::Uint(a), Val::Uint(b)) => {
            a.checked_add(*b).map(Val::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
        }
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (Val::String(a), Val::String(b)) => Ok(Val::text(format!("{}{}", &**a, &**b))),
        (Val::Bytes(a), Val::Bytes(b)) => Ok(Val::Bytes([&**a, &**b].concat().into())),
        (Val::List(a), Val::List(b)) => lib_lists::join(meter, a, b),
        (a, b) => lib_time::add(a, b),
    }
}

pub(super) fn subtract<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => a.checked_sub(*b).map(Val::Int).ok_or_else(EvalError::overflow),
        (Val::Uint(a), Val::Uint(b)) => {
            a.checked_sub(*b).map(Val::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
        }
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        (a, b) => lib_time::subtract(a, b),
    }
}

pub(super) fn multiply<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => a.checked_mul(*b).map(Val::Int).ok_or_else(EvalError::overflow),
        (Val::Uint(a), Val::Uint(b)) => {
            a.checked_mul(*b).map(Val::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
        }
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a * b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn divide<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => Err(EvalError::new("division by zero")),
        (Val::Int(a), Val::Int(b)) => a.checked_div(*b).map(Val::Int).ok_or_else(EvalError::overflow),
        (Val::Uint(a), Val::Uint(b)) => Ok(Val::Uint(a / b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a / b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(super) fn modulo<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => Err(EvalError::new("modulus by zero")),
        (Val::Int(a), Val::Int(b)) => a.checked_rem(*b).map(Val::Int).ok_or_else(EvalError::overflow),
        (Val::Uint(a), Val::Uint(b)) => Ok(Val::Uint(a % b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

//! Operators, conversions and the other functions of the language itself, and optional values.

use super::ast::Call;
use super::error::EvalError;
use super::function::{Cost, Function, Meter, T, global, member};
use super::ops;
use super::value::{Key, Val};
use crate::number::go_float;
use std::cmp::Ordering;

mod arithmetic;
mod convert;
mod optional;

use arithmetic::{add, divide, modulo, multiply, negate, subtract};
pub(super) use convert::as_string;
use convert::{to_bool, to_bytes, to_double, to_int, to_string, to_uint};
use optional::{has_value, optional_none, optional_of, optional_of_non_zero, or, or_value, value};

const A_LIST: T = T::List(&T::A);
const AB_MAP: T = T::Map(&T::A, &T::B);
const OPT_A: T = T::Optional(&T::A);

/// Comparable pairs; numbers compare across their types.
macro_rules! order_overloads {
    () => {
        &[
            global(&[T::Bool, T::Bool], T::Bool),
            global(&[T::Int, T::Int], T::Bool),
            global(&[T::Int, T::Double], T::Bool),
            global(&[T::Int, T::Uint], T::Bool),
            global(&[T::Uint, T::Uint], T::Bool),
            global(&[T::Uint, T::Double], T::Bool),
            global(&[T::Uint, T::Int], T::Bool),
            global(&[T::Double, T::Double], T::Bool),
            global(&[T::Double, T::Int], T::Bool),
            global(&[T::Double, T::Uint], T::Bool),
            global(&[T::String, T::String], T::Bool),
            global(&[T::Bytes, T::Bytes], T::Bool),
            global(&[T::Timestamp, T::Timestamp], T::Bool),
            global(&[T::Duration, T::Duration], T::Bool),
        ]
    };
}

macro_rules! function {
    ($name:expr, $cost:expr, $run:expr, $overloads:expr) => {
        Function { name: $name, overloads: $overloads, cost: $cost, run: $run }
    };
}
pub(super) use function;

pub(super) static FUNCTIONS: &[Function] = &[
    function!("_==_", Cost::Smaller, equals, &[global(&[T::A, T::A], T::Bool)]),
    function!("_!=_", Cost::Smaller, differs, &[global(&[T::A, T::A], T::Bool)]),
    function!("_<_", Cost::Smaller, less, order_overloads!()),
    function!("_<=_", Cost::Smaller, less_or_equal, order_overloads!()),
    function!("_>_", Cost::Smaller, greater, order_overloads!()),
    function!("_>=_", Cost::Smaller, greater_or_equal, order_overloads!()),
    function!("!_", Cost::Fixed(1), not, &[global(&[T::Bool], T::Bool)]),
    function!("-_", Cost::Fixed(1), negate, &[global(&[T::Int], T::Int), global(&[T::Double], T::Double)]),
    function!(
        "_+_",
        Cost::Sum,
        add,
        &[
            global(&[T::Int, T::Int], T::Int),
            global(&[T::Uint, T::Uint], T::Uint),
            global(&[T::Double, T::Double], T::Double),
            global(&[T::String, T::String], T::String),
            global(&[T::Bytes, T::Bytes], T::Bytes),
            global(&[A_LIST, A_LIST], A_LIST),
            global(&[T::Duration, T::Duration], T::Duration),
            global(&[T::Duration, T::Timestamp], T::Timestamp),
            global(&[T::Timestamp, T::Duration], T::Timestamp),
        ]
    ),
    function!(
        "_-_",
        Cost::Fixed(1),
        subtract,
        &[
            global(&[T::Int, T::Int], T::Int),
            global(&[T::Uint, T::Uint], T::Uint),
            global(&[T::Double, T::Double], T::Double),
            global(&[T::Duration, T::Duration], T::Duration),
            global(&[T::Timestamp, T::Duration], T::Timestamp),
            global(&[T::Timestamp, T::Timestamp], T::Duration),
        ]
    ),
    function!(
        "_*_",
        Cost::Fixed(1),
        multiply,
        &[
            global(&[T::Int, T::Int], T::Int),
            global(&[T::Uint, T::Uint], T::Uint),
            global(&[T::Double, T::Double], T::Double),
        ]
    ),
    function!(
        "_/_",
        Cost::Fixed(1),
        divide,
        &[
            global(&[T::Int, T::Int], T::Int),
            global(&[T::Uint, T::Uint], T::Uint),
            global(&[T::Double, T::Double], T::Double),
        ]
    ),
    function!(
        "_%_",
        Cost::Fixed(1),
        modulo,
        &[global(&[T::Int, T::Int], T::Int), global(&[T::Uint, T::Uint], T::Uint),]
    ),
    function!("@in", Cost::Fixed(1), within, &[global(&[T::A, A_LIST], T::Bool), global(&[T::A, AB_MAP], T::Bool)]),
    function!(
        "_[_]",
        Cost::Fixed(1),
        index,
        &[
            global(&[A_LIST, T::Int], T::A),
            global(&[AB_MAP, T::A], T::B),
            global(&[T::Optional(&A_LIST), T::Int], OPT_A),
            global(&[T::Optional(&AB_MAP), T::A], T::Optional(&T::B)),
        ]
    ),
    function!(
        "_[?_]",
        Cost::Fixed(1),
        optional_index,
        &[
            global(&[A_LIST, T::Int], OPT_A),
            global(&[AB_MAP, T::A], T::Optional(&T::B)),
            global(&[T::Optional(&A_LIST), T::Int], OPT_A),
            global(&[T::Optional(&AB_MAP), T::A], T::Optional(&T::B)),
        ]
    ),
    function!(
        "size",
        Cost::Fixed(1),
        size,
        &[
            global(&[T::String], T::Int),
            global(&[T::Bytes], T::Int),
            global(&[A_LIST], T::Int),
            global(&[AB_MAP], T::Int),
            member(&[T::String], T::Int),
            member(&[T::Bytes], T::Int),
            member(&[A_LIST], T::Int),
            member(&[AB_MAP], T::Int),
        ]
    ),
    function!("type", Cost::Fixed(1), type_of, &[global(&[T::A], T::Type(&T::A))]),
    function!("dyn", Cost::Fixed(1), same, &[global(&[T::A], T::Dyn)]),
    function!(
        "int",
        Cost::Fixed(1),
        to_int,
        &[
            global(&[T::Int], T::Int),
            global(&[T::Uint], T::Int),
            global(&[T::Double], T::Int),
            global(&[T::String], T::Int),
            global(&[T::Timestamp], T::Int),
            global(&[T::Duration], T::Int),
        ]
    ),
    function!(
        "uint",
        Cost::Fixed(1),
        to_uint,
        &[
            global(&[T::Uint], T::Uint),
            global(&[T::Int], T::Uint),
            global(&[T::Double], T::Uint),
            global(&[T::String], T::Uint),
        ]
    ),
    function!(
        "double",
        Cost::Fixed(1),
        to_double,
        &[
            global(&[T::Double], T::Double),
            global(&[T::Int], T::Double),
            global(&[T::Uint], T::Double),
            global(&[T::String], T::Double),
        ]
    ),
    function!("bool", Cost::Fixed(1), to_bool, &[global(&[T::Bool], T::Bool), global(&[T::String], T::Bool)]),
    function!("bytes", Cost::Text(1), to_bytes, &[global(&[T::Bytes], T::Bytes), global(&[T::String], T::Bytes)]),
    function!(
        "string",
        Cost::Text(1),
        to_string,
        &[
            global(&[T::String], T::String),
            global(&[T::Bool], T::String),
            global(&[T::Int], T::String),
            global(&[T::Uint], T::String),
            global(&[T::Double], T::String),
            global(&[T::Bytes], T::String),
            global(&[T::Timestamp], T::String),
            global(&[T::Duration], T::String),
            global(&[T::Opaque("net.IP")], T::String),
            global(&[T::Opaque("net.CIDR")], T::String),
        ]
    ),
    function!("optional.of", Cost::Fixed(1), optional_of, &[global(&[T::A], OPT_A)]),
    function!("optional.none", Cost::Fixed(1), optional_none, &[global(&[], OPT_A)]),
    function!("optional.ofNonZeroValue", Cost::Fixed(1), optional_of_non_zero, &[global(&[T::A], OPT_A)]),
    function!("hasValue", Cost::Fixed(1), has_value, &[member(&[OPT_A], T::Bool)]),
    function!("value", Cost::Fixed(1), value, &[member(&[OPT_A], T::A)]),
    function!("or", Cost::Fixed(1), or, &[member(&[OPT_A, OPT_A], OPT_A)]),
    function!("orValue", Cost::Fixed(1), or_value, &[member(&[OPT_A, T::A], T::A)]),
];

type Ran<'a> = Result<Val<'a>, EvalError>;

fn equals<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    ops::equal(&args[0], &args[1], &mut meter.remaining).map(Val::Bool)
}

fn differs<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    ops::equal(&args[0], &args[1], &mut meter.remaining).map(|same| Val::Bool(!same))
}

fn order(meter: &mut Meter, args: &[Val<'_>]) -> Result<Ordering, EvalError> {
    meter.charge_made(usize::try_from(args[0].size().min(args[1].size())).unwrap_or(usize::MAX))?;
    ops::order(&args[0], &args[1])
}

fn less<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(order(meter, args)? == Ordering::Less))
}

fn less_or_equal<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(order(meter, args)? != Ordering::Greater))
}

fn greater<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(order(meter, args)? == Ordering::Greater))
}

fn greater_or_equal<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(order(meter, args)? != Ordering::Less))
}

fn not<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Bool(flag) => Ok(Val::Bool(!flag)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn within<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[1] {
        Val::List(list) => {
            for item in list.iter() {
                if ops::equal(&args[0], &item?, &mut meter.remaining)? {
                    return Ok(Val::Bool(true));
                }
            }
            Ok(Val::Bool(false))
        }
        Val::Map(map) => {
            charge_key(meter, &args[0])?;
            Ok(Val::Bool(args[0].as_key().is_some_and(|key| map.get(&key).is_some())))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Pays for looking a key up: a long text takes time to compare.
fn charge_key(meter: &mut Meter, key: &Val<'_>) -> Result<(), EvalError> {
    meter.charge(key.as_text().map_or(0, |text| text.len() as u64 / 100))
}

/// The element at an index or key; nothing when there is none.
fn look_up<'a>(meter: &mut Meter, target: &Val<'a>, at: &Val<'a>) -> Result<Option<Val<'a>>, EvalError> {
    charge_key(meter, at)?;
    match target {
        Val::List(list) => match at.as_key() {
            Some(Key::Int(index)) => usize::try_from(index).ok().and_then(|index| list.get(index)).transpose(),
            Some(_) | None => Err(EvalError::new(format!("unsupported index type '{}' in list", at.type_name()))),
        },
        Val::Map(map) => match at.as_key() {
            Some(key) => map.get(&key).transpose(),
            None => Ok(None),
        },
        Val::Object(object) => match at.as_text() {
            Some(name) => object.get(name),
            None => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn missing(target: &Val<'_>, at: &Val<'_>) -> EvalError {
    match (target, at) {
        (Val::List(_), _) => EvalError::new(format!("index out of bounds: {}", shown(at))),
        (_, at) => EvalError::no_such_key(shown(at)),
    }
}

fn shown(at: &Val<'_>) -> String {
    match at {
        Val::String(text) => text.to_string(),
        Val::Int(value) => value.to_string(),
        Val::Uint(value) => value.to_string(),
        Val::Double(value) => go_float(*value),
        Val::Bool(value) => value.to_string(),
        other => other.type_name().to_owned(),
    }
}

fn index<'a>(meter: &mut Meter, call: &Call, args: &[Val<'a>]) -> Ran<'a> {
    if let Val::Optional(_) = &args[0] {
        return optional_index(meter, call, args);
    }
    look_up(meter, &args[0], &args[1])?.ok_or_else(|| missing(&args[0], &args[1]))
}

fn optional_index<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let target = match &args[0] {
        Val::Optional(None) => return Ok(Val::Optional(None)),
        Val::Optional(Some(value)) => value,
        other => other,
    };
    Ok(Val::Optional(look_up(meter, target, &args[1])?.map(std::sync::Arc::new)))
}

fn size<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let size = match &args[0] {
        Val::String(text) => {
            meter.charge(text.len() as u64 / 1000)?;
            text.chars().count()
        }
        Val::Bytes(bytes) => bytes.len(),
        Val::List(list) => list.len(),
        Val::Map(map) => map.len(),
        _ => return Err(EvalError::no_such_overload()),
    };
    i64::try_from(size).map(Val::Int).map_err(|_| EvalError::overflow())
}

fn type_of<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Type(args[0].type_name().into()))
}

fn same<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(args[0].clone())
}

//! Lists and sets: Kubernetes' list library, and cel-go's sets.

use super::ast::Call;
use super::decl::ListKind;
use super::error::EvalError;
use super::function::{Cost, Function, Meter, T, global, member};
use super::lib_core::function;
use super::ops;
use super::value::{List, Val};
use std::cmp::Ordering;

const A_LIST: T = T::List(&T::A);

macro_rules! of_numbers {
    ($($more:expr),*) => {
        &[
            member(&[T::List(&T::Int)], T::Int),
            member(&[T::List(&T::Uint)], T::Uint),
            member(&[T::List(&T::Double)], T::Double),
            member(&[T::List(&T::Duration)], T::Duration),
            $($more),*
        ]
    };
}

macro_rules! of_ordered {
    () => {
        of_numbers!(
            member(&[T::List(&T::Bool)], T::Bool),
            member(&[T::List(&T::Timestamp)], T::Timestamp),
            member(&[T::List(&T::String)], T::String),
            member(&[T::List(&T::Bytes)], T::Bytes)
        )
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    function!(
        "isSorted",
        Cost::Traversal,
        is_sorted,
        &[
            member(&[T::List(&T::Int)], T::Bool),
            member(&[T::List(&T::Uint)], T::Bool),
            member(&[T::List(&T::Double)], T::Bool),
            member(&[T::List(&T::Bool)], T::Bool),
            member(&[T::List(&T::Duration)], T::Bool),
            member(&[T::List(&T::Timestamp)], T::Bool),
            member(&[T::List(&T::String)], T::Bool),
            member(&[T::List(&T::Bytes)], T::Bool),
        ]
    ),
    function!("sum", Cost::Traversal, sum, of_numbers!()),
    function!("min", Cost::Traversal, min, of_ordered!()),
    function!("max", Cost::Traversal, max, of_ordered!()),
    function!(
        "indexOf",
        Cost::Traversal,
        index_of,
        &[
            member(&[A_LIST, T::A], T::Int),
            member(&[T::String, T::String], T::Int),
            member(&[T::String, T::String, T::Int], T::Int),
        ]
    ),
    function!(
        "lastIndexOf",
        Cost::Traversal,
        last_index_of,
        &[
            member(&[A_LIST, T::A], T::Int),
            member(&[T::String, T::String], T::Int),
            member(&[T::String, T::String, T::Int], T::Int),
        ]
    ),
    function!("sets.contains", Cost::Product, contains, &[global(&[A_LIST, A_LIST], T::Bool)]),
    function!("sets.equivalent", Cost::Product, equivalent, &[global(&[A_LIST, A_LIST], T::Bool)]),
    function!("sets.intersects", Cost::Product, intersects, &[global(&[A_LIST, A_LIST], T::Bool)]),
];

type Ran<'a> = Result<Val<'a>, EvalError>;

fn list<'r, 'a>(value: &'r Val<'a>) -> Result<&'r List<'a>, EvalError> {
    match value {
        Val::List(list) => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// `a + b`. A set takes no value twice, and of a map's items those of `b` replace those with the same keys.
pub(super) fn join<'a>(meter: &mut Meter, a: &List<'a>, b: &List<'a>) -> Ran<'a> {
    // Each element is copied, and what is made stays as long as the expression is evaluated.
    meter.charge((a.len() as u64).saturating_add(b.len() as u64))?;
    if *a.kind() != ListKind::Atomic {
        meter.charge((a.len() as u64).saturating_mul(b.len() as u64))?;
    }
    let mut items = a.to_vec()?;
    match a.kind() {
        ListKind::Atomic => items.extend(b.to_vec()?),
        ListKind::Set => {
            for item in b.iter() {
                let item = item?;
                let mut known = false;
                for old in &items {
                    known = known || ops::equal(old, &item, &mut meter.remaining)?;
                }
                if !known {
                    items.push(item);
                }
            }
        }
        ListKind::Map(keys) => {
            for item in b.iter() {
                let item = item?;
                match items.iter().position(|old| same_keys(old, &item, keys)) {
                    Some(place) => items[place] = item,
                    None => items.push(item),
                }
            }
        }
    }
    Ok(Val::list(items))
}

fn same_keys(a: &Val<'_>, b: &Val<'_>, keys: &[String]) -> bool {
    let key = |value: &Val<'_>, name: &str| -> Option<super::value::Key> {
        match value {
            Val::Object(object) => object.get(name).ok()??.as_key(),
            Val::Map(map) => map.get_text(name)?.ok()?.as_key(),
            _ => None,
        }
    };
    keys.iter().all(|name| key(a, name) == key(b, name))
}

fn is_sorted<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let mut previous: Option<Val<'_>> = None;
    for item in list(&args[0])?.iter() {
        let item = item?;
        if let Some(previous) = &previous
            && ops::order(previous, &item)? == Ordering::Greater
        {
            return Ok(Val::Bool(false));
        }
        previous = Some(item);
    }
    Ok(Val::Bool(true))
}

fn sum<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let mut total: Option<Val<'a>> = None;
    for item in list(&args[0])?.iter() {
        let item = item?;
        total = Some(match (total, item) {
            (None, item) => item,
            (Some(Val::Int(a)), Val::Int(b)) => Val::Int(a.checked_add(b).ok_or_else(EvalError::overflow)?),
            (Some(Val::Uint(a)), Val::Uint(b)) => Val::Uint(a.checked_add(b).ok_or_else(EvalError::overflow)?),
            (Some(Val::Double(a)), Val::Double(b)) => Val::Double(a + b),
            (Some(Val::Duration(a)), Val::Duration(b)) => {
                Val::Duration(a.checked_add(b).ok_or_else(EvalError::overflow)?)
            }
            (Some(_), _) => return Err(EvalError::no_such_overload()),
        });
    }
    Ok(total.unwrap_or(Val::Int(0)))
}

fn extreme<'a>(args: &[Val<'a>], name: &str, wanted: Ordering) -> Ran<'a> {
    let mut best: Option<Val<'a>> = None;
    for item in list(&args[0])?.iter() {
        let item = item?;
        best = Some(match best {
            Some(best) if ops::order(&item, &best)? != wanted => best,
            Some(_) | None => item,
        });
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn min<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    extreme(args, "min", Ordering::Less)
}

fn max<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    extreme(args, "max", Ordering::Greater)
}

fn place<'a>(index: Option<usize>) -> Ran<'a> {
    Ok(Val::Int(index.map_or(-1, |index| i64::try_from(index).unwrap_or(i64::MAX))))
}

fn index_of<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    if let Val::String(_) = &args[0] {
        return super::lib_strings::index_of(args);
    }
    for (i, item) in list(&args[0])?.iter().enumerate() {
        if ops::equal(&item?, &args[1], &mut meter.remaining)? {
            return place(Some(i));
        }
    }
    place(None)
}

fn last_index_of<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    if let Val::String(_) = &args[0] {
        return super::lib_strings::last_index_of(args);
    }
    let items = list(&args[0])?;
    for i in (0..items.len()).rev() {
        if let Some(item) = items.get(i)
            && ops::equal(&item?, &args[1], &mut meter.remaining)?
        {
            return place(Some(i));
        }
    }
    place(None)
}

/// Whether each element of `b` is one of `a`.
fn includes(meter: &mut Meter, a: &List<'_>, b: &List<'_>) -> Result<bool, EvalError> {
    for item in b.iter() {
        if !has(meter, a, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has(meter: &mut Meter, list: &List<'_>, item: &Val<'_>) -> Result<bool, EvalError> {
    for other in list.iter() {
        if ops::equal(&other?, item, &mut meter.remaining)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn contains<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    includes(meter, list(&args[0])?, list(&args[1])?).map(Val::Bool)
}

fn equivalent<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (a, b) = (list(&args[0])?, list(&args[1])?);
    Ok(Val::Bool(includes(meter, a, b)? && includes(meter, b, a)?))
}

fn intersects<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    for item in list(&args[0])?.iter() {
        if has(meter, list(&args[1])?, &item?)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

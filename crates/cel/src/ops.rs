//! Equality and order of values.

use super::decl::ListKind;
use super::error::EvalError;
use super::value::{Key, List, MapVal, Object, Val};
use std::cmp::Ordering;

/// Whether two values are equal. Each value that is looked at takes one of `fuel`, and texts take more.
pub(crate) fn equal(a: &Val<'_>, b: &Val<'_>, fuel: &mut u64) -> Result<bool, EvalError> {
    burn(fuel, 1)?;
    Ok(match (a, b) {
        (Val::Null, Val::Null) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Int(_) | Val::Uint(_) | Val::Double(_), Val::Int(_) | Val::Uint(_) | Val::Double(_)) => {
            numbers(a, b) == Some(Ordering::Equal)
        }
        (Val::String(a), Val::String(b)) => {
            burn(fuel, a.len().min(b.len()) as u64 / 10)?;
            **a == **b
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            burn(fuel, a.len().min(b.len()) as u64 / 10)?;
            a == b
        }
        (Val::Duration(a), Val::Duration(b)) => a == b,
        (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
        (Val::List(a), Val::List(b)) => lists(a, b, fuel)?,
        (Val::Map(a), Val::Map(b)) => maps(a, b, fuel)?,
        (Val::Object(a), Val::Object(b)) => objects(a, b, fuel)?,
        (Val::Optional(a), Val::Optional(b)) => match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => equal(a, b, fuel)?,
            (Some(_), None) | (None, Some(_)) => false,
        },
        (Val::Type(a), Val::Type(b)) => a == b,
        (Val::Opaque(a), Val::Opaque(b)) => a.same(b),
        _ => false,
    })
}

fn burn(fuel: &mut u64, amount: u64) -> Result<(), EvalError> {
    *fuel = fuel.checked_sub(amount).ok_or(EvalError::CostExceeded)?;
    Ok(())
}

fn lists(a: &List<'_>, b: &List<'_>, fuel: &mut u64) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match (a.kind(), b.kind()) {
        (ListKind::Atomic, ListKind::Atomic) => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(&a?, &b?, fuel)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        // In a set, and in a map by its keys, the order of items means nothing.
        (ListKind::Set | ListKind::Map(_), _) | (_, ListKind::Set | ListKind::Map(_)) => {
            burn(fuel, b.len() as u64)?;
            let others = b.to_vec()?;
            for item in a.iter() {
                let item = item?;
                let mut found = false;
                for other in &others {
                    if equal(&item, other, fuel)? {
                        found = true;
                        break;
                    }
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

fn maps(a: &MapVal<'_>, b: &MapVal<'_>, fuel: &mut u64) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    burn(fuel, a.len() as u64)?;
    for key in a.keys() {
        if let Key::String(text) = &key {
            burn(fuel, text.len() as u64 / 100)?;
        }
        let (Some(a), Some(b)) = (a.get(&key), b.get(&key)) else { return Ok(false) };
        if !equal(&a?, &b?, fuel)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn objects(a: &Object<'_>, b: &Object<'_>, fuel: &mut u64) -> Result<bool, EvalError> {
    let names = |object: &Object<'_>| -> Vec<String> {
        match object {
            Object::Json(_, decl) => match &decl.kind {
                super::decl::Kind::Object(fields) => fields.keys().cloned().collect(),
                _ => Vec::new(),
            },
            Object::Made(_, fields) => fields.keys().cloned().collect(),
        }
    };
    let mut all = names(a);
    all.extend(names(b));
    all.sort();
    all.dedup();
    for name in all {
        let same = match (a.get(&name)?, b.get(&name)?) {
            (None, None) => true,
            (Some(a), Some(b)) => equal(&a, &b, fuel)?,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two numbers of any types.
pub(crate) fn numbers(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    let whole = |v: &Val<'_>| match v {
        Val::Int(value) => Some(i128::from(*value)),
        Val::Uint(value) => Some(i128::from(*value)),
        _ => None,
    };
    match (a, b) {
        (Val::Double(a), Val::Double(b)) => a.partial_cmp(b),
        (Val::Double(a), b) => whole_and_double(whole(b)?, *a).map(Ordering::reverse),
        (a, Val::Double(b)) => whole_and_double(whole(a)?, *b),
        (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

/// Exact, also where a double has fewer digits than the whole number.
fn whole_and_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double >= 1e30 {
        return Some(Ordering::Less);
    }
    if double <= -1e30 {
        return Some(Ordering::Greater);
    }
    let floor = double.floor();
    let order = whole.cmp(&(floor as i128));
    Some(if order == Ordering::Equal && double > floor { Ordering::Less } else { order })
}

/// The order of two values, where they have one.
pub(crate) fn order(a: &Val<'_>, b: &Val<'_>) -> Result<Ordering, EvalError> {
    let order = match (a, b) {
        (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
        (Val::String(a), Val::String(b)) => Some((**a).cmp(&**b)),
        (Val::Bytes(a), Val::Bytes(b)) => Some(a.cmp(b)),
        (Val::Duration(a), Val::Duration(b)) => Some(a.cmp(b)),
        (Val::Timestamp(a), Val::Timestamp(b)) => Some(a.cmp(b)),
        (Val::Double(a), _) if a.is_nan() => return Err(EvalError::new("NaN values cannot be ordered")),
        (_, Val::Double(b)) if b.is_nan() => return Err(EvalError::new("NaN values cannot be ordered")),
        (a, b) => numbers(a, b),
    };
    order.ok_or_else(EvalError::no_such_overload)
}

//! Following a path.

use super::{End, Filter, FindError, MAX_RESULTS, Operand, Operator, Path, Step};
use serde_json::Value;
use std::cmp::Ordering;

/// What `path` leads to from each of `start`.
pub(super) fn walk<'a>(path: &Path, start: Vec<&'a Value>) -> Result<Vec<&'a Value>, FindError> {
    let mut current = start;
    for step in &path.steps {
        current = one_step(step, current)?;
        if current.len() > MAX_RESULTS {
            return Err(FindError::TooMany);
        }
    }
    Ok(current)
}

fn one_step<'a>(step: &Step, current: Vec<&'a Value>) -> Result<Vec<&'a Value>, FindError> {
    let mut found = Vec::new();
    match step {
        Step::Field(name) => found.extend(current.into_iter().filter_map(|value| value.as_object()?.get(name))),
        Step::Wildcard => current.into_iter().for_each(|value| found.extend(children(value))),
        Step::Recursive => {
            for value in current {
                recurse(value, &mut found)?;
            }
        }
        Step::Slice { start, end, step } => {
            for value in current.into_iter().filter(|value| !value.is_null()) {
                let list = value.as_array().ok_or(FindError::NotArray(kind(value)))?;
                found.extend(slice(list, *start, *end, *step)?);
            }
        }
        Step::Union(paths) => {
            for path in paths {
                found.extend(walk(path, current.clone())?);
            }
        }
        Step::Filter(filter) => {
            for value in current.into_iter().filter(|value| !value.is_null()) {
                let list = value.as_array().ok_or(FindError::NotFilterable(kind(value)))?;
                for item in list {
                    if passes(filter, item)? {
                        found.push(item);
                    }
                }
            }
        }
    }
    Ok(found)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A value that has children, and those below it that have.
fn recurse<'a>(value: &'a Value, found: &mut Vec<&'a Value>) -> Result<(), FindError> {
    let children = children(value);
    if children.is_empty() {
        return Ok(());
    }
    if found.len() >= MAX_RESULTS {
        return Err(FindError::TooMany);
    }
    found.push(value);
    children.into_iter().try_for_each(|child| recurse(child, found))
}

fn slice(list: &[Value], start: Option<i64>, end: End, step: Option<i64>) -> Result<Vec<&Value>, FindError> {
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let start = from_end(start.unwrap_or(0));
    let end = match end {
        End::AfterOne => start.saturating_add(1),
        End::Open => length,
        End::At(index) => from_end(index),
    };
    if start != end {
        if start >= length || start < 0 {
            return Err(FindError::OutOfBounds { index: start, length: list.len() });
        }
        if end > length {
            return Err(FindError::OutOfBounds { index: end - 1, length: list.len() });
        }
        if start > end {
            return Err(FindError::Backwards);
        }
    }
    let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0).ok_or(FindError::BadStep)?;
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    Ok(list.get(range).unwrap_or_default().iter().step_by(step).collect())
}

fn passes(filter: &Filter, item: &Value) -> Result<bool, FindError> {
    let Some((operator, right)) = &filter.right else {
        return Ok(match &filter.left {
            Operand::Path(path) => walk(path, vec![item]).is_ok_and(|found| !found.is_empty()),
            Operand::Literal(_) => true,
        });
    };
    let (left, right) = (one(&filter.left, item)?, one(right, item)?);
    let equal = |wanted| Ok(compare_equal(left, right)? == wanted);
    let order = || order(left, right);
    match operator {
        Operator::Equal => equal(true),
        Operator::NotEqual => equal(false),
        Operator::Less => Ok(order()? == Ordering::Less),
        Operator::Greater => Ok(order()? == Ordering::Greater),
        Operator::LessOrEqual => Ok(order()? != Ordering::Greater),
        Operator::GreaterOrEqual => Ok(order()? != Ordering::Less),
    }
}

fn one<'a>(operand: &'a Operand, item: &'a Value) -> Result<&'a Value, FindError> {
    match operand {
        Operand::Literal(value) => Ok(value),
        Operand::Path(path) => match walk(path, vec![item])?.as_slice() {
            [one] => Ok(one),
            _ => Err(FindError::NotOne),
        },
    }
}

fn compare_equal(left: &Value, right: &Value) -> Result<bool, FindError> {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (a, b) => Ok(order(a, b)? == Ordering::Equal),
    }
}

fn order(left: &Value, right: &Value) -> Result<Ordering, FindError> {
    match (left, right) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            (None, None) => a.as_f64().partial_cmp(&b.as_f64()).ok_or(FindError::Incompatible),
            // A whole number and a fraction are of different types in Go.
            (Some(_), None) | (None, Some(_)) => Err(FindError::Incompatible),
        },
        _ => Err(FindError::Incompatible),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "map[string]interface {}",
    }
}

//! Whether two values are the same.

use crate::fields::compare_values;
use serde_json::Value;

/// Whether the two are the same; numbers by their size, so that 1 and 1.0 are.
pub(crate) fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| is_equal(value, other)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_equal(left, right))
        }
        (Value::Number(_), Value::Number(_)) => compare_values(left, right).is_eq(),
        _ => left == right,
    }
}

//! Looking into objects.

use super::{Failure, Outcome};
use serde_json::Value;
use std::cmp::Ordering;

/// Whether `found` has everything that `wanted` has: fields of objects may be more, lists have to be as long.
#[must_use]
pub fn within(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| found.get(name).is_some_and(|found| within(found, value)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| within(found, wanted))
        }
        _ => found == wanted,
    }
}

/// Sees that `found` has everything that `wanted` has.
///
/// # Errors
/// When it has not, with both.
pub fn expect_within(found: &Value, wanted: &Value, what: &str) -> Outcome {
    if within(found, wanted) {
        return Ok(());
    }
    Err(Failure::wrong(format!("{what}: {wanted} is not in {found}")))
}

/// The status (`True`, `False`, `Unknown`) of a condition; none when the object has no such condition.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

/// The names of objects, in their order.
#[must_use]
pub fn names(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap_or("")).collect()
}

/// The resource version of an object or a list.
///
/// # Errors
/// When it has none.
pub fn version(object: &Value) -> Outcome<String> {
    match object["metadata"]["resourceVersion"].as_str() {
        Some(version) if !version.is_empty() => Ok(version.to_owned()),
        _ => Err(Failure::wrong(format!("no resourceVersion in {object:.200}"))),
    }
}

/// Which of two resource versions is the newer: they are decimal numbers (Kubernetes 1.35, KEP-5504).
///
/// # Errors
/// When one is not.
pub fn compare_versions(a: &str, b: &str) -> Outcome<Ordering> {
    for version in [a, b] {
        let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        if !number || version.starts_with('0') {
            return Err(Failure::wrong(format!("the resourceVersion {version:?} is no positive number")));
        }
    }
    Ok(a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
}

/// Sees that an object is newer than it was.
///
/// # Errors
/// When it is not.
pub fn expect_newer(after: &Value, before: &Value, what: &str) -> Outcome {
    let (new, old) = (version(after)?, version(before)?);
    if compare_versions(&new, &old)? == Ordering::Greater {
        return Ok(());
    }
    Err(Failure::wrong(format!("{what}: the resourceVersion {new} is not newer than {old}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn more_fields_are_fine_and_other_lists_are_not() {
        let found = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}});
        assert!(within(&found, &json!({"b": {"c": [1, 2]}})));
        assert!(!within(&found, &json!({"b": {"c": [1]}})));
        assert!(!within(&found, &json!({"e": null})));
    }

    #[test]
    fn versions_compare_as_numbers_of_any_length() {
        assert_eq!(compare_versions("9", "10").unwrap(), Ordering::Less);
        assert_eq!(compare_versions("123456789012345678901234567890", "7").unwrap(), Ordering::Greater);
        assert!(compare_versions("1a", "2").is_err());
    }
}

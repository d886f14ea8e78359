//! JSON Patch (RFC 6902).

use super::unprocessable;
use crate::status::ApiError;
use json_patch::{Patch, PatchOperation};
use serde::Deserialize;
use serde_json::Value;

/// A patch may have so many operations, as upstream.
const OPERATIONS_LIMIT: usize = 10_000;

/// The copies that a patch makes may have so many bytes of JSON together, as upstream; so a short patch cannot double a value
/// again and again.
const COPIES_LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// All operations are done, or none.
pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value, ApiError> {
    let Patch(operations) =
        Patch::deserialize(patch).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if operations.len() > OPERATIONS_LIMIT {
        let count = operations.len();
        let message = format!("The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT}, got {count}");
        return Err(ApiError { code: 413, reason: "RequestEntityTooLarge", message, details: None });
    }
    let mut patched = object.clone();
    if operations.iter().any(|operation| matches!(operation, PatchOperation::Copy(_))) {
        one_by_one(&mut patched, &operations)?;
    } else {
        json_patch::patch_unsafe(&mut patched, &operations).map_err(|error| unprocessable(&error.to_string()))?;
    }
    Ok(patched)
}

fn one_by_one(patched: &mut Value, operations: &[PatchOperation]) -> Result<(), ApiError> {
    let mut copied_bytes = 0;
    for operation in operations {
        if let PatchOperation::Copy(copy) = operation {
            copied_bytes += patched.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
            if copied_bytes > COPIES_LIMIT_BYTES {
                return Err(unprocessable(&format!(
                    "unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, \
                     exceeding the limit {COPIES_LIMIT_BYTES}"
                )));
            }
        }
        let operation = std::slice::from_ref(operation);
        json_patch::patch_unsafe(patched, operation).map_err(|error| unprocessable(&error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_operations_are_done_or_none() {
        let object = json!({"a": 1, "l": [1, 2]});
        let patched = apply(
            &object,
            &json!([
                {"op": "test", "path": "/a", "value": 1},
                {"op": "add", "path": "/l/-", "value": 3},
                {"op": "copy", "from": "/l", "path": "/m"},
                {"op": "remove", "path": "/a"},
            ]),
        );
        assert_eq!(patched.unwrap(), json!({"l": [1, 2, 3], "m": [1, 2, 3]}));
        let failed = apply(&object, &json!([{"op": "remove", "path": "/a"}, {"op": "test", "path": "/l", "value": 1}]));
        let error = failed.unwrap_err();
        assert_eq!((error.code, error.reason), (422, "Invalid"));
        assert!(error.message.starts_with("the server rejected our request due to an error"), "{error}");
        assert_eq!(apply(&object, &json!({"op": "add"})).unwrap_err().code, 400);
        assert_eq!(apply(&object, &json!([{"op": "shout", "path": "/a"}])).unwrap_err().code, 400);
    }

    #[test]
    fn neither_operations_nor_copies_may_be_too_many() {
        let many = Value::from_iter((0..=OPERATIONS_LIMIT).map(|_| json!({"op": "test", "path": "", "value": 1})));
        assert_eq!(apply(&json!(1), &many).unwrap_err().code, 413);
        // Each copy doubles the value.
        let doubling = (0..40).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}));
        let error = apply(&json!({"a": ["0123456789"]}), &Value::from_iter(doubling)).unwrap_err();
        assert_eq!(error.code, 422);
        assert!(error.message.contains("accumulated size increase of copy"), "{error}");
    }
}

//! JSON Patch (RFC 6902).

use super::unprocessable;
use json_patch::{Patch, PatchOperation};
use orrery_machinery::meta::{DEPTH_LIMIT, depth};
use orrery_machinery::status::ApiError;
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
    let mut growth = Growth { copied_bytes: 0, depth: depth(object) };
    for (number, operation) in operations.iter().enumerate() {
        growth.before(operation, &patched)?;
        if tests_for_absence(operation, &patched) {
            continue;
        }
        let done = json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation));
        done.map_err(|mut error| {
            error.operation = number;
            unprocessable(&error.to_string())
        })?;
        growth.after(&patched)?;
    }
    Ok(patched)
}

/// Whether it tests that an object has no such field: null is what upstream finds there, and controllers test so before they
/// add the first finalizer.
fn tests_for_absence(operation: &PatchOperation, object: &Value) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let parent = test.path.parent().and_then(|parent| object.pointer(parent.as_str()));
    test.value.is_null() && parent.is_some_and(Value::is_object) && object.pointer(test.path.as_str()).is_none()
}

/// How large a patch makes an object.
struct Growth {
    copied_bytes: usize,
    /// The object is not nested deeper than this.
    depth: usize,
}

impl Growth {
    fn before(&mut self, operation: &PatchOperation, patched: &Value) -> Result<(), ApiError> {
        let levels = |pointer: &str| pointer.bytes().filter(|byte| *byte == b'/').count();
        let moved = |from: &str, to: &str| levels(to) + self.depth.saturating_sub(levels(from));
        self.depth = self.depth.max(match operation {
            PatchOperation::Add(add) => levels(add.path.as_str()) + depth(&add.value),
            PatchOperation::Replace(replace) => levels(replace.path.as_str()) + depth(&replace.value),
            PatchOperation::Move(from) => moved(from.from.as_str(), from.path.as_str()),
            PatchOperation::Copy(copy) => {
                self.copied_bytes += patched.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
                moved(copy.from.as_str(), copy.path.as_str())
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
        });
        if self.copied_bytes > COPIES_LIMIT_BYTES {
            let copied_bytes = self.copied_bytes;
            return Err(unprocessable(&format!(
                "unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, exceeding the limit \
                 {COPIES_LIMIT_BYTES}"
            )));
        }
        Ok(())
    }

    /// Looks at the whole object only where it may have become too deep.
    fn after(&mut self, patched: &Value) -> Result<(), ApiError> {
        if self.depth > DEPTH_LIMIT {
            self.depth = depth(patched);
        }
        if self.depth > DEPTH_LIMIT {
            return Err(unprocessable(&format!("the patch nests the object deeper than {DEPTH_LIMIT} levels")));
        }
        Ok(())
    }
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
        let absent = |path: &str| apply(&object, &json!([{"op": "test", "path": path, "value": null}])).is_ok();
        assert_eq!(["/n", "/a", "/n/n", "/l/7"].map(absent), [true, false, false, false]);
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

    #[test]
    fn an_object_may_not_become_deeper_than_can_be_read() {
        let nesting = (0..OPERATIONS_LIMIT).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"}));
        let error = apply(&json!({"a": {}}), &Value::from_iter(nesting)).unwrap_err();
        assert!(error.code == 422 && error.message.contains("deeper than"), "{error}");
        // There and back again is no deeper, however often.
        let moves = (0..500).flat_map(|_| {
            [json!({"op": "move", "from": "/a", "path": "/b/c"}), json!({"op": "move", "from": "/b/c", "path": "/a"})]
        });
        let object = json!({"a": {"x": 1}, "b": {}});
        assert_eq!(apply(&object, &Value::from_iter(moves)).unwrap(), object);
        let failed =
            apply(&json!({}), &json!([{"op": "add", "path": "/a", "value": 1}, {"op": "remove", "path": "/b"}]));
        assert!(failed.unwrap_err().message.contains("/1"), "the operation is told by its number");
    }
}

//! Patches: what a client's change makes of an object.
//!
//! * JSON Patch (RFC 6902): a list of operations; all are done, or none.
//! * JSON merge patch (RFC 7396): objects merge, null deletes, lists are replaced.
//! * strategic merge patch: as merge patch, but lists merge as [`MergeKey`]s say, and directives in the patch order
//!   deletions, replacements and the order of lists (see the private module `strategic`).

mod order;
mod strategic;

use crate::descriptor::MergeKey;
use crate::status::ApiError;
use serde_json::Value;

/// The kinds of patches, told apart by their content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json`
    Json,
    /// `application/merge-patch+json`
    Merge,
    /// `application/strategic-merge-patch+json`
    Strategic,
}

/// A JSON Patch may have so many operations, as upstream.
const OPERATIONS_LIMIT: usize = 10_000;

impl PatchKind {
    /// The content types that [`PatchKind::from_content_type`] knows, for an error's text.
    pub const SUPPORTED: &'static str =
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

    /// The kind for a `Content-Type`, parameters aside; none for one that is no patch.
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            _ => None,
        }
    }
}

/// What `patch` makes of `object`.
///
/// # Errors
/// 400 when the patch is malformed; 422 when it does not apply to this object.
pub fn apply(kind: PatchKind, object: &Value, patch: &Value, merge_keys: &[MergeKey]) -> Result<Value, ApiError> {
    match kind {
        PatchKind::Json => json(object, patch),
        PatchKind::Merge => {
            must_be_map(patch)?;
            let mut patched = object.clone();
            json_patch::merge(&mut patched, patch);
            Ok(patched)
        }
        PatchKind::Strategic => {
            must_be_map(patch)?;
            strategic::apply(object, patch, merge_keys).map_err(ApiError::from)
        }
    }
}

fn must_be_map(patch: &Value) -> Result<(), ApiError> {
    if patch.is_object() { Ok(()) } else { Err(ApiError::bad_request("invalid JSON document: a patch is an object")) }
}

fn json(object: &Value, patch: &Value) -> Result<Value, ApiError> {
    use serde::Deserialize;
    let operations = json_patch::Patch::deserialize(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if operations.0.len() > OPERATIONS_LIMIT {
        let message =
            format!("The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT}, got {}", operations.0.len());
        return Err(ApiError { code: 413, reason: "RequestEntityTooLarge", message, details: None });
    }
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &operations).map_err(|error| unprocessable(&error.to_string()))?;
    Ok(patched)
}

/// 422 with upstream's generic text, and what it leaves out.
fn unprocessable(why: &str) -> ApiError {
    let message = format!("the server rejected our request due to an error in our request: {why}");
    ApiError { code: 422, reason: "Invalid", message, details: None }
}

/// Why a strategic merge patch does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum PatchError {
    #[error("unknown patch type: {directive} in map: {map}")]
    BadPatchType { directive: String, map: String },
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey { map: String, key: &'static str },
    #[error("invalid patch format of primitive list")]
    BadPrimitiveList,
    #[error("invalid patch format of retainKeys")]
    BadRetainKeys,
    #[error("invalid patch format of setElementOrder list")]
    BadSetElementOrder,
    #[error("patch content doesn't match retainKeys list")]
    ContentNotInRetainKeys,
    #[error("the order in patch list {list} doesn't match $setElementOrder list {order}")]
    OrderMismatch { list: String, order: String },
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    #[error("{field} is no list in the object, but the patch orders its elements")]
    NotAList { field: String },
}

impl From<PatchError> for ApiError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::BadPrimitiveList | PatchError::BadRetainKeys | PatchError::BadSetElementOrder => {
                Self::bad_request(error.to_string())
            }
            PatchError::BadPatchType { .. }
            | PatchError::NoMergeKey { .. }
            | PatchError::ContentNotInRetainKeys
            | PatchError::OrderMismatch { .. }
            | PatchError::MergeDirectiveInList
            | PatchError::NotAList { .. } => unprocessable(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_json_patch_does_all_operations_or_none() {
        let object = json!({"a": 1, "l": [1, 2]});
        let apply = |patch: Value| apply(PatchKind::Json, &object, &patch, &[]);
        let patched = apply(json!([
            {"op": "test", "path": "/a", "value": 1},
            {"op": "add", "path": "/l/-", "value": 3},
            {"op": "remove", "path": "/a"},
        ]));
        assert_eq!(patched.unwrap(), json!({"l": [1, 2, 3]}));
        let failed = apply(json!([{"op": "remove", "path": "/a"}, {"op": "test", "path": "/l", "value": 1}]));
        let error = failed.unwrap_err();
        assert_eq!((error.code, error.reason), (422, "Invalid"));
        assert!(error.message.starts_with("the server rejected our request due to an error"), "{error}");
        assert_eq!(apply(json!({"op": "add"})).unwrap_err().code, 400);
        assert_eq!(apply(json!([{"op": "shout", "path": "/a"}])).unwrap_err().code, 400);
    }

    #[test]
    fn the_content_type_tells_the_kind() {
        let of = PatchKind::from_content_type;
        assert_eq!(of("application/merge-patch+json; charset=utf-8"), Some(PatchKind::Merge));
        assert_eq!(of("application/strategic-merge-patch+json"), Some(PatchKind::Strategic));
        assert_eq!(of("application/json"), None);
        for listed in PatchKind::SUPPORTED.split(", ") {
            assert!(of(listed).is_some(), "{listed}");
        }
    }

    #[test]
    fn a_patch_that_is_no_object_is_refused() {
        for kind in [PatchKind::Merge, PatchKind::Strategic] {
            assert_eq!(apply(kind, &json!({}), &json!([1]), &[]).unwrap_err().code, 400);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..5).prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_map() -> impl Strategy<Value = Value> {
        any_json().prop_map(|v| if v.is_object() { v } else { json!({"a": v}) })
    }

    /// RFC 7396, section 2, word for word.
    fn rfc7396(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = if let Value::Object(map) = target { map } else { serde_json::Map::new() };
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let merged = rfc7396(target.remove(name).unwrap_or(Value::Null), value);
                target.insert(name.clone(), merged);
            }
        }
        Value::Object(target)
    }

    fn without_nulls_in_maps(value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(
                map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls_in_maps(v))).collect(),
            ),
            Value::Array(list) => list.iter().map(without_nulls_in_maps).collect(),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn a_merge_patch_does_what_the_rfc_says(object in any_map(), patch in any_map()) {
            let patched = apply(PatchKind::Merge, &object, &patch, &[]).unwrap();
            prop_assert_eq!(patched, rfc7396(object, &patch));
        }

        #[test]
        fn without_merge_keys_and_directives_a_strategic_patch_is_a_merge_patch(object in any_map(), patch in any_map()) {
            // Nulls inside of lists are where the two differ: strategic merge drops them from maps in lists.
            let strategic = apply(PatchKind::Strategic, &object, &patch, &[]).unwrap();
            let merge = apply(PatchKind::Merge, &object, &patch, &[]).unwrap();
            prop_assert_eq!(without_nulls_in_maps(&strategic), without_nulls_in_maps(&merge));
        }
    }
}

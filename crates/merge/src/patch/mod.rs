//! Patches: what a client's change makes of an object.
//!
//! * JSON Patch (RFC 6902): a list of operations; all are done, or none.
//! * JSON merge patch (RFC 7396): objects merge, null deletes, lists are replaced.
//! * strategic merge patch: as merge patch, but lists merge as the type says, and directives in the patch order deletions,
//!   replacements and the order of lists (see the private module `strategic`).
//!
//! What is known of a type is its [`Shape`].

mod json;
#[cfg(test)]
mod keys;
mod order;
mod strategic;

use orrery_machinery::shape::Shape;
use orrery_machinery::status::ApiError;
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

/// What `patch` makes of `object`, where lists merge as `shape` says; without one no list merges.
///
/// # Errors
/// 400 when the patch is malformed; 422 when it does not apply to this object.
pub fn apply(kind: PatchKind, object: &Value, patch: &Value, shape: Option<&Shape>) -> Result<Value, ApiError> {
    match kind {
        PatchKind::Json => json::apply(object, patch),
        PatchKind::Merge => {
            must_be_map(patch)?;
            let mut patched = object.clone();
            json_patch::merge(&mut patched, patch);
            Ok(patched)
        }
        PatchKind::Strategic => {
            must_be_map(patch)?;
            strategic::apply(object, patch, shape.map(Shape::view)).map_err(ApiError::from)
        }
    }
}

fn must_be_map(patch: &Value) -> Result<(), ApiError> {
    if patch.is_object() { Ok(()) } else { Err(ApiError::bad_request("invalid JSON document: a patch is an object")) }
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
    NoMergeKey { map: String, key: String },
    #[error("cannot merge lists without merge key for maps")]
    NoKeyForMaps,
    #[error("invalid patch format of primitive list")]
    BadPrimitiveList,
    #[error("invalid patch format of retainKeys")]
    BadRetainKeys,
    #[error("invalid patch format of setElementOrder list")]
    BadSetElementOrder,
    #[error("the order in patch list {list} doesn't match $setElementOrder list {order}")]
    OrderMismatch { list: String, order: String },
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    #[error("lists of lists are not supported")]
    ListOfLists,
    #[error("list element types are not identical")]
    MixedList,
    #[error("{field} is no list in the object, but the patch orders its elements")]
    NotAList { field: String },
    #[error("the patch is nested too deep")]
    TooDeep,
}

impl From<PatchError> for ApiError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::BadPrimitiveList
            | PatchError::BadRetainKeys
            | PatchError::BadSetElementOrder
            | PatchError::TooDeep => Self::bad_request(error.to_string()),
            PatchError::BadPatchType { .. }
            | PatchError::NoMergeKey { .. }
            | PatchError::NoKeyForMaps
            | PatchError::OrderMismatch { .. }
            | PatchError::MergeDirectiveInList
            | PatchError::ListOfLists
            | PatchError::MixedList
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
            assert_eq!(apply(kind, &json!({}), &json!([1]), None).unwrap_err().code, 400);
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
            let patched = apply(PatchKind::Merge, &object, &patch, None).unwrap();
            prop_assert_eq!(patched, rfc7396(object, &patch));
        }

        #[test]
        fn without_merge_keys_and_directives_a_strategic_patch_is_a_merge_patch(object in any_map(), patch in any_map()) {
            // Nulls inside of lists are where the two differ: strategic merge drops them from maps in lists.
            let strategic = apply(PatchKind::Strategic, &object, &patch, None).unwrap();
            let merge = apply(PatchKind::Merge, &object, &patch, None).unwrap();
            prop_assert_eq!(without_nulls_in_maps(&strategic), without_nulls_in_maps(&merge));
        }
    }
}

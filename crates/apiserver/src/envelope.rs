//! How objects lie in the store: JSON without the resource version, which is the revision of the last write.
//!
//! This is the only place that knows, so that a path which splices bytes without parsing can be put in here.

use crate::object;
use bytes::Bytes;
use orrery_machinery::status::ApiError;
use orrery_store::{Entry, Revision};
use serde_json::{Value, json};

/// The bytes to store for an object.
pub(crate) fn encode(object: &Value) -> Result<Bytes, ApiError> {
    let mut object = object.clone();
    object::set_meta(&mut object, "resourceVersion", None);
    serde_json::to_vec(&object).map(Bytes::from).map_err(|error| ApiError::internal(format!("cannot encode: {error}")))
}

/// The object of an entry, with its resource version.
pub(crate) fn decode(entry: &Entry) -> Result<Value, ApiError> {
    decode_at(entry, entry.mod_revision)
}

/// The object of an entry, with `revision` for its resource version (as a deletion shows it).
pub(crate) fn decode_at(entry: &Entry, revision: Revision) -> Result<Value, ApiError> {
    let object = serde_json::from_slice(&entry.value).map_err(|error| {
        ApiError::internal(format!("the stored object {} is damaged ({error}); restore it from a backup", entry.key))
    })?;
    Ok(with_version(object, revision))
}

/// Sets the resource version.
pub(crate) fn with_version(mut object: Value, revision: Revision) -> Value {
    object::set_meta(&mut object, "resourceVersion", Some(json!(revision.0.to_string())));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_version_is_the_revision_and_is_not_stored() {
        let object = json!({"metadata": {"name": "a", "resourceVersion": "7"}});
        let value = encode(&object).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&value).unwrap(), json!({"metadata": {"name": "a"}}));
        let entry = Entry { key: "k".into(), value, create_revision: Revision(1), mod_revision: Revision(9) };
        assert_eq!(decode(&entry).unwrap()["metadata"]["resourceVersion"], "9");
    }
}

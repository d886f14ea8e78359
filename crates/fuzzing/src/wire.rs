//! Protobuf.

/// A body.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(object) = orrery_protobuf::decode(bytes) else { return };
    assert!(object["apiVersion"].is_string() && object["kind"].is_string(), "an object says what it is");
}

//! Reading `metadata` of an object, and its rules.
//!
//! * accessors: one function per field; what is unset or of another type reads as empty.
//! * [`format`]: the rules that a text follows (DNS names, label keys and values), with upstream's words.
//! * [`validate`]: the rules of a whole `metadata`.

mod depth;
mod format;
mod validate;

pub use depth::{DEPTH_LIMIT, depth, is_deeper};
pub use format::{
    dns_1035_label_problems, dns_label_problems, dns_subdomain_problems, label_value_problems, path_segment_problems,
    qualified_name_problems,
};
pub use validate::{NameRule, validate, validate_annotations, validate_extension, validate_labels};

use serde_json::{Map, Value};

/// A text under `metadata`; empty when it is unset.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// `metadata.name`; empty when it is unset.
#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.generateName`; empty when it is unset.
#[must_use]
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// `metadata.namespace`; empty when it is unset.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`; empty when it is unset.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`; empty when it is unset.
#[must_use]
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.creationTimestamp`; empty when it is unset.
#[must_use]
pub fn creation_timestamp(object: &Value) -> &str {
    text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp`, once the object is being deleted.
#[must_use]
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    object["metadata"]["deletionTimestamp"].as_str()
}

/// Whether the object is being deleted.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    deletion_timestamp(object).is_some()
}

/// `metadata.generation`; 0 when it is unset.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or_default()
}

/// `metadata.finalizers`.
#[must_use]
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.map(|l| l.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// `metadata.labels`; none when there are no labels.
#[must_use]
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["labels"].as_object()
}

/// The label `key`.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// The annotation `key`.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(key)?.as_str()
}

/// `metadata` for writing; it is made when it is missing or no object.
#[must_use]
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("made an object above")
}

/// How many random characters a generated name ends in.
pub const GENERATED_SUFFIX: usize = 5;

/// `base` with a suffix made of `random`: at most 63 characters, of which the last [`GENERATED_SUFFIX`] are drawn from
/// characters that form no words.
#[must_use]
pub fn generated_name(base: &str, random: [u8; GENERATED_SUFFIX]) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut cut = base.len().min(63 - GENERATED_SUFFIX);
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    let suffix = random.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    base[..cut].chars().chain(suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_generated_name_keeps_its_base_and_fits_a_label() {
        assert_eq!(generated_name("web-", [0, 1, 2, 26, 27]), "web-bcd9b");
        let long = generated_name(&"a".repeat(80), [1; 5]);
        assert_eq!((long.len(), long.ends_with("ccccc")), (63, true));
        assert_eq!(generated_name(&"ä".repeat(80), [1; 5]).chars().filter(|c| *c == 'ä').count(), 29);
    }

    #[test]
    fn accessors_read_what_is_there_and_nothing_else() {
        let object = json!({"metadata": {"name": "a", "labels": {"k": "v"}, "finalizers": ["f", 1], "generation": 3}});
        assert_eq!((name(&object), namespace(&object), generation(&object)), ("a", "", 3));
        assert_eq!((label(&object, "k"), label(&object, "x")), (Some("v"), None));
        assert_eq!(finalizers(&object), ["f"]);
        assert!(!is_deleting(&object));
        let mut nothing = Value::Null;
        metadata_mut(&mut nothing).insert("name".into(), "b".into());
        assert_eq!(name(&nothing), "b");
    }
}

//! The rules of `metadata` (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use super::{
    dns_1035_label_problems, dns_label_problems, dns_subdomain_problems, finalizers, is_deleting, label_value_problems,
    path_segment_problems, qualified_name_problems,
};
use crate::status::FieldError;
use serde_json::Value;

/// All keys and values of annotations together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// What an object's name has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// An RFC 1123 subdomain, as for most kinds.
    DnsSubdomain,
    /// An RFC 1123 label (namespaces).
    DnsLabel,
    /// An RFC 1035 label, which begins with a letter (services).
    Dns1035Label,
    /// Whatever fits a path's segment (RBAC).
    PathSegment,
}

impl NameRule {
    fn problems(self, name: &str) -> Vec<String> {
        match self {
            Self::DnsSubdomain => dns_subdomain_problems(name),
            Self::DnsLabel => dns_label_problems(name),
            Self::Dns1035Label => dns_1035_label_problems(name),
            Self::PathSegment => path_segment_problems(name),
        }
    }
}

/// Checks `metadata` of a new object, or of a changed one when the old one is given, of a kind of Kubernetes itself: its
/// finalizers are qualified by a domain, or standard ones.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>, namespaced: bool, rule: NameRule) -> Vec<FieldError> {
    let mut errors = validate_extension(object, old, namespaced, rule);
    for (index, finalizer) in finalizers(object).into_iter().enumerate() {
        let is_qualified = finalizer.contains('/') || STANDARD_FINALIZERS.contains(&finalizer);
        if !is_qualified && qualified_name_problems(finalizer).is_empty() {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(format!("metadata.finalizers[{index}]"), &finalizer.into(), why));
        }
    }
    errors
}

/// [`validate`] for definitions of custom resources and their objects, whose finalizers may have any name.
#[must_use]
pub fn validate_extension(object: &Value, old: Option<&Value>, namespaced: bool, rule: NameRule) -> Vec<FieldError> {
    let metadata = &object["metadata"];
    let mut errors = Vec::new();
    name(metadata, rule, &mut errors);
    namespace(metadata, namespaced, &mut errors);
    errors.extend(validate_labels(&metadata["labels"], "metadata.labels"));
    errors.extend(validate_annotations(&metadata["annotations"], "metadata.annotations"));
    owners(&metadata["ownerReferences"], &mut errors);
    for (index, finalizer) in finalizers(object).into_iter().enumerate() {
        let field = format!("metadata.finalizers[{index}]");
        let problems = qualified_name_problems(finalizer);
        errors.extend(problems.iter().map(|p| FieldError::invalid(field.as_str(), &finalizer.into(), p)));
    }
    if let Some(old) = old {
        change(object, old, &mut errors);
    }
    errors
}

const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn name(metadata: &Value, rule: NameRule, errors: &mut Vec<FieldError>) {
    if let Some(base) = metadata["generateName"].as_str().filter(|base| !base.is_empty()) {
        // The base may end as a name may not, because more follows.
        let problems = rule.problems(&format!("{}a", base.trim_end_matches('-')));
        errors.extend(problems.iter().map(|p| FieldError::invalid("metadata.generateName", &base.into(), p)));
    }
    match metadata["name"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required("metadata.name", "name or generateName is required")),
        name => {
            let problems = rule.problems(name);
            errors.extend(problems.iter().map(|p| FieldError::invalid("metadata.name", &name.into(), p)));
        }
    }
}

fn namespace(metadata: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "metadata.namespace";
    match (namespaced, metadata["namespace"].as_str().unwrap_or_default()) {
        (true, "") => errors.push(FieldError::required(FIELD, "")),
        (true, namespace) => {
            let problems = dns_label_problems(namespace);
            errors.extend(problems.iter().map(|p| FieldError::invalid(FIELD, &namespace.into(), p)));
        }
        (false, "") => {}
        (false, _) => errors.push(FieldError::forbidden(FIELD, "not allowed on this type")),
    }
}

/// Checks a map of labels that stands at `field`.
#[must_use]
pub fn validate_labels(labels: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let keys = qualified_name_problems(key).into_iter().map(|p| (key.as_str(), p));
        let values = label_value_problems(text).into_iter().map(|p| (text, p));
        errors.extend(keys.chain(values).map(|(what, p)| FieldError::invalid(field, &what.into(), &p)));
    }
    errors
}

/// Checks a map of annotations that stands at `field`.
#[must_use]
pub fn validate_annotations(annotations: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        // The key's prefix may be in upper case here, unlike a label's.
        let problems = qualified_name_problems(&key.to_lowercase());
        errors.extend(problems.iter().map(|p| FieldError::invalid(field, &key.as_str().into(), p)));
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long(field, ANNOTATIONS_LIMIT));
    }
    errors
}

fn owners(owners: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "metadata.ownerReferences";
    let mut controller: Option<&str> = None;
    for (index, owner) in owners.as_array().into_iter().flatten().enumerate() {
        let required =
            [("apiVersion", "version must not be empty"), ("kind", ""), ("name", ""), ("uid", "")].into_iter();
        for (key, why) in required {
            if owner[key].as_str().unwrap_or_default().is_empty() {
                let why = if why.is_empty() { format!("{key} must not be empty") } else { why.to_owned() };
                errors.push(FieldError::invalid(format!("{FIELD}[{index}].{key}"), &owner[key], &why));
            }
        }
        if owner["controller"] == Value::Bool(true) {
            let name = owner["name"].as_str().unwrap_or_default();
            match controller.replace(name) {
                None => {}
                Some(first) => errors.push(FieldError::invalid(
                    FIELD,
                    owners,
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {name}"
                    ),
                )),
            }
        }
    }
}

fn change(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new_meta, old_meta) = (&object["metadata"], &old["metadata"]);
    // What a client leaves out is carried over from the old object; deletion is the server's own to write.
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        if !new_meta[field].is_null() && new_meta[field] != old_meta[field] {
            errors.push(FieldError::invalid(format!("metadata.{field}"), &new_meta[field], "field is immutable"));
        }
    }
    if is_deleting(old) {
        let before = finalizers(old);
        let added: Vec<&str> = finalizers(object).into_iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(errors: &[FieldError]) -> Vec<&str> {
        errors.iter().map(|e| e.field.as_str()).collect()
    }

    #[test]
    fn metadata_follows_the_rules_of_its_kind() {
        let table = [
            (json!({"name": "a", "namespace": "n"}), true, vec![]),
            (json!({"name": "a"}), true, vec!["metadata.namespace"]),
            (json!({"name": "a", "namespace": "n"}), false, vec!["metadata.namespace"]),
            (json!({"namespace": "n"}), true, vec!["metadata.name"]),
            (json!({"name": "A"}), false, vec!["metadata.name"]),
            (json!({"name": "a", "generateName": "A-"}), false, vec!["metadata.generateName"]),
            (json!({"name": "a", "generateName": "a-"}), false, vec![]),
            (json!({"name": "a", "labels": {"k!": "v", "k": "v v"}}), false, vec!["metadata.labels"; 2]),
            (json!({"name": "a", "annotations": {"k": "x".repeat(300_000)}}), false, vec!["metadata.annotations"]),
            (json!({"name": "a", "finalizers": ["x.io/y", "z"]}), false, vec!["metadata.finalizers[1]"]),
            (
                json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n"}]}),
                false,
                vec!["metadata.ownerReferences[0].uid"],
            ),
        ];
        for (metadata, namespaced, expected) in table {
            let errors = validate(&json!({"metadata": metadata}), None, namespaced, NameRule::DnsSubdomain);
            assert_eq!(fields(&errors), expected, "{metadata}");
        }
    }

    #[test]
    fn identity_does_not_change_and_a_dying_object_gains_no_finalizers() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "deletionTimestamp": "t", "finalizers": ["x.io/a"]}});
        let mut new = old.clone();
        new["metadata"]["uid"] = "2".into();
        new["metadata"]["finalizers"] = json!(["x.io/a", "x.io/b"]);
        let errors = validate(&new, Some(&old), false, NameRule::DnsSubdomain);
        assert_eq!(fields(&errors), ["metadata.uid", "metadata.finalizers"]);
        assert!(errors[1].message.contains("[]string{\"x.io/b\"}"), "{}", errors[1].message);
    }
}

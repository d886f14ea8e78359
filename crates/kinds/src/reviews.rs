//! Reviews, answered at once: who am I (`authentication.k8s.io/v1`) and who may do what (`authorization.k8s.io/v1`).

use super::fields::{is_set, size, text};
use orrery_api::k8s::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    },
};
use orrery_machinery::{
    descriptor::{FixedResource, Storage},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptors() -> [FixedResource; 5] {
    [
        super::review::<SelfSubjectReview>("selfsubjectreview"),
        FixedResource {
            validate: |object, _| attributes(&object["spec"]),
            ..super::review::<SelfSubjectAccessReview>("selfsubjectaccessreview")
        },
        FixedResource {
            validate: |object, _| [subject(&object["spec"]), attributes(&object["spec"])].concat(),
            ..super::review::<SubjectAccessReview>("subjectaccessreview")
        },
        FixedResource {
            storage: Storage::Review,
            validate: |object, _| [subject(&object["spec"]), local(object)].concat(),
            ..super::namespaced::<LocalSubjectAccessReview>("localsubjectaccessreview")
        },
        FixedResource {
            validate: |object, _| match text(&object["spec"]["namespace"]) {
                "" => vec![FieldError::required("spec.namespace", "rules are listed for one namespace")],
                _ => Vec::new(),
            },
            ..super::review::<SelfSubjectRulesReview>("selfsubjectrulesreview")
        },
    ]
}

fn attributes(spec: &Value) -> Vec<FieldError> {
    if is_set(&spec["resourceAttributes"]) != is_set(&spec["nonResourceAttributes"]) {
        return Vec::new();
    }
    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    vec![FieldError::invalid("spec.resourceAttributes", &spec["nonResourceAttributes"], why)]
}

fn subject(spec: &Value) -> Vec<FieldError> {
    if !text(&spec["user"]).is_empty() || size(&spec["groups"]) > 0 {
        return Vec::new();
    }
    let why = "at least one of user or group must be specified";
    vec![FieldError::invalid("spec.user", &spec["user"], why)]
}

/// A local review is about resources of the namespace that it is posted to.
fn local(object: &Value) -> Vec<FieldError> {
    let spec = &object["spec"];
    let mut errors = attributes(spec);
    let asked = &spec["resourceAttributes"]["namespace"];
    let namespace = orrery_machinery::meta::namespace(object);
    if text(asked) != namespace {
        let why = format!("must match metadata.namespace, which is {namespace:?}");
        errors.push(FieldError::invalid("spec.resourceAttributes.namespace", asked, &why));
    }
    if is_set(&spec["nonResourceAttributes"]) {
        let why = "disallowed on this kind of request";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", &spec["nonResourceAttributes"], why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_review_asks_one_thing_about_someone() {
        let pods = || json!({"resource": "pods", "verb": "get", "namespace": "n"});
        let (own, other, local) = (1, 2, 3);
        let table = [
            (own, json!({"resourceAttributes": pods()}), vec![]),
            (own, json!({}), vec!["spec.resourceAttributes"]),
            (own, json!({"resourceAttributes": pods(), "nonResourceAttributes": {}}), vec!["spec.resourceAttributes"]),
            (other, json!({"resourceAttributes": pods(), "user": "u"}), vec![]),
            (other, json!({"resourceAttributes": pods(), "groups": ["g"]}), vec![]),
            (other, json!({"resourceAttributes": pods()}), vec!["spec.user"]),
            (local, json!({"resourceAttributes": pods(), "user": "u"}), vec![]),
            (
                local,
                json!({"resourceAttributes": {"namespace": "x"}, "user": "u"}),
                vec!["spec.resourceAttributes.namespace"],
            ),
        ];
        for (index, spec, expected) in table {
            let object = json!({"metadata": {"namespace": "n"}, "spec": spec});
            let errors = (descriptors()[index].validate)(&object, None);
            assert_eq!(errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), expected, "{spec}");
        }
    }
}

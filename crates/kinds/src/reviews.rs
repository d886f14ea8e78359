//! Reviews, answered at once: who am I (`authentication.k8s.io/v1`) and who may do what (`authorization.k8s.io/v1`).

use super::fields::{is_set, size, text};
use orrery_api::k8s::api::{
    authentication::v1::{SelfSubjectReview, TokenReview},
    authorization::v1::{
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    },
};
use orrery_machinery::{
    descriptor::{FixedResource, Storage},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptors() -> [FixedResource; 6] {
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
        super::review::<TokenReview>("tokenreview"),
    ]
}

fn attributes(spec: &Value) -> Vec<FieldError> {
    if is_set(&spec["resourceAttributes"]) != is_set(&spec["nonResourceAttributes"]) {
        let mut errors = Vec::new();
        for field in ["fieldSelector", "labelSelector"] {
            let path = format!("spec.resourceAttributes.{field}");
            errors.extend(selector(&spec["resourceAttributes"][field], &path));
        }
        return errors;
    }
    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    vec![FieldError::invalid("spec.resourceAttributes", &spec["nonResourceAttributes"], why)]
}

/// A selector is a text or a list of requirements.
fn selector(selector: &Value, path: &str) -> Vec<FieldError> {
    if !is_set(selector) {
        return Vec::new();
    }
    let raw = &selector["rawSelector"];
    let count = size(&selector["requirements"]);
    match (text(raw).is_empty(), count > 0) {
        (false, true) => {
            let why = "may not specified at the same time as requirements";
            return vec![FieldError::invalid(format!("{path}.rawSelector"), raw, why)];
        }
        (true, false) => {
            let why = "when the selector is specified, requirements or rawSelector is required";
            return vec![FieldError::required(format!("{path}.requirements"), why)];
        }
        _ => {}
    }
    let requirements = selector["requirements"].as_array().into_iter().flatten().enumerate();
    requirements.flat_map(|(index, term)| requirement(term, &format!("{path}.requirements[{index}]"))).collect()
}

fn requirement(term: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(&term["key"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.key"), "must be specified"));
    }
    match (text(&term["operator"]), size(&term["values"]) > 0) {
        ("In" | "NotIn", false) => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(format!("{path}.values"), why));
        }
        ("Exists" | "DoesNotExist", true) => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(format!("{path}.values"), why));
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
        _ => {
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(format!("{path}.operator"), &term["operator"], why));
        }
    }
    errors
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
            (own, json!({"resourceAttributes": {"fieldSelector": {"rawSelector": "a=b"}}}), vec![]),
            (
                own,
                json!({"resourceAttributes": {"fieldSelector": {}, "labelSelector": {"requirements": [
                    {"key": "a", "operator": "In", "values": ["b"]}, {"operator": "Exists", "values": ["b"]},
                    {"key": "a", "operator": "Is"}]}}}),
                vec![
                    "spec.resourceAttributes.fieldSelector.requirements",
                    "spec.resourceAttributes.labelSelector.requirements[1].key",
                    "spec.resourceAttributes.labelSelector.requirements[1].values",
                    "spec.resourceAttributes.labelSelector.requirements[2].operator",
                ],
            ),
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

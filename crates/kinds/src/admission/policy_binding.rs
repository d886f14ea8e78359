//! `admissionregistration.k8s.io/v1`: `ValidatingAdmissionPolicyBinding` and `MutatingAdmissionPolicyBinding`.

use super::{matching, policy};
use crate::{
    columns::column,
    fields::{elements, existing_map, is_set, text},
    rules,
};
use orrery_api::k8s::api::admissionregistration::v1::{
    MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBinding,
};
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn validating() -> FixedResource {
    FixedResource {
        validate: |object, old| {
            let mut errors = check(object, old);
            actions(&object["spec"]["validationActions"], &mut errors);
            errors
        },
        ..both(crate::cluster_wide::<ValidatingAdmissionPolicyBinding>("validatingadmissionpolicybinding"))
    }
}

pub(super) fn mutating() -> FixedResource {
    FixedResource {
        validate: check,
        ..both(crate::cluster_wide::<MutatingAdmissionPolicyBinding>("mutatingadmissionpolicybinding"))
    }
}

fn both(base: FixedResource) -> FixedResource {
    FixedResource {
        categories: &["api-extensions"],
        counts_generation: true,
        unconditional_update: false,
        default: |object| {
            let spec = object.as_object_mut().and_then(|object| existing_map(object, "spec"));
            if let Some(constraints) = spec.and_then(|spec| existing_map(spec, "matchResources")) {
                matching::fill_in(constraints, &["resourceRules", "excludeResourceRules"]);
            }
        },
        columns: COLUMNS,
        ..base
    }
}

const COLUMNS: &[Column] = &[
    column("PolicyName", 0, "The policy that is bound.", |object, _| text(&object["spec"]["policyName"]).into()),
    column("ParamRef", 0, "What the policy is set by.", |object, _| {
        let reference = &object["spec"]["paramRef"];
        match (text(&reference["namespace"]), text(&reference["name"])) {
            _ if !is_set(reference) => "<unset>".into(),
            ("", "") => crate::columns::selector_text(&reference["selector"]),
            ("", name) => name.into(),
            (namespace, name) => format!("{namespace}/{name}").into(),
        }
    }),
];

fn check(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    rules::required_name(&mut errors, "spec.policyName", &spec["policyName"], meta::dns_subdomain_problems);
    if is_set(&spec["paramRef"]) {
        parameters(&spec["paramRef"], &mut errors);
    }
    if is_set(&spec["matchResources"]) {
        policy::match_resources(&spec["matchResources"], "spec.matchResources", &mut errors);
    }
    errors
}

fn parameters(reference: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.paramRef";
    let named = !text(&reference["name"]).is_empty();
    match (named, is_set(&reference["selector"])) {
        (true, true) => {
            let why = "name and selector are mutually exclusive";
            errors.push(FieldError::forbidden(format!("{FIELD}.name"), why));
        }
        (false, false) => {
            errors.push(FieldError::required(FIELD, "one of name or selector must be specified"));
        }
        (true, false) => {
            let problems = meta::path_segment_problems(text(&reference["name"]));
            crate::fields::report(errors, &format!("{FIELD}.name"), &reference["name"], &problems);
        }
        (false, true) => rules::selector(errors, &format!("{FIELD}.selector"), &reference["selector"]),
    }
    let (field, action) = (format!("{FIELD}.parameterNotFoundAction"), &reference["parameterNotFoundAction"]);
    rules::required_one_of(errors, &field, action, &["Allow", "Deny"]);
}

fn actions(actions: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.validationActions";
    let mut seen = BTreeSet::new();
    for action in elements(actions) {
        if !["Audit", "Deny", "Warn"].contains(&text(action)) {
            errors.push(FieldError::not_supported(FIELD, action, &["Audit", "Deny", "Warn"]));
        }
        if !seen.insert(text(action)) {
            errors.push(FieldError::duplicate(FIELD, action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.push(FieldError::invalid(FIELD, actions, why));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(FIELD, "at least one validation action is required"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_binding_follows_upstreams_rules() {
        let spec = json!({"policyName": "p", "validationActions": ["Deny"]});
        let rules = Rules::new(validating(), json!({"metadata": {"name": "b"}, "spec": spec}));
        let reference = json!({"name": "a", "namespace": "n", "parameterNotFoundAction": "Deny"});
        rules.fine(&[("/spec/paramRef", reference.clone())]);
        for (at, value, field, text) in [
            ("policyName", json!(""), "policyName", "Required value"),
            ("validationActions", json!([]), "validationActions", "at least one validation action is required"),
            ("validationActions", json!(["Deny", "Warn"]), "validationActions", "must not contain both Deny and Warn"),
            (
                "paramRef",
                json!({"parameterNotFoundAction": "Deny"}),
                "paramRef",
                "one of name or selector must be specified",
            ),
            ("paramRef", json!({"name": "a"}), "paramRef.parameterNotFoundAction", "Required value"),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
        let changing = Rules::new(mutating(), json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}}));
        changing.fine(&[]);
        assert_eq!(headings(mutating()), ["Name", "PolicyName", "ParamRef", "Age"]);
        let bound = rules.with(&[("/spec/paramRef", reference)]);
        assert_eq!(json!(cells(validating(), &bound)[1..3]), json!(["p", "n/a"]));
    }
}

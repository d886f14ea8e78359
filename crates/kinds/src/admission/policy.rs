//! `admissionregistration.k8s.io/v1`: `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`. Whether their expressions
//! are sound is checked where they are compiled.

use super::matching;
use crate::{
    columns::{column, integer},
    fields::{elements, existing_map, is_set, map_at, one_of, report, set_default, size, text},
    merge_keys, rules,
};
use orrery_api::k8s::api::admissionregistration::v1::{MutatingAdmissionPolicy, ValidatingAdmissionPolicy};
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn validating() -> FixedResource {
    FixedResource {
        categories: &["api-extensions"],
        has_status: true,
        counts_generation: true,
        unconditional_update: false,
        default,
        validate: validate_validating,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), false, NameRule::DnsSubdomain),
            _ => validate_validating(object, Some(old)),
        }),
        columns: VALIDATING_COLUMNS,
        merge_keys: MERGE_KEYS,
        ..crate::cluster_wide::<ValidatingAdmissionPolicy>("validatingadmissionpolicy")
    }
}

pub(super) fn mutating() -> FixedResource {
    FixedResource {
        categories: &["api-extensions"],
        counts_generation: true,
        unconditional_update: false,
        default: |object| {
            default(object);
            if let Some(spec) = object.as_object_mut().and_then(|object| existing_map(object, "spec")) {
                set_default(spec, "reinvocationPolicy", "Never");
            }
        },
        validate: validate_mutating,
        columns: MUTATING_COLUMNS,
        merge_keys: MERGE_KEYS,
        ..crate::cluster_wide::<MutatingAdmissionPolicy>("mutatingadmissionpolicy")
    }
}

const MERGE_KEYS: &[MergeKey] = merge_keys!["spec.matchConditions" => "name", "spec.variables" => "name"];

const PARAM_KIND: Column = column("ParamKind", 0, "The kind of what the policy is set by.", |object, _| {
    let kind = &object["spec"]["paramKind"];
    if !is_set(kind) {
        return "<unset>".into();
    }
    format!("{}/{}", text(&kind["apiVersion"]), text(&kind["kind"])).into()
});

const VALIDATING_COLUMNS: &[Column] = &[
    integer("Validations", "How many rules there are.", |object, _| size(&object["spec"]["validations"]).into()),
    PARAM_KIND,
];

const MUTATING_COLUMNS: &[Column] = &[
    integer("Mutations", "How many changes there are.", |object, _| size(&object["spec"]["mutations"]).into()),
    PARAM_KIND,
];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    set_default(spec, "failurePolicy", "Fail");
    if let Some(constraints) = existing_map(spec, "matchConstraints") {
        matching::fill_in(constraints, &["resourceRules", "excludeResourceRules"]);
    }
}

fn validate_validating(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    check(spec, &mut errors);
    if size(&spec["validations"]) + size(&spec["auditAnnotations"]) == 0 {
        let why = "validations or auditAnnotations must contain at least one item";
        for list in ["validations", "auditAnnotations"] {
            errors.push(FieldError::required(format!("spec.{list}"), why));
        }
    }
    for (index, validation) in elements(&spec["validations"]).enumerate() {
        let field = format!("spec.validations[{index}]");
        expression(&validation["expression"], &format!("{field}.expression"), &mut errors);
        let message = &validation["message"];
        if is_set(message) && text(message).trim().is_empty() {
            let why = "message must be non-empty if specified";
            errors.push(FieldError::invalid(format!("{field}.message"), message, why));
        } else if text(message).trim().contains('\n') {
            let why = "message must not contain line breaks";
            errors.push(FieldError::invalid(format!("{field}.message"), message, why));
        }
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        one_of(&mut errors, &format!("{field}.reason"), &validation["reason"], &reasons);
    }
    let mut keys = BTreeSet::new();
    for (index, annotation) in elements(&spec["auditAnnotations"]).enumerate() {
        let field = format!("spec.auditAnnotations[{index}]");
        let key = &annotation["key"];
        rules::required_name(&mut errors, &format!("{field}.key"), key, meta::qualified_name_problems);
        if !keys.insert(text(key)) {
            errors.push(FieldError::duplicate(format!("{field}.key"), key));
        }
        expression(&annotation["valueExpression"], &format!("{field}.valueExpression"), &mut errors);
    }
    errors
}

fn validate_mutating(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    check(spec, &mut errors);
    if size(&spec["mutations"]) == 0 {
        errors.push(FieldError::required("spec.mutations", "mutations must contain at least one item"));
    }
    for (index, mutation) in elements(&spec["mutations"]).enumerate() {
        let field = format!("spec.mutations[{index}]");
        let kind = &mutation["patchType"];
        let kinds = ["ApplyConfiguration", "JSONPatch"];
        rules::required_one_of(&mut errors, &format!("{field}.patchType"), kind, &kinds);
        for (name, part) in [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")] {
            let (given, field) = (&mutation[part], format!("{field}.{part}"));
            match (*kind == name, is_set(given)) {
                (true, false) => {
                    let why = format!("must be specified when patchType is {name}");
                    errors.push(FieldError::required(field, &why));
                }
                (true, true) => expression(&given["expression"], &format!("{field}.expression"), &mut errors),
                (false, true) => {
                    let why = format!("must not be specified when patchType is {}", text(kind));
                    errors.push(FieldError::invalid_whole(field, &why));
                }
                (false, false) => {}
            }
        }
    }
    let policies = ["IfNeeded", "Never"];
    rules::required_one_of(&mut errors, "spec.reinvocationPolicy", &spec["reinvocationPolicy"], &policies);
    errors
}

fn expression(expression: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if text(expression).trim().is_empty() {
        errors.push(FieldError::required(field, "expression is not specified"));
    }
}

/// What both kinds of policies have.
fn check(spec: &Value, errors: &mut Vec<FieldError>) {
    rules::required_one_of(errors, "spec.failurePolicy", &spec["failurePolicy"], &["Fail", "Ignore"]);
    let kind = &spec["paramKind"];
    if is_set(kind) {
        rules::required(errors, "spec.paramKind.apiVersion", &kind["apiVersion"]);
        let lower = |name: &str| meta::dns_1035_label_problems(&name.to_lowercase());
        rules::required_name(errors, "spec.paramKind.kind", &kind["kind"], lower);
    }
    let constraints = &spec["matchConstraints"];
    if rules::required(errors, "spec.matchConstraints", constraints) {
        match_resources(constraints, "spec.matchConstraints", errors);
        if size(&constraints["resourceRules"]) == 0 {
            errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
        }
    }
    matching::conditions(&spec["matchConditions"], "spec.matchConditions", errors);
    let mut names = BTreeSet::new();
    for (index, variable) in elements(&spec["variables"]).enumerate() {
        let field = format!("spec.variables[{index}]");
        let name = &variable["name"];
        if text(name).is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), "name is not specified"));
        } else {
            report(errors, &format!("{field}.name"), name, &identifier_problems(text(name)));
            if !names.insert(text(name)) {
                errors.push(FieldError::duplicate(format!("{field}.name"), name));
            }
        }
        expression(&variable["expression"], &format!("{field}.expression"), errors);
    }
}

fn identifier_problems(name: &str) -> Vec<String> {
    let fine = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if fine { Vec::new() } else { vec!["name is not a valid CEL identifier".to_owned()] }
}

/// Checks what a policy or a binding matches, below `at`.
pub(super) fn match_resources(constraints: &Value, at: &str, errors: &mut Vec<FieldError>) {
    matching::check(constraints, at, errors);
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in elements(&constraints[list]).enumerate() {
            matching::rule(rule, &format!("{at}.{list}[{index}]"), errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    fn constraints() -> Value {
        json!({"resourceRules": [
            {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]},
        ]})
    }

    #[test]
    fn a_policy_that_validates_follows_upstreams_rules() {
        let spec = json!({"matchConstraints": constraints(), "validations": [{"expression": "true"}]});
        let rules = Rules::new(validating(), json!({"metadata": {"name": "p"}, "spec": spec}));
        let filled = rules.filled();
        assert_eq!(
            (&filled["spec"]["failurePolicy"], &filled["spec"]["matchConstraints"]["matchPolicy"]),
            (&json!("Fail"), &json!("Equivalent"))
        );
        rules.fine(&[("/spec/variables", json!([{"name": "a", "expression": "1"}]))]);
        for (at, value, field, text) in [
            ("matchConstraints", json!(null), "matchConstraints", "Required value"),
            ("validations/0/expression", json!(" "), "validations[0].expression", "expression is not specified"),
            ("validations/0/message", json!("a\nb"), "validations[0].message", "must not contain line breaks"),
            ("validations/0/reason", json!("Odd"), "validations[0].reason", "\"Forbidden\", \"Invalid\""),
            (
                "variables",
                json!([{"name": "1a", "expression": "1"}]),
                "variables[0].name",
                "not a valid CEL identifier",
            ),
            ("paramKind", json!({"kind": "K"}), "paramKind.apiVersion", "Required value"),
            ("failurePolicy", json!("Cry"), "failurePolicy", "\"Fail\", \"Ignore\""),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
        assert_eq!(headings(validating()), ["Name", "Validations", "ParamKind", "Age"]);
        assert_eq!(json!(cells(validating(), &rules.filled())[1..3]), json!([1, "<unset>"]));
    }

    #[test]
    fn a_policy_that_mutates_follows_upstreams_rules() {
        let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}});
        let spec = json!({"matchConstraints": constraints(), "mutations": [mutation], "reinvocationPolicy": "Never"});
        let rules = Rules::new(mutating(), json!({"metadata": {"name": "p"}, "spec": spec}));
        rules.fine(&[]);
        rules.one_error("/spec/mutations", &json!([]), "spec.mutations", "mutations must contain at least one item");
        let wrong = json!({"patchType": "ApplyConfiguration"});
        let field = "spec.mutations[0].applyConfiguration";
        rules.one_error("/spec/mutations/0", &wrong, field, "must be specified when patchType is ApplyConfiguration");
        assert_eq!(headings(mutating()), ["Name", "Mutations", "ParamKind", "Age"]);
    }
}

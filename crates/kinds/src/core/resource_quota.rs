//! `v1 ResourceQuota`.

use crate::{
    columns::column,
    fields::{elements, is_set, set_new_status, size, text},
    quantity::{self, plain},
    rules,
};
use orrery_api::k8s::api::core::v1::ResourceQuota;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["quota"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &[]),
        validate,
        validate_part: Some(validate_part),
        columns: COLUMNS,
        ..crate::namespaced::<ResourceQuota>("resourcequota")
    }
}

const COLUMNS: &[Column] = &[
    column("Request", 0, "What is used of what may be requested.", |object, _| used(object, false).into()),
    column("Limit", 0, "What is used of what limits may add up to.", |object, _| used(object, true).into()),
];

fn used(quota: &Value, limits: bool) -> String {
    let status = &quota["status"];
    let of = |(name, hard): (&String, &Value)| {
        let used = status["used"].get(name).map_or_else(|| "0".to_owned(), plain);
        format!("{name}: {used}/{}", plain(hard))
    };
    let hard = status["hard"].as_object().into_iter().flatten();
    hard.filter(|(name, _)| name.starts_with("limits.") == limits).map(of).collect::<Vec<_>>().join(", ")
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    amounts(&spec["hard"], "spec.hard", &mut errors);
    scopes(spec, &mut errors);
    selector(spec, &mut errors);
    if let Some(old) = old {
        let sorted = |quota: &Value| {
            let mut scopes: Vec<String> = elements(&quota["spec"]["scopes"]).map(|s| text(s).to_owned()).collect();
            scopes.sort_unstable();
            scopes
        };
        if sorted(old) != sorted(object) {
            errors.push(FieldError::invalid("spec.scopes", &spec["scopes"], "field is immutable"));
        }
        rules::immutable(&mut errors, "spec.scopeSelector", &spec["scopeSelector"], &old["spec"]["scopeSelector"]);
    }
    errors
}

fn amounts(amounts: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (name, amount) in amounts.as_object().into_iter().flatten() {
        let field = format!("{field}[{name}]");
        let known = quantity::resource_name(errors, &field, name);
        if known && !name.contains('/') && !quantity::is_of_quotas(name) {
            errors.push(FieldError::invalid(
                field.as_str(),
                &name.as_str().into(),
                "must be a standard resource for quota",
            ));
        }
        quantity::check_of(errors, &field, name, amount);
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether a scope says something about a resource.
fn fits(scope: &str, name: &str) -> bool {
    let counts_pods =
        matches!(name, "pods" | "cpu" | "memory") || name.starts_with("requests.") || name.starts_with("limits.");
    match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ => counts_pods && name != "requests.storage",
    }
}

fn scopes(spec: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.scopes";
    let listed: Vec<&str> = elements(&spec["scopes"]).map(text).collect();
    let mut refuse = |why: &str| errors.push(FieldError::invalid(FIELD, &spec["scopes"], why));
    for scope in &listed {
        if !SCOPES.contains(scope) {
            refuse("unsupported scope");
        }
        for name in spec["hard"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if quantity::is_of_quotas(name) && !fits(scope, name) {
                refuse("unsupported scope applied to resource");
            }
        }
    }
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| listed.contains(scope)) {
            refuse("conflicting scopes");
        }
    }
}

fn selector(spec: &Value, errors: &mut Vec<FieldError>) {
    let expressions = &spec["scopeSelector"]["matchExpressions"];
    for (index, expression) in elements(expressions).enumerate() {
        let field = format!("spec.scopeSelector.matchExpressions[{index}]");
        let (scope, operator, values) =
            (text(&expression["scopeName"]), text(&expression["operator"]), &expression["values"]);
        if !SCOPES.contains(&scope) {
            let why = "unsupported scope";
            errors.push(FieldError::invalid(format!("{field}.scopeName"), &expression["scopeName"], why));
        }
        for name in spec["hard"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if quantity::is_of_quotas(name) && !fits(scope, name) {
                let why = "unsupported scope applied to resource";
                errors.push(FieldError::invalid("spec.scopeSelector.matchExpressions", expressions, why));
            }
        }
        let any_operator = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if !any_operator && operator != "Exists" {
            let why = "must be 'Exist' only operator when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort \
                       and ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(FieldError::invalid(format!("{field}.operator"), &expression["operator"], why));
        }
        match operator {
            "In" | "NotIn" if size(values) == 0 => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(format!("{field}.values"), why));
            }
            "Exists" | "DoesNotExist" if size(values) > 0 => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(format!("{field}.values"), values, why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let why = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{field}.operator"), &expression["operator"], why));
            }
        }
    }
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    for list in ["hard", "used"].into_iter().filter(|list| is_set(&object["status"][*list])) {
        amounts(&object["status"][list], &format!("status.{list}"), &mut errors);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    fn rules() -> Rules {
        let hard = json!({"pods": "5", "requests.cpu": "1", "limits.memory": "1Gi"});
        Rules::new(descriptor(), json!({"metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": hard}}))
    }

    #[test]
    fn a_quota_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[(
            "/spec/hard",
            json!({"count/deployments.apps": "2", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"}),
        )]);
        rules.fine(&[("/spec/hard", json!({"pods": "2"})), ("/spec/scopes", json!(["BestEffort"]))]);
        for (at, value, field, text) in [
            ("hard", json!({"rooms": "5"}), "hard[rooms]", "must be a standard resource type or fully qualified"),
            ("hard", json!({"storage": "5"}), "hard[storage]", "must be a standard resource for quota"),
            ("hard", json!({"pods": "500m"}), "hard[pods]", "must be an integer"),
            ("hard", json!({"pods": "-1"}), "hard[pods]", "must be greater than or equal to 0"),
            ("scopes", json!(["Best"]), "scopes", "unsupported scope"),
            ("scopes", json!(["Terminating", "NotTerminating"]), "scopes", "conflicting scopes"),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
        let changed = json!(["Terminating"]);
        rules.change("/spec/scopes", &changed, Some(("spec.scopes", "field is immutable")));
        rules.change("/spec/hard/pods", &json!("9"), None);
        rules.status(&json!({"used": {"pods": "x"}}), Some(("status.used[pods]", "quantities must match")));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        assert_eq!(headings(descriptor()), ["Name", "Request", "Limit", "Age"]);
        let mut quota = rules().filled();
        quota["status"] = json!({"hard": quota["spec"]["hard"], "used": {"pods": "2"}});
        let expected = json!(["pods: 2/5, requests.cpu: 0/1", "limits.memory: 0/1Gi"]);
        assert_eq!(json!(cells(descriptor(), &quota)[1..3]), expected);
    }
}

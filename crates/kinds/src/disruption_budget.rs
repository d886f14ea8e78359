//! `policy/v1 PodDisruptionBudget`.

use super::{
    columns::{column, integer, number, number_or_text},
    fields::{is_set, one_of, set_new_status},
    rules,
};
use orrery_api::k8s::api::policy::v1::PodDisruptionBudget;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["pdb"],
        has_status: true,
        prepare_create: |object| {
            set_new_status(object, &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]);
        },
        counts_generation: true,
        unconditional_update: false,
        validate,
        validate_part: Some(validate_part),
        columns: COLUMNS,
        ..super::namespaced::<PodDisruptionBudget>("poddisruptionbudget")
    }
}

const COLUMNS: &[Column] = &[
    column("Min Available", 0, "How many pods have to stay.", |object, _| {
        number_or_text(&object["spec"]["minAvailable"], "N/A")
    }),
    column("Max Unavailable", 0, "How many pods may be missing.", |object, _| {
        number_or_text(&object["spec"]["maxUnavailable"], "N/A")
    }),
    integer("Allowed Disruptions", "How many pods may be evicted now.", |object, _| {
        number(&object["status"]["disruptionsAllowed"])
    }),
];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    if is_set(&spec["minAvailable"]) && is_set(&spec["maxUnavailable"]) {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", spec, why));
    }
    for name in ["minAvailable", "maxUnavailable"] {
        rules::number_or_percent(&mut errors, &format!("spec.{name}"), &spec[name]);
        rules::at_most_all(&mut errors, &format!("spec.{name}"), &spec[name]);
    }
    rules::selector(&mut errors, "spec.selector", &spec["selector"]);
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    one_of(&mut errors, "spec.unhealthyPodEvictionPolicy", &spec["unhealthyPodEvictionPolicy"], &policies);
    errors
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
    rules::none_negative(&mut errors, "status", &object["status"], &counts);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_budget_follows_upstreams_rules() {
        let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "web", "namespace": "n"}, "spec": spec}));
        rules.fine(&[("/spec/minAvailable", json!("50%"))]);
        for (at, value, field, text) in [
            ("maxUnavailable", json!(1), "spec", "minAvailable and maxUnavailable cannot be both set"),
            ("minAvailable", json!("101%"), "spec.minAvailable", "must not be greater than 100%"),
            ("minAvailable", json!(-1), "spec.minAvailable", "must be greater than or equal to 0"),
            ("unhealthyPodEvictionPolicy", json!("No"), "spec.unhealthyPodEvictionPolicy", "\"AlwaysAllow\""),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, field, text);
        }
        rules.change("/spec/minAvailable", &json!(2), None);
        let status = json!({"disruptionsAllowed": -1, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        rules.status(&status, Some(("status.disruptionsAllowed", "must be greater than or equal to 0")));
        assert_eq!(headings(descriptor()), ["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..4]), json!(["1", "N/A", 0]));
    }
}

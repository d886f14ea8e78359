//! `podFailurePolicy` of a job: what the failure of a pod means for it.

use crate::fields::{elements, is_set, size, text};
use orrery_machinery::{meta, status::FieldError};
use serde_json::{Value, json};

const MOST_RULES: usize = 20;
const MOST_PATTERNS: usize = 20;
const MOST_CODES: usize = 255;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// Checks the policy of a job's spec; it stands at `field`.
pub(super) fn check(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let rules = &spec["podFailurePolicy"]["rules"];
    let field = format!("{field}.rules");
    if size(rules) > MOST_RULES {
        errors.push(FieldError::too_many(field.as_str(), size(rules), MOST_RULES));
    }
    for (index, rule) in elements(rules).enumerate() {
        self::rule(spec, rule, &format!("{field}[{index}]"), errors);
    }
}

fn rule(spec: &Value, rule: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let action = &rule["action"];
    match text(action) {
        "" => errors.push(FieldError::required(format!("{field}.action"), &valid_values(ACTIONS))),
        "FailIndex" if !is_set(&spec["backoffLimitPerIndex"]) => {
            let why = "requires the backoffLimitPerIndex to be set";
            errors.push(FieldError::invalid(format!("{field}.action"), action, why));
        }
        known if ACTIONS.contains(&known) => {}
        _ => errors.push(FieldError::not_supported(format!("{field}.action"), action, ACTIONS)),
    }
    let (codes, conditions) = (&rule["onExitCodes"], &rule["onPodConditions"]);
    if is_set(codes) {
        exit_codes(spec, codes, &format!("{field}.onExitCodes"), errors);
    }
    pod_conditions(conditions, &format!("{field}.onPodConditions"), errors);
    match (is_set(codes), size(conditions) > 0) {
        (true, true) => errors
            .push(FieldError::invalid_whole(field, "specifying both OnExitCodes and OnPodConditions is not supported")),
        (false, false) => errors
            .push(FieldError::invalid_whole(field, "specifying one of OnExitCodes and OnPodConditions is required")),
        (true, false) | (false, true) => {}
    }
}

fn valid_values(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

fn pod_conditions(patterns: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if size(patterns) > MOST_PATTERNS {
        errors.push(FieldError::too_many(field, size(patterns), MOST_PATTERNS));
    }
    for (index, pattern) in elements(patterns).enumerate() {
        let field = format!("{field}[{index}]");
        let problems = meta::qualified_name_problems(text(&pattern["type"]));
        crate::fields::report(errors, &format!("{field}.type"), &pattern["type"], &problems);
        match text(&pattern["status"]) {
            "" => errors.push(FieldError::required(format!("{field}.status"), &valid_values(STATUSES))),
            _ => crate::fields::one_of(errors, &format!("{field}.status"), &pattern["status"], STATUSES),
        }
    }
}

fn exit_codes(spec: &Value, requirement: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let operator = &requirement["operator"];
    let at = format!("{field}.operator");
    match text(operator) {
        "" => errors.push(FieldError::required(at, &valid_values(&["In", "NotIn"]))),
        _ => crate::fields::one_of(errors, &at, operator, &["In", "NotIn"]),
    }
    let pod = &spec["template"]["spec"];
    let mut containers = elements(&pod["containers"]).chain(elements(&pod["initContainers"]));
    let container = &requirement["containerName"];
    if is_set(container) && !containers.any(|known| known["name"] == *container) {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(format!("{field}.containerName"), container, why));
    }
    let codes = &requirement["values"];
    let at = format!("{field}.values");
    match size(codes) {
        0 => errors.push(FieldError::invalid(at.as_str(), codes, "at least one value is required")),
        count if count > MOST_CODES => errors.push(FieldError::too_many(at.as_str(), count, MOST_CODES)),
        _ => {}
    }
    let numbers: Vec<i64> = elements(codes).map(|code| code.as_i64().unwrap_or_default()).collect();
    for (index, code) in numbers.iter().enumerate() {
        if text(operator) == "In" && *code == 0 {
            let why = "must not be 0 for the In operator";
            errors.push(FieldError::invalid(format!("{at}[{index}]"), &json!(0), why));
        }
        if numbers[..index].contains(code) {
            errors.push(FieldError::duplicate(format!("{at}[{index}]"), &json!(code)));
        }
    }
    if !numbers.is_sorted() {
        errors.push(FieldError::invalid(at, codes, "must be ordered"));
    }
}

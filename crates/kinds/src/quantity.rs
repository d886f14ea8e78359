//! Amounts of resources, and the names of resources.

use super::fields::{is_set, report};
use orrery_api::units::parse_quantity_milli;
use orrery_machinery::{meta, status::FieldError};
use serde_json::Value;

/// An amount as its author wrote it.
pub(crate) fn plain(amount: &Value) -> String {
    amount.as_str().map_or_else(|| amount.to_string(), str::to_owned)
}

/// An amount in thousandths; none for what is no amount, or below zero.
pub(crate) fn milli(amount: &Value) -> Option<u128> {
    if is_set(amount) { parse_quantity_milli(plain(amount).trim_start_matches('+')).ok() } else { None }
}

/// Adds an error when `amount` is no amount or below zero; whether it is fine.
pub(crate) fn check(errors: &mut Vec<FieldError>, field: &str, amount: &Value) -> bool {
    let text = plain(amount);
    if let Some(positive) = text.strip_prefix('-')
        && parse_quantity_milli(positive).is_ok()
    {
        errors.push(FieldError::invalid(field, amount, "must be greater than or equal to 0"));
        return false;
    }
    if milli(amount).is_none() {
        let why = "quantities must match the regular expression \
                   '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        errors.push(FieldError::invalid(field, amount, why));
        return false;
    }
    true
}

/// As [`check`], and that there are no parts of a thing that is counted.
pub(crate) fn check_of(errors: &mut Vec<FieldError>, field: &str, name: &str, amount: &Value) {
    let whole = is_counted(name) || name.contains('/');
    if check(errors, field, amount) && whole && milli(amount).is_some_and(|milli| !milli.is_multiple_of(1000)) {
        errors.push(FieldError::invalid(field, amount, "must be an integer"));
    }
}

/// Resources of which there are only whole ones.
fn is_counted(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "replicationcontrollers"
            | "services"
            | "resourcequotas"
            | "secrets"
            | "configmaps"
            | "persistentvolumeclaims"
            | "services.nodeports"
            | "services.loadbalancers"
    ) || name.starts_with("count/")
}

/// Adds an error when `name` is no resource of a container or pod.
pub(crate) fn container_resource_name(errors: &mut Vec<FieldError>, field: &str, name: &str) {
    let problems = meta::qualified_name_problems(name);
    report(errors, field, &name.into(), &problems);
    if !problems.is_empty() {
        return;
    }
    let mut refuse = |why: &str| errors.push(FieldError::invalid(field, &name.into(), why));
    if !name.contains('/') {
        if !is_standard(name) {
            refuse("must be a standard resource type or fully qualified");
        }
        if !is_of_containers(name) {
            refuse("must be a standard resource for containers");
        }
    } else if !is_extended(name) && !name.contains("kubernetes.io/") {
        refuse("doesn't follow extended resource name standard");
    }
}

/// Adds an error when `name` is no resource at all.
pub(crate) fn resource_name(errors: &mut Vec<FieldError>, field: &str, name: &str) -> bool {
    let problems = meta::qualified_name_problems(name);
    report(errors, field, &name.into(), &problems);
    if problems.is_empty() && !name.contains('/') && !is_standard(name) {
        let why = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(field, &name.into(), why));
        return false;
    }
    problems.is_empty()
}

pub(crate) fn is_of_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

fn is_standard(name: &str) -> bool {
    is_of_containers(name) || name == "storage" || is_of_quotas(name)
}

/// Whether a quota without a domain may be about this.
pub(crate) fn is_of_quotas(name: &str) -> bool {
    let plain = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let asked = name.strip_prefix("requests.").is_some_and(|of| {
        matches!(of, "cpu" | "memory" | "ephemeral-storage" | "storage") || of.starts_with("hugepages-")
    });
    let limited = name.strip_prefix("limits.").is_some_and(|of| matches!(of, "cpu" | "memory" | "ephemeral-storage"));
    plain || asked || limited || is_counted(name)
}

/// Whether this is a resource of somebody else's, such as `example.com/gpu`.
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.") && meta::qualified_name_problems(&format!("requests.{name}")).is_empty()
}

/// Whether requests may be below limits.
pub(crate) fn may_be_overcommitted(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    native && !name.starts_with("hugepages-")
}

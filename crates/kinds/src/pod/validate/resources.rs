//! The rules of requests and limits.

use crate::fields::is_set;
use orrery_api::units::parse_quantity_milli;
use orrery_machinery::{meta, status::FieldError};
use serde_json::Value;

/// Checks `resources` of a container.
pub(super) fn check(resources: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for list in ["limits", "requests"] {
        for (name, amount) in resources[list].as_object().into_iter().flatten() {
            resource_name(name, &format!("{field}.{list}"), errors);
            quantity(amount, &format!("{field}.{list}[{name}]"), errors);
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let (Some(wanted), Some(most)) = (milli(request), milli(limit)) else {
            if name.contains('/') && !is_set(limit) {
                let why = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(format!("{field}.limits"), why));
            }
            continue;
        };
        let most_text = plain(limit);
        if name.contains('/') && wanted != most {
            let why = format!("must be equal to {name} limit of {most_text}");
            errors.push(FieldError::invalid(format!("{field}.requests"), request, &why));
        } else if wanted > most {
            let why = format!("must be less than or equal to {name} limit of {most_text}");
            errors.push(FieldError::invalid(format!("{field}.requests"), request, &why));
        }
    }
}

fn plain(amount: &Value) -> String {
    amount.as_str().map_or_else(|| amount.to_string(), str::to_owned)
}

fn milli(amount: &Value) -> Option<u128> {
    if is_set(amount) { parse_quantity_milli(&plain(amount)).ok() } else { None }
}

fn quantity(amount: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let text = plain(amount);
    if let Some(positive) = text.strip_prefix('-')
        && parse_quantity_milli(positive).is_ok()
    {
        errors.push(FieldError::invalid(field, amount, "must be greater than or equal to 0"));
    } else if parse_quantity_milli(text.strip_prefix('+').unwrap_or(&text)).is_err() {
        let why = "quantities must match the regular expression \
                   '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        errors.push(FieldError::invalid(field, amount, why));
    }
}

fn resource_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    let problems = meta::qualified_name_problems(name);
    crate::fields::report(errors, field, &name.into(), &problems);
    let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if problems.is_empty() && !standard && !name.contains('/') {
        errors.push(FieldError::invalid(field, &name.into(), "must be a standard resource type or fully qualified"));
        errors.push(FieldError::invalid(field, &name.into(), "must be a standard resource for containers"));
    }
}

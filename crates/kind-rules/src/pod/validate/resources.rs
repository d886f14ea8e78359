//! The rules of requests and limits.

use crate::{
    fields::is_set,
    quantity::{self, may_be_overcommitted, milli, plain},
};
use orrery_machinery::status::FieldError;
use serde_json::Value;

/// Checks `resources` of a container.
pub(super) fn check(resources: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for list in ["limits", "requests"] {
        for (name, amount) in resources[list].as_object().into_iter().flatten() {
            let field = format!("{field}.{list}[{name}]");
            quantity::container_resource_name(errors, &field, name);
            quantity::check_of(errors, &field, name, amount);
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let (Some(wanted), Some(most)) = (milli(request), milli(limit)) else {
            if !may_be_overcommitted(name) && !is_set(limit) {
                let why = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(format!("{field}.limits"), why));
            }
            continue;
        };
        let most_text = plain(limit);
        if !may_be_overcommitted(name) && wanted != most {
            let why = format!("must be equal to {name} limit of {most_text}");
            errors.push(FieldError::invalid(format!("{field}.requests"), request, &why));
        } else if wanted > most {
            let why = format!("must be less than or equal to {name} limit of {most_text}");
            errors.push(FieldError::invalid(format!("{field}.requests"), request, &why));
        }
    }
}

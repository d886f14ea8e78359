//! `resource.k8s.io/v1 DeviceClass`.

use crate::{
    fields::{elements, is_set, set_default, size, text},
    rules,
};
use orrery_api::k8s::api::resource::v1::DeviceClass;
use orrery_machinery::{
    descriptor::FixedResource,
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        counts_generation: true,
        default: |object| {
            // The type has it, empty or not.
            if let Some(class) = object.as_object_mut() {
                set_default(class, "spec", json!({}));
            }
        },
        validate,
        ..crate::cluster_wide::<DeviceClass>("deviceclass")
    }
}

const MOST: usize = 32;

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    selectors(&object["spec"]["selectors"], "spec.selectors", &mut errors);
    for (index, entry) in elements(&object["spec"]["config"]).enumerate() {
        configuration(entry, &format!("spec.config[{index}]"), &mut errors);
    }
    errors
}

/// Checks the selectors of devices. Whether their expressions are sound is checked where they are compiled.
pub(super) fn selectors(selectors: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if size(selectors) > MOST {
        errors.push(FieldError::too_many(field, size(selectors), MOST));
    }
    for (index, selector) in elements(selectors).enumerate() {
        if !is_set(&selector["cel"]) {
            errors.push(FieldError::required(format!("{field}[{index}].cel"), ""));
        } else if text(&selector["cel"]["expression"]).is_empty() {
            errors.push(FieldError::required(format!("{field}[{index}].cel.expression"), ""));
        }
    }
}

/// Checks one entry of a configuration that only its driver understands.
pub(super) fn configuration(entry: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let opaque = &entry["opaque"];
    if !is_set(opaque) {
        errors.push(FieldError::required(format!("{field}.opaque"), ""));
        return;
    }
    let driver = &opaque["driver"];
    rules::required_name(errors, &format!("{field}.opaque.driver"), driver, meta::dns_subdomain_problems);
    rules::required(errors, &format!("{field}.opaque.parameters"), &opaque["parameters"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, headings};

    #[test]
    fn a_class_selects_and_configures() {
        let spec = json!({"selectors": [{"cel": {"expression": "true"}}]});
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "gpu"}, "spec": spec}));
        rules.fine(&[("/spec/config", json!([{"opaque": {"driver": "d.x.io", "parameters": {"a": 1}}}]))]);
        rules.one_error("/spec/selectors", &json!([{}]), "spec.selectors[0].cel", "Required value");
        rules.one_error("/spec/config", &json!([{}]), "spec.config[0].opaque", "Required value");
        rules.change("/spec", &json!({}), None);
        assert_eq!(headings(descriptor()), ["Name", "Age"]);
    }
}

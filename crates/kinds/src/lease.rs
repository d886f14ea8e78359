//! `coordination.k8s.io/v1 Lease`.

use super::fields::{at_least, is_set, text};
use orrery_api::k8s::api::coordination::v1::Lease;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        unconditional_update: false,
        create_on_update: true,
        validate,
        columns: COLUMNS,
        ..super::namespaced::<Lease>("lease")
    }
}

const COLUMNS: &[Column] = &[Column {
    name: "Holder",
    kind: "string",
    priority: 0,
    description: "holderIdentity contains the identity of the holder of a current lease.",
    cell: |object, _| text(&object["spec"]["holderIdentity"]).into(),
}];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    at_least(&mut errors, "spec.leaseDurationSeconds", &spec["leaseDurationSeconds"], 1);
    at_least(&mut errors, "spec.leaseTransitions", &spec["leaseTransitions"], 0);
    let holder = &spec["holderIdentity"];
    // A released lease has an empty holder; only upstream's newer clients leave it out.
    if is_set(holder) && !holder.is_string() {
        errors.push(FieldError::invalid("spec.holderIdentity", holder, "must be a string"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lease_lasts_more_than_no_time() {
        let lease = |spec: Value| json!({"metadata": {"name": "a", "namespace": "n"}, "spec": spec});
        assert_eq!(validate(&lease(json!({"leaseDurationSeconds": 15, "holderIdentity": ""})), None), []);
        let errors = validate(&lease(json!({"leaseDurationSeconds": 0, "leaseTransitions": -1})), None);
        assert_eq!(errors[0].message, "Invalid value: 0: must be greater than 0");
        assert_eq!(errors[1].field, "spec.leaseTransitions");
    }
}

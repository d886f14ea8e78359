//! `storage.k8s.io/v1 CSIStorageCapacity`.

use crate::{
    columns::{column, number_or_text},
    fields::{is_set, text},
    quantity, rules,
};
use orrery_api::k8s::api::storage::v1::CSIStorageCapacity;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        unconditional_update: false,
        validate,
        columns: COLUMNS,
        ..crate::namespaced::<CSIStorageCapacity>("csistoragecapacity")
    }
}

/// In full: there is no age.
const COLUMNS: &[Column] = &[
    table::NAME,
    column("StorageClassName", 0, "The class that the capacity is of.", |object, _| {
        text(&object["storageClassName"]).into()
    }),
    column("Capacity", 0, "How much there is.", |object, _| number_or_text(&object["capacity"], "<unset>")),
];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    rules::selector(&mut errors, "nodeTopology", &object["nodeTopology"]);
    let class = &object["storageClassName"];
    rules::required_name(&mut errors, "storageClassName", class, meta::dns_subdomain_problems);
    for field in ["capacity", "maximumVolumeSize"] {
        if is_set(&object[field]) {
            quantity::check(&mut errors, field, &object[field]);
        }
    }
    if let Some(old) = old {
        rules::immutable_fields(&mut errors, object, old, &["nodeTopology", "storageClassName"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_capacity_is_of_a_class_at_a_place() {
        let object = json!({
            "metadata": {"name": "c", "namespace": "n"}, "storageClassName": "fast", "capacity": "1Gi",
            "nodeTopology": {"matchLabels": {"zone": "a"}},
        });
        let rules = Rules::new(descriptor(), object);
        rules.fine(&[]);
        rules.one_error("/storageClassName", &json!(""), "storageClassName", "Required value");
        rules.one_error("/capacity", &json!("-1"), "capacity", "must be greater than or equal to 0");
        rules.change("/capacity", &json!("2Gi"), None);
        rules.change("/storageClassName", &json!("slow"), Some(("storageClassName", "field is immutable")));
        assert_eq!(headings(descriptor()), ["Name", "StorageClassName", "Capacity"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())), json!(["c", "fast", "1Gi"]));
    }
}

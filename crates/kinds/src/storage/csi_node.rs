//! `storage.k8s.io/v1 CSINode`.

use super::driver_name_problems;
use crate::{
    columns::integer,
    fields::{elements, size, text},
    merge_keys, rules,
};
use orrery_api::k8s::api::storage::v1::CSINode;
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        unconditional_update: false,
        validate,
        columns: COLUMNS,
        merge_keys: MERGE_KEYS,
        ..crate::cluster_wide::<CSINode>("csinode")
    }
}

const MERGE_KEYS: &[MergeKey] = merge_keys!["spec.drivers" => "name"];

const COLUMNS: &[Column] =
    &[integer("Drivers", "How many drivers the node has.", |node, _| size(&node["spec"]["drivers"]).into())];

const NODE_ID_LIMIT: usize = 256;

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let drivers = &object["spec"]["drivers"];
    let mut names = BTreeSet::new();
    for (index, driver) in elements(drivers).enumerate() {
        let field = format!("spec.drivers[{index}]");
        rules::required_name(&mut errors, &format!("{field}.name"), &driver["name"], driver_name_problems);
        if !names.insert(text(&driver["name"])) {
            errors.push(FieldError::duplicate(format!("{field}.name"), &driver["name"]));
        }
        let id = &driver["nodeID"];
        if rules::required(&mut errors, &format!("{field}.nodeID"), id) && text(id).len() > NODE_ID_LIMIT {
            let why = "must be 256 characters or less";
            errors.push(FieldError::invalid(format!("{field}.nodeID"), id, why));
        }
        let mut keys = BTreeSet::new();
        for key in elements(&driver["topologyKeys"]) {
            let field = format!("{field}.topologyKeys");
            if !keys.insert(text(key)) {
                errors.push(FieldError::duplicate(field.as_str(), key));
            }
            rules::required_name(&mut errors, &field, key, meta::qualified_name_problems);
        }
        rules::not_negative(&mut errors, &format!("{field}.allocatable.count"), &driver["allocatable"]["count"]);
        let before = old.and_then(|old| elements(&old["spec"]["drivers"]).find(|old| old["name"] == driver["name"]));
        if let Some(before) = before {
            let fixed = |driver: &Value| (driver["nodeID"].clone(), driver["topologyKeys"].clone());
            if fixed(before) != fixed(driver) {
                errors.push(FieldError::invalid(field, driver, "field is immutable"));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_nodes_drivers_have_names_and_stay() {
        let drivers = json!([{"name": "d.x.io", "nodeID": "n1", "topologyKeys": ["x.io/zone"]}]);
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "node-1"}, "spec": {"drivers": drivers}}));
        rules.fine(&[("/spec/drivers", json!([]))]);
        rules.one_error("/spec/drivers/0/nodeID", &json!(""), "spec.drivers[0].nodeID", "Required value");
        let twice = json!([{"name": "d.x.io", "nodeID": "a"}, {"name": "d.x.io", "nodeID": "b"}]);
        rules.one_error("/spec/drivers", &twice, "spec.drivers[1].name", "Duplicate value");
        rules.change("/spec/drivers/0/nodeID", &json!("n2"), Some(("spec.drivers[0]", "field is immutable")));
        rules.change("/spec/drivers", &json!([]), None);
        assert_eq!(headings(descriptor()), ["Name", "Drivers", "Age"]);
        assert_eq!(cells(descriptor(), &rules.filled())[1], 1);
    }
}

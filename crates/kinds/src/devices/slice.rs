//! `resource.k8s.io/v1 ResourceSlice`.

use crate::{
    columns::column,
    fields::{elements, is_set, map_at, selectable, size, text, text_or},
    rules,
};
use orrery_api::k8s::api::resource::v1::ResourceSlice;
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        counts_generation: true,
        default: |object| {
            if let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) {
                spec.retain(|_, value| !value.is_null());
            }
        },
        validate,
        columns: COLUMNS,
        selectable_fields: SELECTABLE,
        ..crate::cluster_wide::<ResourceSlice>("resourceslice")
    }
}

const SELECTABLE: &[SelectableField] =
    &[selectable!("spec.nodeName", ["spec"]["nodeName"]), selectable!("spec.driver", ["spec"]["driver"])];

const COLUMNS: &[Column] = &[
    column("Node", 0, "The node that the devices are at.", |object, _| text_or(&object["spec"]["nodeName"], "<none>")),
    column("Driver", 0, "The driver of the devices.", |object, _| text(&object["spec"]["driver"]).into()),
    column("Pool", 0, "The pool that they belong to.", |object, _| text(&object["spec"]["pool"]["name"]).into()),
];

const MOST_DEVICES: usize = 128;
const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    rules::required_name(&mut errors, "spec.driver", &spec["driver"], meta::dns_subdomain_problems);
    let pool = &spec["pool"];
    let name_problems = |name: &str| name.split('/').flat_map(meta::dns_subdomain_problems).collect();
    rules::required_name(&mut errors, "spec.pool.name", &pool["name"], name_problems);
    if pool["resourceSliceCount"].as_i64().unwrap_or_default() <= 0 {
        let why = "must be greater than zero";
        errors.push(FieldError::invalid("spec.pool.resourceSliceCount", &pool["resourceSliceCount"], why));
    }
    rules::not_negative(&mut errors, "spec.pool.generation", &pool["generation"]);
    let given = PLACES.iter().filter(|place| is_set(&spec[**place]) && spec[**place] != json!(false)).count();
    if given != 1 {
        let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
        let why = if given == 0 { why.to_owned() } else { format!("{why}, but multiple fields are set") };
        errors.push(FieldError::invalid_whole("spec", &why));
    }
    rules::optional_name(&mut errors, "spec.nodeName", &spec["nodeName"], meta::dns_subdomain_problems);
    let devices = &spec["devices"];
    if size(devices) > MOST_DEVICES {
        errors.push(FieldError::too_many("spec.devices", size(devices), MOST_DEVICES));
    }
    let mut names = BTreeSet::new();
    for (index, device) in elements(devices).enumerate() {
        let field = format!("spec.devices[{index}].name");
        rules::required_name(&mut errors, &field, &device["name"], meta::dns_label_problems);
        if !names.insert(text(&device["name"])) {
            errors.push(FieldError::duplicate(field, &device["name"]));
        }
    }
    if let Some(old) = old {
        let before = &old["spec"];
        rules::immutable(&mut errors, "spec.driver", &spec["driver"], &before["driver"]);
        rules::immutable(&mut errors, "spec.pool.name", &pool["name"], &before["pool"]["name"]);
        for place in ["nodeName", "allNodes"] {
            rules::immutable(&mut errors, &format!("spec.{place}"), &spec[place], &before[place]);
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    #[test]
    fn a_slice_follows_upstreams_rules() {
        let spec = json!({
            "driver": "d.x.io", "nodeName": "node-1", "devices": [{"name": "gpu-0"}],
            "pool": {"name": "node-1", "generation": 1, "resourceSliceCount": 1},
        });
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "s"}, "spec": spec}));
        rules.fine(&[]);
        for (at, value, field, text) in [
            ("driver", json!(""), "spec.driver", "Required value"),
            ("nodeName", json!(null), "spec", "exactly one of `nodeName`"),
            ("allNodes", json!(true), "spec", "but multiple fields are set"),
            ("pool/resourceSliceCount", json!(0), "spec.pool.resourceSliceCount", "must be greater than zero"),
            ("devices", json!([{"name": "a"}, {"name": "a"}]), "spec.devices[1].name", "Duplicate value"),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, field, text);
        }
        rules.change("/spec/driver", &json!("e.x.io"), Some(("spec.driver", "field is immutable")));
        rules.change("/spec/devices", &json!([]), None);
        assert_eq!(headings(descriptor()), ["Name", "Node", "Driver", "Pool", "Age"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..4]), json!(["node-1", "d.x.io", "node-1"]));
    }
}

//! `storage.k8s.io/v1 CSIDriver`.

use super::storage_class::flag;
use crate::{
    columns::column,
    fields::{elements, map_at, one_of, set_default, text},
    rules,
};
use orrery_api::k8s::api::storage::v1::CSIDriver;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        counts_generation: true,
        unconditional_update: false,
        default,
        validate,
        columns: COLUMNS,
        ..crate::cluster_wide::<CSIDriver>("csidriver")
    }
}

const fn boolean(name: &'static str, description: &'static str, cell: crate::columns::CellOf) -> Column {
    Column { kind: "boolean", ..column(name, 0, description, cell) }
}

const COLUMNS: &[Column] = &[
    boolean("AttachRequired", "Whether volumes are attached first.", |driver, _| {
        driver["spec"]["attachRequired"].as_bool().unwrap_or(true).into()
    }),
    boolean("PodInfoOnMount", "Whether the driver is told of the pod.", |driver, _| {
        driver["spec"]["podInfoOnMount"].as_bool().unwrap_or_default().into()
    }),
    boolean("StorageCapacity", "Whether pods wait for its capacity.", |driver, _| {
        driver["spec"]["storageCapacity"].as_bool().unwrap_or_default().into()
    }),
    column("TokenRequests", 0, "For whom it gets tokens of the pod's account.", |driver, _| {
        let audiences: Vec<&str> =
            elements(&driver["spec"]["tokenRequests"]).map(|request| text(&request["audience"])).collect();
        if audiences.is_empty() { "<unset>".into() } else { audiences.join(",").into() }
    }),
    boolean("RequiresRepublish", "Whether volumes are published again and again.", |driver, _| {
        flag(&driver["spec"]["requiresRepublish"])
    }),
    column("Modes", 0, "How long its volumes last.", |driver, _| {
        let modes: Vec<&str> = elements(&driver["spec"]["volumeLifecycleModes"]).map(text).collect();
        if modes.is_empty() { "<none>".into() } else { modes.join(",").into() }
    }),
];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    for (field, value) in [
        ("attachRequired", json!(true)),
        ("podInfoOnMount", json!(false)),
        ("storageCapacity", json!(false)),
        ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
        ("requiresRepublish", json!(false)),
        ("seLinuxMount", json!(false)),
        ("volumeLifecycleModes", json!(["Persistent"])),
    ] {
        set_default(spec, field, value);
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    if old.is_none() {
        let name = &object["metadata"]["name"];
        if text(name).len() > 63 {
            errors.push(FieldError::too_long("metadata.name", 63));
        }
    }
    // Upstream's path of the first is spelt so.
    rules::required(&mut errors, "spec.attachedRequired", &spec["attachRequired"]);
    rules::required(&mut errors, "spec.podInfoOnMount", &spec["podInfoOnMount"]);
    rules::required(&mut errors, "spec.storageCapacity", &spec["storageCapacity"]);
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    rules::required_one_of(&mut errors, "spec.fsGroupPolicy", &spec["fsGroupPolicy"], &policies);
    for mode in elements(&spec["volumeLifecycleModes"]) {
        one_of(&mut errors, "spec.volumeLifecycleModes", mode, &["Persistent", "Ephemeral"]);
    }
    let mut audiences = BTreeSet::new();
    for (index, request) in elements(&spec["tokenRequests"]).enumerate() {
        let field = format!("spec.tokenRequests[{index}]");
        if !audiences.insert(text(&request["audience"])) {
            errors.push(FieldError::duplicate(format!("{field}.audience"), &request["audience"]));
        }
        let seconds = &request["expirationSeconds"];
        if seconds.as_i64().is_some_and(|seconds| seconds < 600) {
            let why = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(format!("{field}.expirationSeconds"), seconds, why));
        }
    }
    if let Some(old) = old {
        let before = &old["spec"];
        rules::immutable(&mut errors, "spec.attachedRequired", &spec["attachRequired"], &before["attachRequired"]);
        let (field, modes) = ("spec.volumeLifecycleModes", &spec["volumeLifecycleModes"]);
        rules::immutable(&mut errors, field, modes, &before["volumeLifecycleModes"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    #[test]
    fn a_driver_follows_upstreams_rules() {
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "d.x.io"}, "spec": {}}));
        rules.fine(&[]);
        let expected = json!({
            "attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "requiresRepublish": false,
            "seLinuxMount": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"],
        });
        assert_eq!(rules.filled()["spec"], expected);
        rules.one_error("/spec/fsGroupPolicy", &json!("Any"), "spec.fsGroupPolicy", "Unsupported value");
        let short = json!([{"audience": "a", "expirationSeconds": 1}]);
        let field = "spec.tokenRequests[0].expirationSeconds";
        rules.one_error("/spec/tokenRequests", &short, field, "may not specify a duration less than 10 minutes");
        rules.change("/spec/podInfoOnMount", &json!(true), None);
        rules.change("/spec/attachRequired", &json!(false), Some(("spec.attachedRequired", "field is immutable")));
        let expected = [
            "Name",
            "AttachRequired",
            "PodInfoOnMount",
            "StorageCapacity",
            "TokenRequests",
            "RequiresRepublish",
            "Modes",
            "Age",
        ];
        assert_eq!(headings(descriptor()), expected);
        let expected = json!([true, false, false, "<unset>", false, "Persistent"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..7]), expected);
    }
}

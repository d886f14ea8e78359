//! `v1 PersistentVolumeClaim`.

use super::persistent_volume::{access_modes_text, phase_text};
use crate::{
    columns::{column, number_or_text},
    fields::{default_text, is_set, map_at, set_default, text, text_or},
    quantity::{self, milli},
};
use orrery_api::k8s::api::core::v1::PersistentVolumeClaim;
use orrery_kind_rules::claim;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Map, Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["pvc"],
        has_status: true,
        default: |object| {
            if let Some(claim) = object.as_object_mut() {
                fill_in(claim);
            }
        },
        validate,
        validate_part: Some(validate_part),
        columns: COLUMNS,
        ..crate::namespaced::<PersistentVolumeClaim>("persistentvolumeclaim")
    }
}

/// The class of storage, in the annotation of old or in its field.
fn class(claim: &Value) -> &str {
    meta::annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| text(&claim["spec"]["storageClassName"]))
}

const COLUMNS: &[Column] = &[
    column("Status", 0, "How far the claim has come.", |claim, _| phase_text(claim).into()),
    column("Volume", 0, "The volume that the claim has got.", |claim, _| text(&claim["spec"]["volumeName"]).into()),
    column("Capacity", 0, "How much that volume holds.", |claim, _| {
        let bound = !text(&claim["spec"]["volumeName"]).is_empty();
        if bound { number_or_text(&claim["status"]["capacity"]["storage"], "0") } else { "".into() }
    }),
    column("Access Modes", 0, "How that volume may be mounted.", |claim, _| {
        let bound = !text(&claim["spec"]["volumeName"]).is_empty();
        if bound { access_modes_text(&claim["status"]["accessModes"]).into() } else { "".into() }
    }),
    column("StorageClass", 0, "The class of storage.", |claim, _| class(claim).into()),
    column("VolumeAttributesClass", 0, "The class of the volume's attributes.", |claim, _| {
        text_or(&claim["spec"]["volumeAttributesClassName"], "<unset>")
    }),
    column("VolumeMode", 1, "Whether it is a file system or a block device.", |claim, _| {
        text_or(&claim["spec"]["volumeMode"], "<unset>")
    }),
];

/// Fills in a claim, or the template of one.
pub(crate) fn fill_in(claim: &mut Map<String, Value>) {
    if let Some(spec) = map_at(claim, "spec") {
        set_default(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = map_at(claim, "status") {
        default_text(status, "phase", "Pending");
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    claim::check_spec(&object["spec"], "spec", &mut errors);
    if let Some(old) = old {
        change(object, old, &mut errors);
    }
    errors
}

/// A claim stays what it is; one that has got its volume may ask for more, or for other attributes.
fn change(claim: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let bound = old["status"]["phase"] == "Bound";
    let fixed = |claim: &Value| {
        let mut spec = claim["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            if bound {
                fields.remove("volumeAttributesClassName");
                if let Some(requests) = fields.get_mut("resources").and_then(|resources| resources.get_mut("requests"))
                {
                    *requests = json!({});
                }
            }
            if text(&old["spec"]["volumeName"]).is_empty() {
                fields.remove("volumeName");
            }
            // The class may be filled in once, by who knows the default.
            if !is_set(&old["spec"]["storageClassName"]) {
                fields.remove("storageClassName");
            }
        }
        spec
    };
    if fixed(claim) != fixed(old) {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                   claims";
        errors.push(FieldError::forbidden("spec", &crate::difference::describe(why, &old["spec"], &claim["spec"])));
        return;
    }
    let storage = |claim: &Value| milli(&claim["spec"]["resources"]["requests"]["storage"]);
    if storage(claim) < storage(old) {
        let capacity = milli(&old["status"]["capacity"]["storage"]);
        if storage(claim) <= capacity {
            let why = "field can not be less than status.capacity";
            errors.push(FieldError::forbidden("spec.resources.requests.storage", why));
        }
    }
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    for list in ["capacity", "allocatedResources"] {
        for (name, amount) in object["status"][list].as_object().into_iter().flatten() {
            quantity::check(&mut errors, &format!("status.{list}[{name}]"), amount);
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn rules() -> Rules {
        Rules::new(
            descriptor(),
            json!({
                "metadata": {"name": "data", "namespace": "n"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }),
        )
    }

    #[test]
    fn a_claim_follows_upstreams_rules() {
        let rules = rules();
        assert_eq!(rules.filled()["spec"]["volumeMode"], "Filesystem");
        assert_eq!(rules.filled()["status"], json!({"phase": "Pending"}));
        rules.fine(&[]);
        for (at, value, field, text) in [
            ("accessModes", json!([]), "accessModes", "at least 1 access mode is required"),
            ("accessModes", json!(["Any"]), "accessModes", "\"ReadOnlyMany\", \"ReadWriteMany\""),
            (
                "accessModes",
                json!(["ReadWriteOncePod", "ReadOnlyMany"]),
                "accessModes",
                "may not use ReadWriteOncePod with other access modes",
            ),
            ("resources", json!({}), "resources[storage]", "Required value"),
            ("resources/requests/storage", json!("0"), "resources[storage]", "must be greater than zero"),
            ("volumeMode", json!("Tape"), "volumeMode", "\"Block\", \"Filesystem\""),
            ("storageClassName", json!("A"), "storageClassName", "a lowercase RFC 1123 subdomain must"),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
    }

    #[test]
    fn a_claim_with_a_volume_may_grow() {
        let rules = rules();
        let why = "spec is immutable after creation except resources.requests";
        let storage = "/spec/resources/requests/storage";
        rules.change(storage, &json!("2Gi"), Some(("spec", why)));
        rules.change("/spec/volumeName", &json!("pv-1"), None);
        let mut old = rules.filled();
        old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        for (wanted, expected) in [("2Gi", None), ("500Mi", Some("field can not be less than status.capacity"))] {
            let mut new = old.clone();
            new["spec"]["resources"]["requests"]["storage"] = wanted.into();
            let found = validate(&new, Some(&old));
            assert_eq!(found.len(), usize::from(expected.is_some()), "{wanted}: {found:?}");
            assert!(found.iter().all(|error| error.message.contains(expected.unwrap_or_default())), "{found:?}");
        }
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = [
            "Name",
            "Status",
            "Volume",
            "Capacity",
            "Access Modes",
            "StorageClass",
            "VolumeAttributesClass",
            "Age",
            "VolumeMode",
        ];
        assert_eq!(headings(descriptor()), expected);
        let mut claim = rules().with(&[("/spec/volumeName", json!("pv-1"))]);
        claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]});
        assert_eq!(json!(cells(descriptor(), &claim)[1..5]), json!(["Bound", "pv-1", "1Gi", "RWO,RWX"]));
    }
}

//! `v1 PersistentVolume`.

use crate::{
    columns::{column, number_or_text},
    fields::{default_text, elements, is_set, map_at, one_of, set_default, size, text, text_or},
    quantity::{self, milli},
    rules,
};
use orrery_api::k8s::api::core::v1::PersistentVolume;
use orrery_kind_rules::claim;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Map, Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["pv"],
        has_status: true,
        default,
        validate,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), false, NameRule::DnsSubdomain),
            _ => validate(object, Some(old)),
        }),
        columns: COLUMNS,
        ..crate::cluster_wide::<PersistentVolume>("persistentvolume")
    }
}

const COLUMNS: &[Column] = &[
    column("Capacity", 0, "How much the volume holds.", |volume, _| {
        number_or_text(&volume["spec"]["capacity"]["storage"], "0")
    }),
    column("Access Modes", 0, "How the volume may be mounted.", |volume, _| {
        access_modes_text(&volume["spec"]["accessModes"]).into()
    }),
    column("Reclaim Policy", 0, "What becomes of the volume without its claim.", |volume, _| {
        text(&volume["spec"]["persistentVolumeReclaimPolicy"]).into()
    }),
    column("Status", 0, "Whether the volume is free.", |volume, _| phase_text(volume).into()),
    column("Claim", 0, "The claim that has got the volume.", |volume, _| {
        let claim = &volume["spec"]["claimRef"];
        if is_set(claim) { format!("{}/{}", text(&claim["namespace"]), text(&claim["name"])).into() } else { "".into() }
    }),
    column("StorageClass", 0, "The class of storage.", |volume, _| {
        let annotated = meta::annotation(volume, "volume.beta.kubernetes.io/storage-class");
        annotated.unwrap_or_else(|| text(&volume["spec"]["storageClassName"])).into()
    }),
    column("VolumeAttributesClass", 0, "The class of the volume's attributes.", |volume, _| {
        text_or(&volume["spec"]["volumeAttributesClassName"], "<unset>")
    }),
    column("Reason", 0, "Why the volume has failed.", |volume, _| text(&volume["status"]["reason"]).into()),
    column("VolumeMode", 1, "Whether it is a file system or a block device.", |volume, _| {
        text_or(&volume["spec"]["volumeMode"], "<unset>")
    }),
];

/// The phase of a volume or a claim.
pub(super) fn phase_text(object: &Value) -> &str {
    if meta::is_deleting(object) { "Terminating" } else { text(&object["status"]["phase"]) }
}

const MODES: [(&str, &str); 4] =
    [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];

/// Access modes as their initials, each once.
pub(super) fn access_modes_text(modes: &Value) -> String {
    let there = |mode: &str| elements(modes).any(|given| *given == mode);
    MODES.into_iter().filter(|(mode, _)| there(mode)).map(|(_, short)| short).collect::<Vec<_>>().join(",")
}

fn default(object: &mut Value) {
    let Some(volume) = object.as_object_mut() else { return };
    if let Some(spec) = map_at(volume, "spec") {
        default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        set_default(spec, "volumeMode", "Filesystem");
        if let Some(path) = spec.get_mut("hostPath").and_then(Value::as_object_mut) {
            set_default(path, "type", "");
        }
    }
    if let Some(status) = map_at(volume, "status") {
        default_text(status, "phase", "Pending");
    }
}

/// What a volume can be, by the field that says so.
const SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

fn sources(spec: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    SOURCES.into_iter().map(move |source| (source, &spec[source])).filter(|(_, value)| is_set(value))
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    claim::access_modes(&spec["accessModes"], "spec.accessModes", "", &mut errors);
    capacity(&spec["capacity"], &mut errors);
    let policies = ["Delete", "Recycle", "Retain"];
    one_of(&mut errors, "spec.persistentVolumeReclaimPolicy", &spec["persistentVolumeReclaimPolicy"], &policies);
    one_of(&mut errors, "spec.volumeMode", &spec["volumeMode"], &["Block", "Filesystem"]);
    for name in ["storageClassName", "volumeAttributesClassName"] {
        rules::optional_name(&mut errors, &format!("spec.{name}"), &spec[name], meta::dns_subdomain_problems);
    }
    source(spec, &mut errors);
    if let Some(old) = old {
        let source =
            |spec: &Value| sources(spec).map(|(name, value)| (name.to_owned(), value.clone())).collect::<Map<_, _>>();
        let (now, before) = (Value::Object(source(spec)), Value::Object(source(&old["spec"])));
        if now != before {
            let why = "spec.persistentvolumesource is immutable after creation";
            let why = crate::difference::describe(why, &before, &now);
            errors.push(FieldError::forbidden("spec.persistentvolumesource", &why));
        }
        rules::immutable(&mut errors, "spec.volumeMode", &spec["volumeMode"], &old["spec"]["volumeMode"]);
        if is_set(&old["spec"]["nodeAffinity"]) {
            rules::immutable(&mut errors, "spec.nodeAffinity", &spec["nodeAffinity"], &old["spec"]["nodeAffinity"]);
        }
    }
    errors
}

fn capacity(capacity: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.capacity";
    if size(capacity) == 0 {
        errors.push(FieldError::required(FIELD, ""));
        return;
    }
    if !is_set(&capacity["storage"]) || size(capacity) > 1 {
        errors.push(FieldError::not_supported(FIELD, capacity, &["storage"]));
    }
    for (name, amount) in capacity.as_object().into_iter().flatten() {
        let field = format!("{FIELD}[{name}]");
        if quantity::check(errors, &field, amount) && milli(amount) == Some(0) {
            errors.push(FieldError::invalid(field, amount, "must be greater than zero"));
        }
    }
}

fn source(spec: &Value, errors: &mut Vec<FieldError>) {
    let mut given = sources(spec);
    let Some((kind, source)) = given.next() else {
        errors.push(FieldError::required("spec", "must specify a volume type"));
        return;
    };
    for (extra, _) in given {
        errors.push(FieldError::forbidden(format!("spec.{extra}"), "may not specify more than 1 volume type"));
    }
    let needed: &[&str] = match kind {
        "csi" => &["driver", "volumeHandle"],
        "nfs" => &["server", "path"],
        "hostPath" | "local" => &["path"],
        "iscsi" => &["targetPortal", "iqn"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
        "glusterfs" => &["endpoints", "path"],
        "vsphereVolume" => &["volumePath"],
        "azureFile" => &["secretName", "shareName"],
        _ => &[],
    };
    for field in needed {
        rules::required(errors, &format!("spec.{kind}.{field}"), &source[*field]);
    }
    if matches!(kind, "hostPath" | "local") && text(&source["path"]).split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(format!("spec.{kind}.path"), &source["path"], "must not contain '..'"));
    }
    if kind == "nfs" && !text(&source["path"]).is_empty() && !text(&source["path"]).starts_with('/') {
        errors.push(FieldError::invalid("spec.nfs.path", &source["path"], "must be an absolute path"));
    }
    if kind == "hostPath" && source["path"] == "/" && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden("spec.persistentVolumeReclaimPolicy", why));
    }
    if kind == "local" && *spec.pointer("/nodeAffinity/required").unwrap_or(&json!(null)) == json!(null) {
        errors.push(FieldError::required("spec.nodeAffinity", "Local volume requires node affinity"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn rules() -> Rules {
        Rules::new(
            descriptor(),
            json!({
                "metadata": {"name": "pv-1"},
                "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                    "csi": {"driver": "d.example.com", "volumeHandle": "7"},
                },
            }),
        )
    }

    #[test]
    fn a_volume_follows_upstreams_rules() {
        let rules = rules();
        let spec = rules.filled()["spec"].take();
        assert_eq!(
            (&spec["persistentVolumeReclaimPolicy"], &spec["volumeMode"]),
            (&json!("Retain"), &json!("Filesystem"))
        );
        rules.fine(&[]);
        for (at, value, field, text) in [
            ("/spec/accessModes", json!([]), "spec.accessModes", "Required value"),
            ("/spec/capacity", json!(null), "spec.capacity", "Required value"),
            ("/spec/capacity/storage", json!("0"), "spec.capacity[storage]", "must be greater than zero"),
            ("/spec/csi", json!(null), "spec", "must specify a volume type"),
            ("/spec/csi/driver", json!(""), "spec.csi.driver", "Required value"),
            ("/spec/nfs", json!({"server": "s", "path": "/p"}), "spec.nfs", "may not specify more than 1 volume type"),
            ("/spec/persistentVolumeReclaimPolicy", json!("Burn"), "spec.persistentVolumeReclaimPolicy", "\"Delete\""),
        ] {
            rules.one_error(at, &value, field, text);
        }
        let why = "spec.persistentvolumesource is immutable after creation";
        rules.change("/spec/csi/volumeHandle", &json!("8"), Some(("spec.persistentvolumesource", why)));
        rules.change("/spec/volumeMode", &json!("Block"), Some(("spec.volumeMode", "field is immutable")));
        rules.change("/spec/persistentVolumeReclaimPolicy", &json!("Delete"), None);
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = [
            "Name",
            "Capacity",
            "Access Modes",
            "Reclaim Policy",
            "Status",
            "Claim",
            "StorageClass",
            "VolumeAttributesClass",
            "Reason",
            "Age",
            "VolumeMode",
        ];
        assert_eq!(headings(descriptor()), expected);
        let volume = rules().with(&[("/spec/claimRef", json!({"namespace": "n", "name": "data"}))]);
        let expected = json!(["1Gi", "RWO", "Retain", "Pending", "n/data", "", "<unset>"]);
        assert_eq!(json!(cells(descriptor(), &volume)[1..8]), expected);
    }
}

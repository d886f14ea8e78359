//! `storage.k8s.io/v1 StorageClass`.

use crate::{
    columns::column,
    fields::{report, set_default, size, text},
    rules,
};
use orrery_api::k8s::api::storage::v1::StorageClass;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["sc"],
        default,
        validate,
        columns: COLUMNS,
        ..crate::cluster_wide::<StorageClass>("storageclass")
    }
}

/// In full, because the default class says so beside its name.
const COLUMNS: &[Column] = &[
    Column {
        cell: |class, _| {
            if is_default(class) { format!("{} (default)", meta::name(class)).into() } else { meta::name(class).into() }
        },
        ..table::NAME
    },
    column("Provisioner", 0, "What makes the volumes.", |class, _| text(&class["provisioner"]).into()),
    column("ReclaimPolicy", 0, "What becomes of a volume without its claim.", |class, _| {
        class["reclaimPolicy"].as_str().unwrap_or("Delete").into()
    }),
    column("VolumeBindingMode", 0, "When volumes are made.", |class, _| {
        class["volumeBindingMode"].as_str().unwrap_or("Immediate").into()
    }),
    Column {
        kind: "string",
        ..column("AllowVolumeExpansion", 0, "Whether volumes can grow.", |class, _| {
            class["allowVolumeExpansion"].as_bool().unwrap_or_default().into()
        })
    },
    table::AGE,
];

fn is_default(class: &Value) -> bool {
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .iter()
        .any(|key| meta::annotation(class, key) == Some("true"))
}

fn default(object: &mut Value) {
    let Some(class) = object.as_object_mut() else { return };
    set_default(class, "reclaimPolicy", "Delete");
    set_default(class, "volumeBindingMode", "Immediate");
}

const MOST_PARAMETERS: usize = 512;
const MOST_BYTES: usize = 256 * 1024;

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    provisioner(&mut errors, "provisioner", &object["provisioner"]);
    parameters(&object["parameters"], true, &mut errors);
    rules::required_one_of(&mut errors, "reclaimPolicy", &object["reclaimPolicy"], &["Delete", "Retain"]);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    rules::required_one_of(&mut errors, "volumeBindingMode", &object["volumeBindingMode"], &modes);
    if let Some(old) = old {
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if object[field] != old[field] {
                errors.push(FieldError::forbidden(field, &format!("updates to {field} are forbidden.")));
            }
        }
        rules::immutable(&mut errors, "volumeBindingMode", &object["volumeBindingMode"], &old["volumeBindingMode"]);
    }
    errors
}

/// Adds the errors of the name of what makes volumes.
pub(super) fn provisioner(errors: &mut Vec<FieldError>, field: &str, value: &Value) {
    if rules::required(errors, field, value) {
        report(errors, field, value, &meta::qualified_name_problems(&text(value).to_lowercase()));
    }
}

/// Checks the parameters of a class.
pub(super) fn parameters(parameters: &Value, may_be_empty: bool, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "parameters";
    if size(parameters) == 0 {
        if !may_be_empty {
            let why = "must contain at least one key/value pair";
            errors.push(FieldError::required(FIELD, why));
        }
        return;
    }
    if size(parameters) > MOST_PARAMETERS {
        errors.push(FieldError::too_many(FIELD, size(parameters), MOST_PARAMETERS));
    }
    let mut bytes = 0;
    for (key, value) in parameters.as_object().into_iter().flatten() {
        if key.is_empty() {
            errors.push(FieldError::invalid(FIELD, &json!(key), "field can not be empty."));
        }
        bytes += key.len() + text(value).len();
    }
    if bytes > MOST_BYTES {
        errors.push(FieldError::too_long(FIELD, MOST_BYTES));
    }
}

/// A flag for the table, as it is, or `<unset>`.
pub(super) fn flag(value: &Value) -> Value {
    value.as_bool().map_or_else(|| "<unset>".into(), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn rules() -> Rules {
        Rules::new(
            descriptor(),
            json!({"metadata": {"name": "fast"}, "provisioner": "x.io/disk", "parameters": {"a": "b"}}),
        )
    }

    #[test]
    fn a_class_follows_upstreams_rules() {
        let rules = rules();
        let class = rules.filled();
        assert_eq!((&class["reclaimPolicy"], &class["volumeBindingMode"]), (&json!("Delete"), &json!("Immediate")));
        rules.fine(&[]);
        for (at, value, text) in [
            ("provisioner", json!(""), "Required value"),
            ("provisioner", json!("a b"), "name part must"),
            ("reclaimPolicy", json!("Burn"), "supported values: \"Delete\", \"Retain\""),
            ("volumeBindingMode", json!("Later"), "\"Immediate\", \"WaitForFirstConsumer\""),
            ("parameters", json!({"": "b"}), "field can not be empty."),
        ] {
            rules.one_error(&format!("/{at}"), &value, at, text);
        }
        rules.change("/allowVolumeExpansion", &json!(true), None);
        let why = "updates to parameters are forbidden.";
        rules.change("/parameters/a", &json!("c"), Some(("parameters", why)));
        let mode = json!("WaitForFirstConsumer");
        rules.change("/volumeBindingMode", &mode, Some(("volumeBindingMode", "field is immutable")));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = ["Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"];
        assert_eq!(headings(descriptor()), expected);
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        let class = rules().with(&[("/metadata/annotations", annotations)]);
        let expected = json!(["fast (default)", "x.io/disk", "Delete", "Immediate", false]);
        assert_eq!(json!(cells(descriptor(), &class)[..5]), expected);
    }
}

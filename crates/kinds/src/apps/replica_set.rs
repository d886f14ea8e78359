//! `apps/v1 ReplicaSet`.

use super::{SCALE, counts_fit, labels_match, lasting_template, selector};
use crate::{
    columns::{integer, number, selector_text, wide_template_columns},
    fields::{map_at, set_default, set_new_status},
    pod, rules,
};
use orrery_api::k8s::api::apps::v1::ReplicaSet;
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["rs"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &["replicas"]),
        subresources: SCALE,
        counts_generation: true,
        default,
        validate,
        warnings: crate::apps::template_warnings,
        validate_part: Some(validate_part),
        columns: &COLUMNS,
        selectable_fields: SELECTABLE,
        ..crate::namespaced::<ReplicaSet>("replicaset")
    }
}

pub(crate) const SELECTABLE: &[SelectableField] = &[SelectableField {
    path: "status.replicas",
    value: |object| object["status"]["replicas"].as_i64().unwrap_or_default().to_string(),
}];

const WIDE: [Column; 3] =
    wide_template_columns!(["spec"]["template"]["spec"]; |object, _| selector_text(&object["spec"]["selector"]));

const COLUMNS: [Column; 6] = [DESIRED, CURRENT, READY, WIDE[0], WIDE[1], WIDE[2]];

pub(crate) const DESIRED: Column =
    integer("Desired", "How many pods there are to be.", |object, _| number(&object["spec"]["replicas"]));
pub(crate) const CURRENT: Column =
    integer("Current", "How many pods there are.", |object, _| number(&object["status"]["replicas"]));
pub(crate) const READY: Column =
    integer("Ready", "How many pods are ready.", |object, _| number(&object["status"]["readyReplicas"]));

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    set_default(spec, "replicas", 1);
    pod::fill_in_template(spec);
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    rules::none_negative(&mut errors, "spec", spec, &["replicas", "minReadySeconds"]);
    selector(spec, "deployment", &mut errors);
    labels_match(spec, &mut errors);
    lasting_template(&spec["template"], "ReplicaSet", &mut errors);
    if let Some(old) = old {
        rules::immutable(&mut errors, "spec.selector", &spec["selector"], &old["spec"]["selector"]);
    }
    errors
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    replica_status(&object["status"], &mut errors);
    errors
}

/// Checks the status of a replica set or a replication controller.
pub(crate) fn replica_status(status: &Value, errors: &mut Vec<FieldError>) {
    let counts = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    rules::none_negative(errors, "status", status, &counts);
    let pairs = [
        ("fullyLabeledReplicas", "replicas", "status.replicas"),
        ("readyReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts_fit(status, &pairs, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    fn rules() -> Rules {
        Rules::new(
            descriptor(),
            json!({
                "metadata": {"name": "web", "namespace": "n"},
                "spec": {
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]},
                    },
                },
            }),
        )
    }

    #[test]
    fn a_replica_set_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[("/spec/replicas", json!(0))]);
        rules.one_error("/spec/minReadySeconds", &json!(-1), "spec.minReadySeconds", "greater than or equal to 0");
        rules.one_error("/spec/selector", &json!(null), "spec.selector", "Required value");
        let labels = json!({"app": "db"});
        let why = "Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`";
        rules.one_error("/spec/template/metadata/labels", &labels, "spec.template.metadata.labels", why);
        let both = json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]});
        rules.change("/spec/selector", &both, Some(("spec.selector", "field is immutable")));
    }

    #[test]
    fn a_status_is_consistent() {
        let expected = Some(("status.availableReplicas", "cannot be greater than readyReplicas"));
        rules().status(&json!({"replicas": 3, "readyReplicas": 1, "availableReplicas": 2}), expected);
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = ["Name", "Desired", "Current", "Ready", "Age", "Containers", "Images", "Selector"];
        assert_eq!(headings(descriptor()), expected);
        assert_eq!(cells(descriptor(), &rules().filled())[1..4], [json!(1), json!(0), json!(0)]);
    }
}

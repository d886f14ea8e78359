//! `v1 ReplicationController`.

use crate::{
    apps::{CURRENT, DESIRED, READY, REPLICAS_SELECTABLE, SCALE, lasting_template, replica_status},
    columns::{labels_text, wide_template_columns},
    fields::{map_at, set_default, set_new_status, size},
    pod, rules,
};
use orrery_api::k8s::api::core::v1::ReplicationController;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Map, Value};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["rc"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &["replicas"]),
        subresources: SCALE,
        counts_generation: true,
        orphans_by_default: true,
        default,
        validate,
        warnings: crate::apps::template_warnings,
        validate_part: Some(validate_part),
        columns: &COLUMNS,
        selectable_fields: REPLICAS_SELECTABLE,
        ..crate::namespaced::<ReplicationController>("replicationcontroller")
    }
}

const WIDE: [Column; 3] =
    wide_template_columns!(["spec"]["template"]["spec"]; |object, _| labels_text(&object["spec"]["selector"]));

const COLUMNS: [Column; 6] = [DESIRED, CURRENT, READY, WIDE[0], WIDE[1], WIDE[2]];

/// The selector and the controller's own labels are the template's unless they are given.
fn default(object: &mut Value) {
    let Some(controller) = object.as_object_mut() else { return };
    let labels = controller.get("spec").map(|spec| spec["template"]["metadata"]["labels"].clone()).unwrap_or_default();
    if labels.is_object() {
        let own = controller.get("metadata").map_or(0, |metadata| size(&metadata["labels"]));
        if own == 0
            && let Some(metadata) = map_at(controller, "metadata")
        {
            metadata.insert("labels".into(), labels.clone());
        }
        if let Some(spec) = map_at(controller, "spec")
            && spec.get("selector").is_none_or(|selector| size(selector) == 0)
        {
            spec.insert("selector".into(), labels);
        }
    }
    let Some(spec) = map_at(controller, "spec") else { return };
    set_default(spec, "replicas", 1);
    if spec.get("template").is_some_and(Value::is_object) {
        pod::fill_in_template(spec);
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    rules::none_negative(&mut errors, "spec", spec, &["minReadySeconds"]);
    if size(&spec["selector"]) == 0 {
        errors.push(FieldError::required("spec.selector", ""));
    }
    rules::none_negative(&mut errors, "spec", spec, &["replicas"]);
    if !rules::required(&mut errors, "spec.template", &spec["template"]) {
        return errors;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let picked = |selector: &Map<String, Value>| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    if !spec["selector"].as_object().is_none_or(picked) {
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, why));
    }
    lasting_template(&spec["template"], "ReplicationController", &mut errors);
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
                "spec": {"template": {
                    "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]},
                }},
            }),
        )
    }

    #[test]
    fn selector_and_labels_follow_from_the_template() {
        let controller = rules().filled();
        assert_eq!(controller["spec"]["selector"], json!({"app": "web"}));
        assert_eq!(controller["metadata"]["labels"], json!({"app": "web"}));
        assert_eq!(controller["spec"]["replicas"], json!(1));
    }

    #[test]
    fn a_controller_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[]);
        let why = "`selector` does not match template `labels`";
        rules.one_error("/spec/selector", &json!({"app": "db"}), "spec.template.metadata.labels", why);
        rules.one_error("/spec/replicas", &json!(-1), "spec.replicas", "must be greater than or equal to 0");
        rules.status(&json!({"replicas": 1, "readyReplicas": 2}), Some(("status.readyReplicas", "cannot be greater")));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = ["Name", "Desired", "Current", "Ready", "Age", "Containers", "Images", "Selector"];
        assert_eq!(headings(descriptor()), expected);
        assert_eq!(cells(descriptor(), &rules().filled())[7], "app=web");
    }
}

//! `apps/v1 StatefulSet`.

use super::{SCALE, always_restarted, collisions_grow, counts_fit, labels_match, selector};
use crate::{
    columns::{column, wide_template_columns},
    core::persistent_volume_claim as claim,
    fields::{default_text, elements, is_set, map_at, maps_in, one_of, set_default, set_new_status, text},
    pod, rules,
};
use orrery_api::k8s::api::apps::v1::StatefulSet;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["sts"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &["replicas", "availableReplicas"]),
        subresources: SCALE,
        counts_generation: true,
        default,
        validate,
        warnings: crate::apps::template_warnings,
        validate_part: Some(validate_part),
        columns: &COLUMNS,
        ..crate::namespaced::<StatefulSet>("statefulset")
    }
}

const WIDE: [Column; 3] = wide_template_columns!(["spec"]["template"]["spec"]; |_, _| Value::Null);

const COLUMNS: [Column; 3] = [
    column("Ready", 0, "How many of the desired pods are ready.", |object, _| {
        let count = |value: &Value| value.as_i64().unwrap_or_default();
        format!("{}/{}", count(&object["status"]["readyReplicas"]), count(&object["spec"]["replicas"])).into()
    }),
    WIDE[0],
    WIDE[1],
];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    default_text(spec, "podManagementPolicy", "OrderedReady");
    set_default(spec, "replicas", 1);
    set_default(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = map_at(spec, "updateStrategy") {
        if strategy.get("type").is_none_or(|kind| text(kind).is_empty()) {
            strategy.insert("type".into(), "RollingUpdate".into());
            set_default(strategy, "rollingUpdate", json!({}));
        }
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut)
        {
            set_default(rolling, "partition", 0);
        }
    }
    if let Some(policy) = map_at(spec, "persistentVolumeClaimRetentionPolicy") {
        default_text(policy, "whenDeleted", "Retain");
        default_text(policy, "whenScaled", "Retain");
    }
    for template in maps_in(spec, "volumeClaimTemplates") {
        default_text(template, "apiVersion", "v1");
        default_text(template, "kind", "PersistentVolumeClaim");
        claim::fill_in(template);
    }
    pod::fill_in_template(spec);
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    policies(spec, &mut errors);
    let numbers = ["replicas", "minReadySeconds", "revisionHistoryLimit"];
    rules::none_negative(&mut errors, "spec", spec, &numbers);
    rules::not_negative(&mut errors, "spec.ordinals.start", &spec["ordinals"]["start"]);
    selector(spec, "statefulset", &mut errors);
    labels_match(spec, &mut errors);
    always_restarted(&spec["template"], "StatefulSet", &mut errors);
    // What was accepted once is looked at again only when it changes.
    let changed = |field: &str| old.is_none_or(|old| old["spec"][field] != spec[field]);
    if changed("serviceName") {
        rules::optional_name(&mut errors, "spec.serviceName", &spec["serviceName"], meta::dns_label_problems);
    }
    if changed("template") {
        let claims = elements(&spec["volumeClaimTemplates"]).map(meta::name).collect();
        pod::validate_template_with_claims(&spec["template"], "spec.template", &claims, &mut errors);
    }
    if let Some(old) = old {
        change(spec, &old["spec"], &mut errors);
    }
    errors
}

fn policies(spec: &Value, errors: &mut Vec<FieldError>) {
    let management = &spec["podManagementPolicy"];
    if !matches!(text(management), "OrderedReady" | "Parallel") {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid("spec.podManagementPolicy", management, why));
    }
    let strategy = &spec["updateStrategy"];
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "OnDelete" if is_set(rolling) => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid("spec.updateStrategy.rollingUpdate", rolling, why));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rules::not_negative(errors, "spec.updateStrategy.rollingUpdate.partition", &rolling["partition"]);
            let (field, most) = ("spec.updateStrategy.rollingUpdate.maxUnavailable", &rolling["maxUnavailable"]);
            rules::number_or_percent(errors, field, most);
            if *most == json!(0) || rules::percentage(most) == Some(0) {
                errors.push(FieldError::invalid(field, most, "cannot be 0"));
            }
            rules::at_most_all(errors, field, most);
        }
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid("spec.updateStrategy", strategy, why));
        }
    }
    for when in ["whenDeleted", "whenScaled"] {
        let field = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
        one_of(errors, &field, &spec["persistentVolumeClaimRetentionPolicy"][when], &["Delete", "Retain"]);
    }
}

const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn change(spec: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, value| !MUTABLE.contains(&name.as_str()) && is_set(value));
        }
        spec
    };
    if fixed(spec) != fixed(old) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden("spec", why));
    }
}

const COUNTS: &[&str] = &[
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
    "observedGeneration",
    "collisionCount",
];

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    let status = &object["status"];
    rules::none_negative(&mut errors, "status", status, COUNTS);
    let pairs = [
        ("readyReplicas", "replicas", "status.replicas"),
        ("currentReplicas", "replicas", "status.replicas"),
        ("updatedReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "status.readyReplicas"),
    ];
    counts_fit(status, &pairs, &mut errors);
    collisions_grow(status, &old["status"], &mut errors);
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
                "metadata": {"name": "web", "namespace": "n"},
                "spec": {
                    "serviceName": "web",
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{
                            "name": "c", "image": "x:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                        }]},
                    },
                    "volumeClaimTemplates": [{
                        "metadata": {"name": "data"},
                        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                    }],
                },
            }),
        )
    }

    #[test]
    fn a_stateful_set_gets_upstreams_defaults() {
        let spec = rules().filled()["spec"].take();
        assert_eq!(spec["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
        assert_eq!(spec["podManagementPolicy"], "OrderedReady");
        let policy = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], policy);
        assert_eq!(spec["volumeClaimTemplates"][0]["spec"]["volumeMode"], "Filesystem");
    }

    #[test]
    fn a_stateful_set_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[("/spec/updateStrategy", json!({"type": "OnDelete"}))]);
        for (at, value, field, text) in [
            ("podManagementPolicy", json!("Any"), "podManagementPolicy", "must be 'OrderedReady' or 'Parallel'"),
            ("updateStrategy", json!({"type": "Any"}), "updateStrategy", "must be 'RollingUpdate' or 'OnDelete'"),
            (
                "updateStrategy",
                json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
                "updateStrategy.rollingUpdate",
                "only allowed for updateStrategy 'RollingUpdate'",
            ),
            ("selector", json!({}), "selector", "empty selector is invalid for statefulset"),
            (
                "volumeClaimTemplates",
                json!([]),
                "template.spec.containers[0].volumeMounts[0].name",
                "Not found: \"data\"",
            ),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
    }

    #[test]
    fn few_fields_of_a_stateful_set_change() {
        let rules = rules();
        rules.change("/spec/replicas", &json!(3), None);
        rules.change("/spec/template/spec/containers/0/image", &json!("x:2"), None);
        let why = "updates to statefulset spec for fields other than 'replicas'";
        rules.change("/spec/serviceName", &json!("other"), Some(("spec", why)));
        let expected = Some(("status.availableReplicas", "cannot be greater than status.readyReplicas"));
        rules.status(&json!({"replicas": 3, "availableReplicas": 1}), expected);
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        assert_eq!(headings(descriptor()), ["Name", "Ready", "Age", "Containers", "Images"]);
        assert_eq!(cells(descriptor(), &rules().filled())[1], "0/1");
    }
}

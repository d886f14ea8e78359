//! `apps/v1 Deployment`.

use super::{SCALE, collisions_grow, counts_fit, labels_match, lasting_template, selector};
use crate::{
    columns::{column, number, selector_text, wide_template_columns},
    fields::{is_set, map_at, set_default, set_new_status, text},
    pod, rules,
};
use orrery_api::k8s::api::apps::v1::Deployment;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["deploy"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &[]),
        subresources: SCALE,
        counts_generation: true,
        default,
        validate,
        warnings: crate::apps::template_warnings,
        validate_part: Some(validate_part),
        columns: &COLUMNS,
        ..crate::namespaced::<Deployment>("deployment")
    }
}

const WIDE: [Column; 3] =
    wide_template_columns!(["spec"]["template"]["spec"]; |object, _| selector_text(&object["spec"]["selector"]));

const COLUMNS: [Column; 6] = [
    column("Ready", 0, "How many of the desired pods are ready.", |object, _| {
        let count = |value: &Value| value.as_i64().unwrap_or_default();
        format!("{}/{}", count(&object["status"]["readyReplicas"]), count(&object["spec"]["replicas"])).into()
    }),
    column("Up-to-date", 0, "How many pods are of the present template.", |object, _| {
        number(&object["status"]["updatedReplicas"])
    }),
    column("Available", 0, "How many pods have been ready for long enough.", |object, _| {
        number(&object["status"]["availableReplicas"])
    }),
    WIDE[0],
    WIDE[1],
    WIDE[2],
];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    set_default(spec, "replicas", 1);
    set_default(spec, "revisionHistoryLimit", 10);
    set_default(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = map_at(spec, "strategy") {
        if strategy.get("type").is_none_or(|kind| text(kind).is_empty()) {
            strategy.insert("type".into(), "RollingUpdate".into());
        }
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = map_at(strategy, "rollingUpdate")
        {
            set_default(rolling, "maxUnavailable", "25%");
            set_default(rolling, "maxSurge", "25%");
        }
    }
    pod::fill_in_template(spec);
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    rules::none_negative(&mut errors, "spec", spec, &["replicas"]);
    selector(spec, "deployment", &mut errors);
    labels_match(spec, &mut errors);
    lasting_template(&spec["template"], "ReplicaSet", &mut errors);
    strategy(&spec["strategy"], &mut errors);
    let numbers = ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    rules::none_negative(&mut errors, "spec", spec, &numbers);
    let (deadline, ready) = (&spec["progressDeadlineSeconds"], spec["minReadySeconds"].as_i64().unwrap_or_default());
    if deadline.as_i64().is_some_and(|seconds| seconds <= ready) {
        let why = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, why));
    }
    if let Some(old) = old {
        rules::immutable(&mut errors, "spec.selector", &spec["selector"], &old["spec"]["selector"]);
    }
    errors
}

fn strategy(strategy: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.strategy.rollingUpdate";
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "Recreate" if is_set(rolling) => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(FIELD, why));
        }
        "Recreate" => {}
        "RollingUpdate" if !is_set(rolling) => {
            errors.push(FieldError::required(FIELD, "this should be defaulted and never be nil"));
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            let field = format!("{FIELD}.maxUnavailable");
            rules::number_or_percent(errors, &field, unavailable);
            rules::number_or_percent(errors, &format!("{FIELD}.maxSurge"), surge);
            if is_none_at_all(unavailable) && is_none_at_all(surge) {
                errors.push(FieldError::invalid(field.as_str(), unavailable, "may not be 0 when `maxSurge` is 0"));
            }
            rules::at_most_all(errors, &field, unavailable);
        }
        _ => errors.push(FieldError::not_supported("spec.strategy", strategy, &["Recreate", "RollingUpdate"])),
    }
}

fn is_none_at_all(value: &Value) -> bool {
    *value == json!(0) || rules::percentage(value) == Some(0) || value.is_null()
}

const COUNTS: &[&str] = &[
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "collisionCount",
    "terminatingReplicas",
];

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    let status = &object["status"];
    rules::none_negative(&mut errors, "status", status, COUNTS);
    let pairs = [
        ("updatedReplicas", "replicas", "status.replicas"),
        ("readyReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
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
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]},
                    },
                },
            }),
        )
    }

    #[test]
    fn a_deployment_gets_upstreams_defaults() {
        let spec = rules().filled()["spec"].take();
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
        assert_eq!((&spec["strategy"], &spec["replicas"]), (&strategy, &json!(1)));
        assert_eq!((&spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]), (&json!(10), &json!(600)));
        let template = &spec["template"]["spec"];
        assert_eq!((&template["dnsPolicy"], &template["restartPolicy"]), (&json!("ClusterFirst"), &json!("Always")));
        assert_eq!((template.get("enableServiceLinks"), template.get("serviceAccountName")), (None, None));
    }

    #[test]
    fn a_deployment_follows_upstreams_rules() {
        let rules = rules();
        let wrong = "`selector` does not match template `labels`";
        rules.fine(&[]);
        for (at, value, field, text) in [
            ("/spec/replicas", json!(-1), "spec.replicas", "must be greater than or equal to 0"),
            ("/spec/selector", json!({}), "spec.selector", "empty selector is invalid for deployment"),
            ("/spec/selector", json!({"matchLabels": {"app": "db"}}), "spec.template.metadata.labels", wrong),
            (
                "/spec/template/spec/restartPolicy",
                json!("Never"),
                "spec.template.spec.restartPolicy",
                "Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                "/spec/template/spec/activeDeadlineSeconds",
                json!(5),
                "spec.template.spec.activeDeadlineSeconds",
                "Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            ),
            ("/spec/template/spec/containers", json!([]), "spec.template.spec.containers", "Required value"),
            (
                "/spec/strategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
                "spec.strategy.rollingUpdate.maxUnavailable",
                "may not be 0 when `maxSurge` is 0",
            ),
            (
                "/spec/strategy",
                json!({"type": "Recreate", "rollingUpdate": {}}),
                "spec.strategy.rollingUpdate",
                "may not be specified when strategy `type` is 'Recreate'",
            ),
            ("/spec/strategy", json!({"type": "Sudden"}), "spec.strategy", "supported values: \"Recreate\""),
            ("/spec/progressDeadlineSeconds", json!(0), "spec.progressDeadlineSeconds", "minReadySeconds"),
        ] {
            rules.one_error(at, &value, field, text);
        }
    }

    #[test]
    fn the_selector_stays_and_a_status_is_consistent() {
        let rules = rules();
        rules.change("/spec/replicas", &json!(3), None);
        let both = json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]});
        rules.change("/spec/selector", &both, Some(("spec.selector", "field is immutable")));
        rules.status(&json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 1}), None);
        let expected = Some(("status.updatedReplicas", "cannot be greater than status.replicas"));
        rules.status(&json!({"replicas": 1, "updatedReplicas": 2}), expected);
        rules.status(&json!({"replicas": -1, "readyReplicas": -1}), Some(("status.replicas", "greater than or equal")));
    }

    #[test]
    fn a_template_is_warned_of_at_its_own_path() {
        let twice = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
        let found = rules().warnings(&[("/spec/template/spec/containers/0/env", twice)]);
        assert!(
            found[0].starts_with("spec.template.spec.containers[0].env[1]: hides previous definition"),
            "{found:?}"
        );
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"];
        assert_eq!(headings(descriptor()), expected);
        let mut object = rules().filled();
        object["status"] = json!({"readyReplicas": 1, "updatedReplicas": 1});
        assert_eq!(cells(descriptor(), &object)[1..4], [json!("1/1"), json!(1), json!(0)]);
        assert_eq!(cells(descriptor(), &object)[5..], [json!("c"), json!("x:1"), json!("app=web")]);
    }
}

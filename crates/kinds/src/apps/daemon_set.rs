//! `apps/v1 DaemonSet`.

use super::{collisions_grow, labels_match, lasting_template};
use crate::{
    columns::{column, integer, labels_text, number, selector_text, wide_template_columns},
    fields::{is_set, map_at, set_default, set_new_status, size, text},
    pod, rules,
};
use orrery_api::k8s::api::apps::v1::DaemonSet;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["ds"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| {
            set_new_status(
                object,
                &["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"],
            );
        },
        counts_generation: true,
        default,
        validate,
        warnings: crate::apps::template_warnings,
        validate_part: Some(validate_part),
        columns: &COLUMNS,
        ..crate::namespaced::<DaemonSet>("daemonset")
    }
}

const WIDE: [Column; 3] =
    wide_template_columns!(["spec"]["template"]["spec"]; |object, _| selector_text(&object["spec"]["selector"]));

const COLUMNS: [Column; 9] = [
    integer("Desired", "How many nodes are to run the pod.", |o, _| number(&o["status"]["desiredNumberScheduled"])),
    integer("Current", "How many of these nodes run it.", |o, _| number(&o["status"]["currentNumberScheduled"])),
    integer("Ready", "On how many nodes it is ready.", |o, _| number(&o["status"]["numberReady"])),
    integer("Up-to-date", "On how many nodes it is of the present template.", |o, _| {
        number(&o["status"]["updatedNumberScheduled"])
    }),
    integer("Available", "On how many nodes it has been ready for long enough.", |o, _| {
        number(&o["status"]["numberAvailable"])
    }),
    column("Node Selector", 0, "Labels that a node needs to run the pod.", |object, _| {
        labels_text(&object["spec"]["template"]["spec"]["nodeSelector"])
    }),
    WIDE[0],
    WIDE[1],
    WIDE[2],
];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    set_default(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = map_at(spec, "updateStrategy") {
        if strategy.get("type").is_none_or(|kind| text(kind).is_empty()) {
            strategy.insert("type".into(), "RollingUpdate".into());
        }
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = map_at(strategy, "rollingUpdate")
        {
            set_default(rolling, "maxUnavailable", 1);
            set_default(rolling, "maxSurge", 0);
        }
    }
    pod::fill_in_template(spec);
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    let selector = &spec["selector"];
    if rules::required(&mut errors, "spec.selector", selector) {
        rules::selector(&mut errors, "spec.selector", selector);
    }
    labels_match(spec, &mut errors);
    if is_set(selector) && size(&selector["matchLabels"]) + size(&selector["matchExpressions"]) == 0 {
        errors.push(FieldError::invalid("spec.selector", selector, "empty selector is invalid for daemonset"));
    }
    lasting_template(&spec["template"], "DaemonSet", &mut errors);
    rules::none_negative(&mut errors, "spec", spec, &["minReadySeconds", "revisionHistoryLimit"]);
    strategy(&spec["updateStrategy"], &mut errors);
    if let Some(old) = old {
        rules::immutable(&mut errors, "spec.selector", selector, &old["spec"]["selector"]);
    }
    errors
}

fn strategy(strategy: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.updateStrategy.rollingUpdate";
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "OnDelete" => {}
        "RollingUpdate" if !is_set(rolling) => errors.push(FieldError::required(FIELD, "")),
        "RollingUpdate" => {
            for (name, value) in ["maxUnavailable", "maxSurge"].map(|name| (name, &rolling[name])) {
                rules::number_or_percent(errors, &format!("{FIELD}.{name}"), value);
                rules::at_most_all(errors, &format!("{FIELD}.{name}"), value);
            }
            let some = |value: &Value| !(*value == json!(0) || value.is_null() || rules::percentage(value) == Some(0));
            match (some(&rolling["maxUnavailable"]), some(&rolling["maxSurge"])) {
                (true, true) => errors.push(FieldError::invalid(
                    format!("{FIELD}.maxSurge"),
                    &rolling["maxSurge"],
                    "may not be set when maxUnavailable is non-zero",
                )),
                (false, false) => {
                    let why = "cannot be 0 when maxSurge is 0";
                    errors.push(FieldError::required(format!("{FIELD}.maxUnavailable"), why));
                }
                (true, false) | (false, true) => {}
            }
        }
        _ => errors.push(FieldError::not_supported("spec.updateStrategy", strategy, &["RollingUpdate", "OnDelete"])),
    }
}

const COUNTS: &[&str] = &[
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
];

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    rules::none_negative(&mut errors, "status", &object["status"], COUNTS);
    collisions_grow(&object["status"], &old["status"], &mut errors);
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
                "metadata": {"name": "agent", "namespace": "n"},
                "spec": {
                    "selector": {"matchLabels": {"app": "agent"}},
                    "template": {
                        "metadata": {"labels": {"app": "agent"}},
                        "spec": {"containers": [{"name": "c", "image": "x:1"}], "nodeSelector": {"disk": "ssd"}},
                    },
                },
            }),
        )
    }

    #[test]
    fn a_daemon_set_follows_upstreams_rules() {
        let rules = rules();
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
        assert_eq!(rules.filled()["spec"]["updateStrategy"], rolling);
        rules.fine(&[("/spec/updateStrategy", json!({"type": "OnDelete"}))]);
        let of = |unavailable: Value, surge: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}});
        rules.fine(&[("/spec/updateStrategy", of(json!(0), json!("10%")))]);
        for (at, value, field, text) in [
            ("updateStrategy", of(json!(1), json!(1)), "maxSurge", "may not be set when maxUnavailable is non-zero"),
            ("updateStrategy", of(json!("0%"), json!(0)), "maxUnavailable", "cannot be 0 when maxSurge is 0"),
            ("updateStrategy", of(json!("101%"), json!(0)), "maxUnavailable", "must not be greater than 100%"),
        ] {
            let field = format!("spec.updateStrategy.rollingUpdate.{field}");
            rules.one_error(&format!("/spec/{at}"), &value, &field, text);
        }
        let never = json!("Never");
        let field = "spec.template.spec.restartPolicy";
        rules.one_error("/spec/template/spec/restartPolicy", &never, field, "supported values: \"Always\"");
        rules.status(&json!({"numberReady": -1}), Some(("status.numberReady", "must be greater than or equal to 0")));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = [
            "Name",
            "Desired",
            "Current",
            "Ready",
            "Up-to-date",
            "Available",
            "Node Selector",
            "Age",
            "Containers",
            "Images",
            "Selector",
        ];
        assert_eq!(headings(descriptor()), expected);
        assert_eq!(cells(descriptor(), &rules().filled())[6], "disk=ssd");
    }
}

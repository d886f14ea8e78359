//! `autoscaling/v1 HorizontalPodAutoscaler`: the target for the CPU as a field, all else that version 2 has as JSON in
//! annotations.

use crate::fields::{elements, is_set, map_at, place, set_default, set_new_status, size, text};
use orrery_api::k8s::api::autoscaling::v1::HorizontalPodAutoscaler;
use orrery_machinery::{
    descriptor::{FixedResource, OtherForm, StoredAs, Text},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Map, Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["hpa"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &["currentReplicas", "desiredReplicas"]),
        stored_as: Some(&STORED),
        default: |object| {
            if let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) {
                set_default(spec, "minReplicas", 1);
            }
        },
        validate,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), true, NameRule::DnsSubdomain),
            _ => validate(object, Some(old)),
        }),
        columns: &super::COLUMNS_OF_V1,
        ..crate::namespaced::<HorizontalPodAutoscaler>("horizontalpodautoscaler")
    }
}

static STORED: OtherForm = OtherForm {
    stored: StoredAs {
        group: Text::Borrowed("autoscaling"),
        version: Text::Borrowed("v2"),
        kind: Text::Borrowed("HorizontalPodAutoscaler"),
        plural: Text::Borrowed("horizontalpodautoscalers"),
    },
    on_read,
    on_write,
};

/// Fields of version 2 that stand in annotations: where they are there, and the annotation.
const ANNOTATED: [(&str, &str, &str); 4] = [
    ("spec", "metrics", "autoscaling.alpha.kubernetes.io/metrics"),
    ("spec", "behavior", "autoscaling.alpha.kubernetes.io/behavior"),
    ("status", "conditions", "autoscaling.alpha.kubernetes.io/conditions"),
    ("status", "currentMetrics", "autoscaling.alpha.kubernetes.io/current-metrics"),
];

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn on_read(object: &mut Value) {
    let mut own = Value::Null;
    if let Some(list) = place(object, &["spec", "metrics"]).and_then(Value::as_array_mut)
        && let Some(index) =
            list.iter().position(|metric| is_cpu(metric) && is_set(&metric["resource"]["target"]["averageUtilization"]))
    {
        own = list.remove(index)["resource"]["target"]["averageUtilization"].clone();
    }
    let current = elements(&object["status"]["currentMetrics"]).find(|metric| is_cpu(metric));
    let current = current.map(|metric| metric["resource"]["current"]["averageUtilization"].clone()).unwrap_or_default();
    for (parent, field, annotation) in ANNOTATED {
        let taken = place(object, &[parent]).and_then(Value::as_object_mut).and_then(|parent| parent.remove(field));
        let Some(value) = taken.filter(|value| is_set(value) && (size(value) > 0)) else { continue };
        if let Some(annotations) = map_at(meta::metadata_mut(object), "annotations") {
            annotations.insert(annotation.to_owned(), value.to_string().into());
        }
    }
    insert(object, "spec", "targetCPUUtilizationPercentage", own);
    insert(object, "status", "currentCPUUtilizationPercentage", current);
}

fn on_write(object: &mut Value) {
    for (parent, field, annotation) in ANNOTATED {
        let annotations = meta::metadata_mut(object).get_mut("annotations").and_then(Value::as_object_mut);
        let Some(kept) = annotations.and_then(|annotations| annotations.remove(annotation)) else { continue };
        // What is no JSON was no form of ours.
        if let Ok(value) = serde_json::from_str::<Value>(text(&kept)) {
            insert(object, parent, field, value);
        }
    }
    let no_annotations = object["metadata"]["annotations"].as_object().is_some_and(Map::is_empty);
    if no_annotations {
        meta::metadata_mut(object).remove("annotations");
    }
    let own = place(object, &["spec"])
        .and_then(Value::as_object_mut)
        .and_then(|spec| spec.remove("targetCPUUtilizationPercentage"));
    let none = size(&object["spec"]["metrics"]) == 0;
    let percent = own.filter(is_set).or_else(|| none.then(|| json!(80)));
    if let Some(percent) = percent {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        let mut metrics = vec![metric];
        metrics.extend(elements(&object["spec"]["metrics"]).cloned());
        insert(object, "spec", "metrics", metrics.into());
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
    }
}

/// The object as version 2 has it.
pub(super) fn stored(object: &Value) -> Value {
    let mut object = object.clone();
    if object.is_object() {
        on_write(&mut object);
    }
    object
}

fn insert(object: &mut Value, parent: &str, field: &str, value: Value) {
    if !is_set(&value) {
        return;
    }
    if let Some(parent) = object.as_object_mut().and_then(|object| map_at(object, parent)) {
        parent.insert(field.to_owned(), value);
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    super::bounds(spec, &mut errors);
    let percent = &spec["targetCPUUtilizationPercentage"];
    if percent.as_i64().is_some_and(|percent| percent < 1) {
        let why = "must be greater than 0";
        errors.push(FieldError::invalid("spec.targetCPUUtilizationPercentage", percent, why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells};

    #[test]
    fn both_versions_say_the_same() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let stored = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "metrics": [cpu, memory]}, "status": {"currentReplicas": 1}});
        let mut served = stored.clone();
        on_read(&mut served);
        assert_eq!(served["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}));
        on_write(&mut served);
        assert_eq!(served, stored);
    }

    #[test]
    fn the_cpu_is_measured_unless_something_else_is() {
        let target = json!({"kind": "Deployment", "name": "web"});
        let object =
            json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}});
        let rules = Rules::new(descriptor(), object);
        rules.fine(&[]);
        let percent = "/spec/targetCPUUtilizationPercentage";
        rules.one_error(percent, &json!(0), "spec.targetCPUUtilizationPercentage", "must be greater than 0");
        let mut object = rules.filled();
        on_write(&mut object);
        assert_eq!(object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert_eq!(cells(descriptor(), &rules.filled())[1], "Deployment/web");
    }
}

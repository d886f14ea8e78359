//! `autoscaling/v2 HorizontalPodAutoscaler`, which is stored, and `autoscaling/v1`, another form of it.

mod v1;

use crate::{
    columns::{column, number_or_text},
    fields::{elements, existing_map, is_set, map_at, one_of, set_default, set_new_status, size, text},
    rules,
};
use orrery_api::k8s::api::autoscaling::v2::HorizontalPodAutoscaler;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

pub(crate) fn descriptors() -> [FixedResource; 2] {
    [descriptor(), v1::descriptor()]
}

fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["hpa"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &["desiredReplicas"]),
        default,
        validate,
        validate_part: Some(validate_part),
        columns: COLUMNS,
        ..crate::namespaced::<HorizontalPodAutoscaler>("horizontalpodautoscaler")
    }
}

const COLUMNS: &[Column] = &[
    column("Reference", 0, "What is scaled.", |object, _| {
        let target = &object["spec"]["scaleTargetRef"];
        format!("{}/{}", text(&target["kind"]), text(&target["name"])).into()
    }),
    column("Targets", 0, "What is measured, and what it is to be.", |object, _| targets(object).into()),
    column("MinPods", 0, "The fewest pods.", |object, _| number_or_text(&object["spec"]["minReplicas"], "<unset>")),
    column("MaxPods", 0, "The most pods.", |object, _| {
        object["spec"]["maxReplicas"].as_i64().unwrap_or_default().into()
    }),
    column("Replicas", 0, "How many pods there are.", |object, _| {
        object["status"]["currentReplicas"].as_i64().unwrap_or_default().into()
    }),
];

/// The columns of version 1, whose objects are looked at as version 2 has them.
const COLUMNS_OF_V1: [Column; 5] = [
    COLUMNS[0],
    Column { cell: |object, now| (COLUMNS[1].cell)(&v1::stored(object), now), ..COLUMNS[1] },
    COLUMNS[2],
    COLUMNS[3],
    COLUMNS[4],
];

/// Two of the measures, and how many more there are.
fn targets(object: &Value) -> String {
    let current = &object["status"]["currentMetrics"];
    let shown = |(index, metric): (usize, &Value)| {
        let part = part_of(metric);
        let (target, now) = (&metric[part]["target"], &current[index][part]["current"]);
        let percent = is_set(&target["averageUtilization"]);
        let unit = if percent { "%" } else { "" };
        let of = |side: &Value| {
            let fields = ["averageUtilization", "averageValue", "value"];
            let found = fields.iter().map(|field| &side[*field]).find(|value| is_set(value));
            found.map_or_else(|| "<unknown>".to_owned(), |value| format!("{}{unit}", crate::quantity::plain(value)))
        };
        let average = if is_set(&target["averageValue"]) && part != "resource" { " (avg)" } else { "" };
        let name = if part == "resource" || part == "containerResource" {
            format!("{}: ", text(&metric[part]["name"]))
        } else {
            String::new()
        };
        format!("{name}{}/{}{average}", of(now), of(target))
    };
    let all: Vec<String> = elements(&object["spec"]["metrics"]).enumerate().map(shown).collect();
    match all.len() {
        0 => "<none>".to_owned(),
        count if count > 2 => format!("{} + {} more...", all[..2].join(", "), count - 2),
        _ => all.join(", "),
    }
}

const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn part_of(metric: &Value) -> &'static str {
    SOURCES.into_iter().find(|(kind, _)| metric["type"] == *kind).map_or("", |(_, part)| part)
}

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    set_default(spec, "minReplicas", 1);
    if spec.get("metrics").is_none_or(|metrics| size(metrics) == 0) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec.insert("metrics".into(), json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
    }
    let Some(behavior) = existing_map(spec, "behavior") else { return };
    if let Some(up) = map_at(behavior, "scaleUp") {
        set_default(up, "stabilizationWindowSeconds", 0);
        set_default(up, "selectPolicy", "Max");
        let policies = json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]);
        set_default(up, "policies", policies);
    }
    if let Some(down) = map_at(behavior, "scaleDown") {
        set_default(down, "selectPolicy", "Max");
        set_default(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    bounds(spec, &mut errors);
    for (index, metric) in elements(&spec["metrics"]).enumerate() {
        self::metric(metric, &format!("spec.metrics[{index}]"), &mut errors);
    }
    for way in ["scaleUp", "scaleDown"].into_iter().filter(|way| is_set(&spec["behavior"][*way])) {
        scaling(&spec["behavior"][way], &format!("spec.behavior.{way}"), &mut errors);
    }
    errors
}

/// Checks how many pods there may be, and of what.
fn bounds(spec: &Value, errors: &mut Vec<FieldError>) {
    let (min, max) = (&spec["minReplicas"], &spec["maxReplicas"]);
    if min.as_i64().is_some_and(|min| min < 1) {
        errors.push(FieldError::invalid("spec.minReplicas", min, "must be greater than or equal to 1"));
    }
    if max.as_i64().unwrap_or_default() < 1 {
        errors.push(FieldError::invalid("spec.maxReplicas", max, "must be greater than 0"));
    }
    if let (Some(least), Some(most)) = (min.as_i64(), max.as_i64())
        && most < least
    {
        errors.push(FieldError::invalid("spec.maxReplicas", max, "must be greater than or equal to `minReplicas`"));
    }
    for field in ["kind", "name"] {
        let at = format!("spec.scaleTargetRef.{field}");
        rules::required_name(errors, &at, &spec["scaleTargetRef"][field], meta::path_segment_problems);
    }
}

fn metric(metric: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let kinds = SOURCES.map(|(kind, _)| kind);
    let kind = &metric["type"];
    if text(kind).is_empty() {
        errors.push(FieldError::required(format!("{field}.type"), "must specify a metric source type"));
        return;
    }
    one_of(errors, &format!("{field}.type"), kind, &kinds);
    let part = part_of(metric);
    for (_, other) in SOURCES.into_iter().filter(|(_, other)| *other != part && is_set(&metric[*other])) {
        let why = "must populate the given metric source only";
        errors.push(FieldError::forbidden(format!("{field}.{other}"), why));
    }
    if part.is_empty() {
        return;
    }
    let (source, at) = (&metric[part], format!("{field}.{part}"));
    if !is_set(source) {
        let why = "must populate information for the given metric source";
        errors.push(FieldError::required(at, why));
        return;
    }
    match part {
        "resource" => drop(rules::required(errors, &format!("{at}.name"), &source["name"])),
        "containerResource" => {
            for name in ["name", "container"] {
                rules::required(errors, &format!("{at}.{name}"), &source[name]);
            }
        }
        _ => drop(rules::required(errors, &format!("{at}.metric.name"), &source["metric"]["name"])),
    }
    target(&source["target"], &format!("{at}.target"), errors);
}

fn target(target: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let kinds = ["AverageValue", "Utilization", "Value"];
    if text(&target["type"]).is_empty() {
        errors.push(FieldError::required(format!("{field}.type"), "must specify a metric target type"));
    } else if !kinds.contains(&text(&target["type"])) {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(format!("{field}.type"), &target["type"], why));
    }
    let utilization = &target["averageUtilization"];
    if utilization.as_i64().is_some_and(|percent| percent < 1) {
        errors.push(FieldError::invalid(format!("{field}.averageUtilization"), utilization, "must be greater than 0"));
    }
    for name in ["value", "averageValue"] {
        let amount = &target[name];
        if is_set(amount) && crate::quantity::milli(amount).is_none_or(|milli| milli == 0) {
            errors.push(FieldError::invalid(format!("{field}.{name}"), amount, "must be positive"));
        }
    }
    let needed = match text(&target["type"]) {
        "Utilization" => "averageUtilization",
        "Value" => "value",
        "AverageValue" => "averageValue",
        _ => return,
    };
    if !is_set(&target[needed]) {
        let why = match needed {
            "averageUtilization" => "must set either a target raw value or a target utilization",
            _ => "must set a positive target value",
        };
        errors.push(FieldError::required(format!("{field}.{needed}"), why));
    }
}

fn scaling(rules_of: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let window = &rules_of["stabilizationWindowSeconds"];
    if window.as_i64().is_some_and(|seconds| !(0..=3600).contains(&seconds)) {
        let why = if window.as_i64() < Some(0) {
            "must be greater than or equal to zero"
        } else {
            "must be less than or equal to 3600"
        };
        errors.push(FieldError::invalid(format!("{field}.stabilizationWindowSeconds"), window, why));
    }
    let choices = ["Disabled", "Max", "Min"];
    one_of(errors, &format!("{field}.selectPolicy"), &rules_of["selectPolicy"], &choices);
    let policies = &rules_of["policies"];
    if size(policies) == 0 {
        errors.push(FieldError::required(format!("{field}.policies"), "must specify at least one Policy"));
    }
    for (index, policy) in elements(policies).enumerate() {
        let field = format!("{field}.policies[{index}]");
        one_of(errors, &format!("{field}.type"), &policy["type"], &["Percent", "Pods"]);
        for name in ["value", "periodSeconds"] {
            let number = &policy[name];
            if number.as_i64().unwrap_or_default() <= 0 {
                let why = "must be greater than zero";
                errors.push(FieldError::invalid(format!("{field}.{name}"), number, why));
            }
        }
        let period = &policy["periodSeconds"];
        if period.as_i64().is_some_and(|seconds| seconds > 1800) {
            let why = "must be less than or equal to 1800";
            errors.push(FieldError::invalid(format!("{field}.periodSeconds"), period, why));
        }
    }
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    let counts = ["currentReplicas", "desiredReplicas"];
    rules::none_negative(&mut errors, "status", &object["status"], &counts);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn rules() -> Rules {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        Rules::new(
            descriptor(),
            json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5}}),
        )
    }

    #[test]
    fn an_autoscaler_follows_upstreams_rules() {
        let rules = rules();
        assert_eq!(rules.filled()["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        rules.fine(&[("/spec/behavior", json!({"scaleDown": {"stabilizationWindowSeconds": 60}}))]);
        for (at, value, field, text) in [
            ("minReplicas", json!(0), "minReplicas", "must be greater than or equal to 1"),
            ("minReplicas", json!(9), "maxReplicas", "must be greater than or equal to `minReplicas`"),
            ("scaleTargetRef/kind", json!(""), "scaleTargetRef.kind", "Required value"),
            ("metrics", json!([{"type": "Resource"}]), "metrics[0].resource", "must populate information"),
            (
                "behavior",
                json!({"scaleUp": {"selectPolicy": "Any"}}),
                "behavior.scaleUp.selectPolicy",
                "\"Disabled\", \"Max\", \"Min\"",
            ),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = ["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"];
        assert_eq!(headings(descriptor()), expected);
        let expected = json!(["Deployment/web", "cpu: <unknown>/80%", "1", 5, 0]);
        assert_eq!(json!(cells(descriptor(), &rules().filled())[1..6]), expected);
    }
}

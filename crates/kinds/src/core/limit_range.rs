//! `v1 LimitRange`.

use crate::{
    columns::CREATED_AT,
    fields::{elements, is_set, map_at, maps_in, report, set_default, size, text},
    quantity::{self, milli, plain},
};
use orrery_api::k8s::api::core::v1::LimitRange;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["limits"],
        create_on_update: true,
        default,
        validate,
        columns: COLUMNS,
        ..crate::namespaced::<LimitRange>("limitrange")
    }
}

const COLUMNS: &[Column] = &[table::NAME, CREATED_AT];

/// A container's limit is its maximum, and its request its limit or minimum, unless they are given.
fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    for item in maps_in(spec, "limits").filter(|item| item.get("type").is_some_and(|kind| kind == "Container")) {
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let Some(amounts) = item.get(from).and_then(Value::as_object).cloned() else { continue };
            let Some(target) = map_at(item, to) else { continue };
            amounts.into_iter().for_each(|(name, amount)| set_default(target, &name, amount));
        }
    }
}

const STANDARD_TYPES: &[&str] = &["Pod", "Container", "PersistentVolumeClaim"];
const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let mut types = BTreeSet::new();
    for (index, item) in elements(&object["spec"]["limits"]).enumerate() {
        let field = format!("spec.limits[{index}]");
        let kind = text(&item["type"]);
        let problems = meta::qualified_name_problems(kind);
        report(&mut errors, &format!("{field}.type"), &item["type"], &problems);
        if problems.is_empty() && !kind.contains('/') && !STANDARD_TYPES.contains(&kind) {
            let why = "must be a standard limit type or fully qualified";
            errors.push(FieldError::invalid(format!("{field}.type"), &item["type"], why));
        }
        if !types.insert(kind) {
            errors.push(FieldError::duplicate(format!("{field}.type"), &item["type"]));
        }
        self::item(item, &field, &mut errors);
    }
    errors
}

fn item(item: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let kind = text(&item["type"]);
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for list in LISTS {
        if kind == "Pod" && matches!(list, "default" | "defaultRequest") {
            if size(&item[list]) > 0 {
                let why = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(format!("{field}.{list}"), why));
            }
            continue;
        }
        for (name, amount) in item[list].as_object().into_iter().flatten() {
            let field = format!("{field}.{list}[{name}]");
            if matches!(kind, "Pod" | "Container") {
                quantity::container_resource_name(errors, &field, name);
            } else {
                quantity::resource_name(errors, &field, name);
            }
            quantity::check(errors, &field, amount);
            names.insert(name);
        }
    }
    if kind == "PersistentVolumeClaim" && !is_set(&item["min"]["storage"]) && !is_set(&item["max"]["storage"]) {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(format!("{field}.limits"), why));
    }
    for name in names {
        order(item, name, field, errors);
    }
}

/// Pairs of lists of which the first is not above the second: their names, the words for both, and the list that the
/// error is about.
const ORDER: [(&str, &str, &str, &str, &str); 6] = [
    ("min", "max", "min value", "max value", "min"),
    ("min", "defaultRequest", "min value", "default request value", "defaultRequest"),
    ("defaultRequest", "max", "default request value", "max value", "defaultRequest"),
    ("defaultRequest", "default", "default request value", "default limit value", "defaultRequest"),
    ("min", "default", "min value", "default value", "default"),
    ("default", "max", "default value", "max value", "default"),
];

fn order(item: &Value, name: &str, field: &str, errors: &mut Vec<FieldError>) {
    let given = |list: &str| {
        let forbidden = text(&item["type"]) == "Pod" && matches!(list, "default" | "defaultRequest");
        item[list].get(name).filter(|_| !forbidden)
    };
    for (less, more, less_words, more_words, about) in ORDER {
        let (Some(small), Some(large)) = (given(less), given(more)) else { continue };
        if let (Some(a), Some(b)) = (milli(small), milli(large))
            && a > b
        {
            let shown = match about {
                "default" if less == "min" => small,
                "default" => large,
                _ if about == less => small,
                _ => large,
            };
            let why = format!("{less_words} {} is greater than {more_words} {}", plain(small), plain(large));
            errors.push(FieldError::invalid(format!("{field}.{about}[{name}]"), shown, &why));
        }
    }
    let Some(ratio) = given("maxLimitRequestRatio") else { return };
    let field = format!("{field}.maxLimitRequestRatio[{name}]");
    let Some(most) = milli(ratio) else { return };
    if most < 1000 {
        errors.push(FieldError::invalid(field.as_str(), ratio, &format!("ratio {} is less than 1", plain(ratio))));
    }
    if let (Some(min), Some(max)) = (given("min").and_then(milli), given("max").and_then(milli))
        && min > 0
        && most * min > max * 1000
    {
        let (whole, rest) = (max / min, (max % min) * 1_000_000 / min);
        let why = format!("ratio {} is greater than max/min = {whole}.{rest:06}", plain(ratio));
        errors.push(FieldError::invalid(field, ratio, &why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, headings};
    use serde_json::json;

    fn rules() -> Rules {
        let limit = json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "100m", "memory": "1Mi"}});
        Rules::new(descriptor(), json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {"limits": [limit]}}))
    }

    #[test]
    fn defaults_follow_from_the_bounds() {
        let limit = rules().filled()["spec"]["limits"][0].take();
        assert_eq!(limit["default"], json!({"cpu": "2"}));
        assert_eq!(limit["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
    }

    #[test]
    fn a_limit_range_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[]);
        let only = |limit: Value| json!([limit]);
        for (limit, field, text) in [
            (json!({"type": "Room"}), "[0].type", "must be a standard limit type or fully qualified"),
            (json!({"type": "Pod", "default": {"cpu": "1"}}), "[0].default", "when `type` is 'Pod'"),
            (
                json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
                "[0].min[cpu]",
                "Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                json!({"type": "Container", "max": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}}),
                "[0].defaultRequest[cpu]",
                "default request value 2 is greater than max value 1",
            ),
            (json!({"type": "PersistentVolumeClaim"}), "[0].limits", "either minimum or maximum storage value"),
            (
                json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                "[0].maxLimitRequestRatio[cpu]",
                "ratio 3 is greater than max/min = 2.000000",
            ),
            (
                json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}}),
                "[0].maxLimitRequestRatio[cpu]",
                "ratio 500m is less than 1",
            ),
        ] {
            let object = rules.with(&[("/spec/limits", only(limit.clone()))]);
            let found = validate(&object, None);
            let first = found.first().unwrap_or_else(|| panic!("{limit} is taken"));
            assert_eq!(first.field, format!("spec.limits{field}"), "{limit}");
            assert!(first.message.contains(text), "{limit}: {}", first.message);
        }
        assert_eq!(headings(descriptor()), ["Name", "Created At"]);
    }
}

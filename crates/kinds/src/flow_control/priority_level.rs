//! `flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration`.

use crate::{
    columns::{column, number_or_text},
    fields::{existing_map, is_set, map_at, set_default, text},
    merge_keys, rules,
};
use orrery_api::k8s::api::flowcontrol::v1::PriorityLevelConfiguration;
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        has_status: true,
        counts_generation: true,
        default,
        validate,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), false, NameRule::DnsSubdomain),
            _ => validate(object, Some(old)),
        }),
        columns: COLUMNS,
        merge_keys: MERGE_KEYS,
        ..crate::cluster_wide::<PriorityLevelConfiguration>("prioritylevelconfiguration")
    }
}

const MERGE_KEYS: &[MergeKey] = merge_keys!["status.conditions" => "type"];

fn queuing<'a>(object: &'a Value, field: &str) -> &'a Value {
    &object["spec"]["limited"]["limitResponse"]["queuing"][field]
}

const COLUMNS: &[Column] = &[
    column("Type", 0, "Whether requests are limited.", |object, _| text(&object["spec"]["type"]).into()),
    column("NominalConcurrencyShares", 0, "The share of requests at a time.", |object, _| {
        let part = if object["spec"]["type"] == "Exempt" { "exempt" } else { "limited" };
        number_or_text(&object["spec"][part]["nominalConcurrencyShares"], "<none>")
    }),
    column("Queues", 0, "How many queues there are.", |object, _| number_or_text(queuing(object, "queues"), "<none>")),
    column("HandSize", 0, "Among how many queues each flow chooses.", |object, _| {
        number_or_text(queuing(object, "handSize"), "<none>")
    }),
    column("QueueLengthLimit", 0, "How long each queue may be.", |object, _| {
        number_or_text(queuing(object, "queueLengthLimit"), "<none>")
    }),
];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    if let Some(exempt) = existing_map(spec, "exempt") {
        set_default(exempt, "nominalConcurrencyShares", 0);
        set_default(exempt, "lendablePercent", 0);
    }
    if let Some(limited) = existing_map(spec, "limited") {
        set_default(limited, "nominalConcurrencyShares", 30);
        set_default(limited, "lendablePercent", 0);
        let queuing = existing_map(limited, "limitResponse").and_then(|response| existing_map(response, "queuing"));
        if let Some(queuing) = queuing {
            for (field, number) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                set_default(queuing, field, number);
            }
        }
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    let (limited, exempt) = (&spec["limited"], &spec["exempt"]);
    match text(&spec["type"]) {
        "Exempt" => {
            if is_set(limited) {
                errors.push(FieldError::forbidden("spec.limited", "must be nil if the type is not Limited"));
            }
            rules::none_negative(&mut errors, "spec.exempt", exempt, &["nominalConcurrencyShares"]);
            percent(&exempt["lendablePercent"], "spec.exempt.lendablePercent", &mut errors);
        }
        "Limited" => {
            if is_set(exempt) {
                errors.push(FieldError::forbidden("spec.exempt", "must be nil if the type is Limited"));
            }
            if is_set(limited) {
                self::limited(limited, &mut errors);
            } else {
                errors.push(FieldError::required("spec.limited", "must not be empty when type is Limited"));
            }
        }
        _ => errors.push(FieldError::not_supported("spec.type", &spec["type"], &["Exempt", "Limited"])),
    }
    errors
}

fn percent(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|percent| !(0..=100).contains(&percent)) {
        errors.push(FieldError::invalid(field, value, "must be between 0 and 100, inclusive"));
    }
}

fn limited(limited: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.limited";
    let shares = &limited["nominalConcurrencyShares"];
    if shares.as_i64().is_some_and(|shares| shares < 0) {
        let why = "must be a non-negative integer";
        errors.push(FieldError::invalid(format!("{FIELD}.nominalConcurrencyShares"), shares, why));
    }
    percent(&limited["lendablePercent"], "spec.limited.lendablePercent", errors);
    let borrowed = &limited["borrowingLimitPercent"];
    if borrowed.as_i64().is_some_and(|percent| percent < 0) {
        let why = "if specified, must be a non-negative integer";
        errors.push(FieldError::invalid(format!("{FIELD}.borrowingLimitPercent"), borrowed, why));
    }
    let response = &limited["limitResponse"];
    let (field, queuing) = (format!("{FIELD}.limitResponse.queuing"), &response["queuing"]);
    match text(&response["type"]) {
        "Reject" if is_set(queuing) => {
            errors.push(FieldError::forbidden(field, "must be nil if limited.limitResponse.type is not Limited"));
        }
        "Reject" => {}
        "Queue" if !is_set(queuing) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(field, why));
        }
        "Queue" => {
            for name in ["queueLengthLimit", "queues", "handSize"] {
                if queuing[name].as_i64().unwrap_or_default() <= 0 {
                    errors.push(FieldError::invalid(format!("{field}.{name}"), &queuing[name], "must be positive"));
                }
            }
            let (hand, queues) = (queuing["handSize"].as_i64(), queuing["queues"].as_i64());
            if let (Some(hand), Some(queues)) = (hand, queues)
                && hand > queues
            {
                let why = format!("should not be greater than queues ({queues})");
                errors.push(FieldError::invalid(format!("{field}.handSize"), &hand.into(), &why));
            }
        }
        _ => {
            let field = format!("{FIELD}.limitResponse.type");
            errors.push(FieldError::not_supported(field, &response["type"], &["Queue", "Reject"]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_level_follows_upstreams_rules() {
        let spec = json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}});
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "low"}, "spec": spec}));
        rules.fine(&[]);
        rules.fine(&[("/spec/limited/limitResponse", json!({"type": "Reject"}))]);
        rules.fine(&[("/spec", json!({"type": "Exempt"}))]);
        for (at, value, field, text) in [
            ("type", json!("Some"), "type", "\"Exempt\", \"Limited\""),
            ("limited", json!(null), "limited", "must not be empty when type is Limited"),
            ("exempt", json!({}), "exempt", "must be nil if the type is Limited"),
            ("limited/lendablePercent", json!(101), "limited.lendablePercent", "between 0 and 100"),
            (
                "limited/limitResponse/queuing/handSize",
                json!(65),
                "limited.limitResponse.queuing.handSize",
                "should not be greater than queues (64)",
            ),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
        let expected = ["Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age"];
        assert_eq!(headings(descriptor()), expected);
        let expected = json!(["Limited", "30", "64", "8", "50"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..6]), expected);
    }
}

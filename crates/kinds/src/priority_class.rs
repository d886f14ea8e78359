//! `scheduling.k8s.io/v1 PriorityClass`.

use super::{
    columns::{column, integer, number},
    fields::{one_of, set_default, text},
    rules,
};
use orrery_api::k8s::api::scheduling::v1::PriorityClass;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["pc"],
        counts_generation: true,
        default: |object| {
            if let Some(class) = object.as_object_mut() {
                set_default(class, "preemptionPolicy", "PreemptLowerPriority");
            }
        },
        validate,
        columns: COLUMNS,
        ..super::cluster_wide::<PriorityClass>("priorityclass")
    }
}

/// In full, because a column stands after the age.
const COLUMNS: &[Column] = &[
    table::NAME,
    integer("Value", "The priority.", |class, _| number(&class["value"])),
    Column {
        kind: "boolean",
        ..column("Global-Default", 0, "Whether pods without a class have this one.", |class, _| {
            class["globalDefault"].as_bool().unwrap_or_default().into()
        })
    },
    table::AGE,
    column("PreemptionPolicy", 0, "Whether others have to make way.", |class, _| {
        text(&class["preemptionPolicy"]).into()
    }),
];

/// The priorities above are the system's own.
const HIGHEST: i64 = 1_000_000_000;

/// The system's own classes and their priorities.
const SYSTEM: [(&str, i64); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let (name, value) = (meta::name(object), &object["value"]);
    if name.starts_with("system-") {
        let known = SYSTEM.iter().find(|(known, _)| *known == name);
        let problem = match known {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, priority)) if value.as_i64() != Some(*priority) => {
                Some(format!("value of {name} PriorityClass must be {priority}"))
            }
            Some(_) if object["globalDefault"] == Value::Bool(true) => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            );
            errors.push(FieldError::forbidden("metadata.name", &why));
        }
    } else if value.as_i64().is_some_and(|value| value > HIGHEST) {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        errors.push(FieldError::forbidden("value", &why));
    }
    let policy = &object["preemptionPolicy"];
    one_of(&mut errors, "preemptionPolicy", policy, &["PreemptLowerPriority", "Never"]);
    if let Some(old) = old {
        if number(value) != number(&old["value"]) {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        rules::immutable(&mut errors, "preemptionPolicy", policy, &old["preemptionPolicy"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_class_follows_upstreams_rules() {
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "high"}, "value": 1000}));
        rules.fine(&[]);
        rules.fine(&[("/metadata/name", json!("system-node-critical")), ("/value", json!(2_000_001_000))]);
        rules.one_error(
            "/metadata/name",
            &json!("system-mine"),
            "metadata.name",
            "is not a known system priority class",
        );
        rules.one_error("/value", &json!(1_000_000_001), "value", "maximum allowed value of a user defined priority");
        rules.one_error("/preemptionPolicy", &json!("Maybe"), "preemptionPolicy", "Unsupported value");
        rules.change("/description", &json!("text"), None);
        rules.change("/value", &json!(5), Some(("value", "Forbidden: may not be changed in an update.")));
        let never = json!("Never");
        rules.change("/preemptionPolicy", &never, Some(("preemptionPolicy", "field is immutable")));
        assert_eq!(headings(descriptor()), ["Name", "Value", "Global-Default", "Age", "PreemptionPolicy"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..3]), json!([1000, false]));
    }
}

//! Selectors that stand in objects: `matchLabels` and `matchExpressions`.

use super::label::{LabelSelector, Operator, Requirement};
use crate::meta::{label_value_problems, qualified_name_problems, validate_labels};
use crate::status::FieldError;
use serde_json::Value;
use std::collections::BTreeSet;

impl LabelSelector {
    /// Reads a `meta/v1 LabelSelector`: absent picks nothing, empty picks everything. What is malformed (see
    /// [`validate_label_selector`]) picks nothing either.
    #[must_use]
    pub fn from_object(selector: &Value) -> Self {
        if selector.is_null() {
            return Self::nothing();
        }
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let Some(value) = value.as_str() else { return Self::nothing() };
            requirements.push(Requirement { key: key.clone(), operator: Operator::In([value.to_owned()].into()) });
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let Some(requirement) = requirement(expression) else { return Self::nothing() };
            requirements.push(requirement);
        }
        Self::new(requirements)
    }
}

fn requirement(expression: &Value) -> Option<Requirement> {
    let values: BTreeSet<String> = values(expression).map(str::to_owned).collect();
    let operator = match (expression["operator"].as_str()?, values.is_empty()) {
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        _ => return None,
    };
    Some(Requirement { key: expression["key"].as_str()?.to_owned(), operator })
}

fn values(expression: &Value) -> impl Iterator<Item = &str> {
    expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Checks a `meta/v1 LabelSelector` that stands at `field`, with upstream's words.
#[must_use]
pub fn validate_label_selector(selector: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = validate_labels(&selector["matchLabels"], &format!("{field}.matchLabels"));
    for (index, expression) in selector["matchExpressions"].as_array().into_iter().flatten().enumerate() {
        let at = format!("{field}.matchExpressions[{index}]");
        let none = values(expression).next().is_none();
        match expression["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if none => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{at}.values"), why));
            }
            "Exists" | "DoesNotExist" if !none => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{at}.values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let why = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{at}.operator"), &expression["operator"], why));
            }
        }
        let key = expression["key"].as_str().unwrap_or_default();
        let problems = qualified_name_problems(key);
        errors.extend(problems.iter().map(|p| FieldError::invalid(format!("{at}.key"), &key.into(), p)));
        for (number, value) in values(expression).enumerate() {
            let problems = label_value_problems(value);
            let field = format!("{at}.values[{number}]");
            errors.extend(problems.iter().map(|p| FieldError::invalid(field.as_str(), &value.into(), p)));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_object_picks_as_its_text_would() {
        let pod = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        let table = [
            (json!(null), false),
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "web", "tier": "back"}}), false),
            (json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}), false),
            (json!({"matchExpressions": [{"key": "x", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "Near", "values": ["web"]}]}), false),
        ];
        for (selector, expected) in table {
            assert_eq!(LabelSelector::from_object(&selector).matches(&pod), expected, "{selector}");
        }
    }

    #[test]
    fn each_malformed_part_is_named() {
        let selector = json!({
            "matchLabels": {"a b": "c"},
            "matchExpressions": [
                {"key": "a", "operator": "In"},
                {"key": "a", "operator": "Exists", "values": ["v"]},
                {"key": "", "operator": "Near"},
            ],
        });
        let fields: Vec<String> = validate_label_selector(&selector, "s").into_iter().map(|e| e.field).collect();
        let expected = [
            "s.matchLabels",
            "s.matchExpressions[0].values",
            "s.matchExpressions[1].values",
            "s.matchExpressions[2].operator",
            "s.matchExpressions[2].key",
            "s.matchExpressions[2].key",
        ];
        assert_eq!(fields, expected);
    }
}

//! Label selectors, made ready to be asked often.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{self, SelectorExt};
use std::collections::BTreeMap;

/// What labels must be like. One that is absent or malformed picks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(Option<core::Selector>);

impl Selector {
    /// The meaning of a selector object; none picks nothing, an empty one everything.
    #[must_use]
    pub fn of(selector: Option<&LabelSelector>) -> Self {
        // The API server refuses malformed selectors; one that got past it must not pick everything.
        Self(selector.and_then(|selector| core::Selector::try_from(selector.clone()).ok()))
    }

    /// Picks what has all of `labels`; none picks nothing.
    #[must_use]
    pub fn of_map(labels: Option<&BTreeMap<String, String>>) -> Self {
        Self(labels.map(|labels| labels.clone().into_iter().collect()))
    }

    /// Whether it picks an object with these labels.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.as_ref().is_some_and(|selector| selector.matches(labels))
    }

    /// Whether it picks an object with these labels, and says anything at all: an empty selector picks nothing here.
    /// Workload controllers must not adopt a whole namespace.
    #[must_use]
    pub fn matches_explicitly(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.as_ref().is_some_and(|selector| !selector.selects_all() && selector.matches(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn labels(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn absent_and_malformed_selectors_pick_nothing_and_empty_ones_everything() {
        let of = |value: Value| Selector::of(Some(&serde_json::from_value(value).unwrap()));
        let some = labels(&[("app", "web"), ("tier", "front")]);
        let table = [
            (Selector::of(None), false, false),
            (of(json!({})), true, false),
            (of(json!({"matchExpressions": [{"key": "app", "operator": "Near"}]})), false, false),
            (of(json!({"matchLabels": {"app": "web"}})), true, true),
            (of(json!({"matchLabels": {"app": "db"}})), false, false),
            (of(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]})), true, true),
            (of(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]})), false, false),
            (of(json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]})), true, true),
        ];
        for (selector, picks, explicitly) in table {
            assert_eq!(
                (selector.matches(&some), selector.matches_explicitly(&some)),
                (picks, explicitly),
                "{selector:?}"
            );
        }
    }
}

//! Node selector and required node affinity.

use crate::view::{NodeTerm, NodeView, Operator, PodView, Requirement};

/// The one field that a term may name.
const NAME_FIELD: &str = "metadata.name";

/// Whether the node has every label of the pod's selector and matches one of its affinity's terms.
pub(super) fn matches(pod: &PodView, node: &NodeView) -> bool {
    pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && pod.node_affinity.as_ref().is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
}

fn term_matches(term: &NodeTerm, node: &NodeView) -> bool {
    if term.labels.is_empty() && term.fields.is_empty() {
        return false;
    }
    let label = |requirement: &Requirement| holds(requirement, node.labels.get(&requirement.key).map(String::as_str));
    let field = |requirement: &Requirement| {
        requirement.key == NAME_FIELD
            && matches!(requirement.operator, Operator::In(_) | Operator::NotIn(_))
            && holds(requirement, Some(node.name.as_str()))
    };
    term.labels.iter().all(label) && term.fields.iter().all(field)
}

fn holds(requirement: &Requirement, value: Option<&str>) -> bool {
    let one_of = |values: &[String]| value.is_some_and(|value| values.iter().any(|item| item == value));
    let number = || value.and_then(|value| value.parse::<i64>().ok());
    match &requirement.operator {
        Operator::In(values) => one_of(values),
        Operator::NotIn(values) => !one_of(values),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Gt(bound) => number().is_some_and(|number| number > *bound),
        Operator::Lt(bound) => number().is_some_and(|number| number < *bound),
        Operator::Malformed => false,
    }
}

//! The next step for a terminating namespace, and what is said about it. Pure.

use super::content::{Content, Kind};
use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time};
use std::collections::BTreeMap;

/// What a pass found.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Groups whose resources could not be found out, and why.
    pub(super) undiscovered: Vec<String>,
    /// Kinds that could not be read or deleted, and why.
    pub(super) failures: Vec<String>,
    /// Kinds with objects left.
    pub(super) content: BTreeMap<Kind, Content>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask that these be deleted.
    Delete(Vec<Kind>),
    /// Everything is being deleted, or cannot be seen: look again later.
    Wait,
    /// Nothing is left.
    Finalize,
}

/// Pods go first, because what they use must not vanish under them; then everything else.
pub(super) fn plan(observed: &Observed) -> Step {
    let pods: Vec<_> = observed.content.iter().filter(|(kind, _)| kind.is_pod()).collect();
    let next = if pods.is_empty() { observed.content.iter().collect() } else { pods };
    let untouched: Vec<Kind> =
        next.iter().filter(|(_, content)| content.untouched > 0).map(|(kind, _)| (*kind).clone()).collect();
    if !untouched.is_empty() {
        return Step::Delete(untouched);
    }
    if observed.content.is_empty() && observed.undiscovered.is_empty() && observed.failures.is_empty() {
        Step::Finalize
    } else {
        Step::Wait
    }
}

/// Upstream's five conditions, in its words. A transition time moves only with its status.
pub(super) fn conditions(observed: &Observed, old: &[NamespaceCondition], now: &Time) -> Vec<NamespaceCondition> {
    let table = [
        (
            "NamespaceDeletionDiscoveryFailure",
            trouble(&observed.undiscovered, "Discovery failed for some groups: ", "DiscoveryFailed"),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            trouble(&observed.failures, "Failed to delete all resource types: ", "ContentDeletionFailed"),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        ("NamespaceContentRemaining", remaining(observed), ("ContentRemoved", "All content successfully removed")),
        (
            "NamespaceFinalizersRemaining",
            finalizers(observed),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    table.into_iter().map(|(type_, trouble, fine)| condition(type_, trouble, fine, old, now)).collect()
}

type Trouble = Option<(&'static str, String)>;

fn trouble(list: &[String], prefix: &str, reason: &'static str) -> Trouble {
    (!list.is_empty()).then(|| (reason, format!("{prefix}{}", list.join(", "))))
}

fn remaining(observed: &Observed) -> Trouble {
    let texts: Vec<String> = observed
        .content
        .iter()
        .map(|(kind, content)| {
            let group = if kind.group.is_empty() { "" } else { &kind.group };
            format!("{}.{group} has {} resource instances", kind.plural, content.count)
        })
        .collect();
    trouble(&texts, "Some resources are remaining: ", "SomeResourcesRemain")
}

fn finalizers(observed: &Observed) -> Trouble {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in observed.content.values().flat_map(|content| &content.finalizers) {
        *counts.entry(finalizer).or_default() += count;
    }
    let texts: Vec<String> =
        counts.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances")).collect();
    trouble(&texts, "Some content in the namespace has finalizers remaining: ", "SomeFinalizersRemain")
}

fn condition(
    type_: &str,
    trouble: Trouble,
    fine: (&str, &str),
    old: &[NamespaceCondition],
    now: &Time,
) -> NamespaceCondition {
    let status = if trouble.is_some() { "True" } else { "False" };
    let (reason, message) = trouble
        .map_or_else(|| (fine.0.to_owned(), fine.1.to_owned()), |(reason, message)| (reason.to_owned(), message));
    let before = old.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    NamespaceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason),
        message: Some(message),
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(now.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn kind(plural: &str, group: &str) -> Kind {
        Kind { group: group.into(), version: "v1".into(), kind: plural.into(), plural: plural.into(), at_once: true }
    }

    fn content(count: usize, untouched: usize) -> Content {
        Content { count, untouched, finalizers: BTreeMap::new() }
    }

    fn observed(content: &[(Kind, Content)]) -> Observed {
        Observed { content: content.iter().cloned().collect(), ..Observed::default() }
    }

    #[test]
    fn pods_go_first_then_the_rest_then_the_namespace() {
        let (pods, secrets) = (kind("pods", ""), kind("secrets", ""));
        let table = [
            (vec![(pods.clone(), content(2, 1)), (secrets.clone(), content(1, 1))], Step::Delete(vec![pods.clone()])),
            (vec![(pods, content(2, 0)), (secrets.clone(), content(1, 1))], Step::Wait),
            (vec![(secrets.clone(), content(1, 1))], Step::Delete(vec![secrets.clone()])),
            (vec![(secrets, content(1, 0))], Step::Wait),
            (vec![], Step::Finalize),
        ];
        for (left, expected) in table {
            assert_eq!(plan(&observed(&left)), expected, "{left:?}");
        }
    }

    #[test]
    fn a_namespace_is_not_finalized_while_something_cannot_be_seen() {
        let blind = Observed { undiscovered: vec!["apps/v1: away".into()], ..Observed::default() };
        assert_eq!(plan(&blind), Step::Wait);
        let failed = Observed { failures: vec!["secrets: away".into()], ..Observed::default() };
        assert_eq!(plan(&failed), Step::Wait);
    }

    #[test]
    fn conditions_use_upstreams_words_and_move_their_time_with_their_status() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let mut left = content(1, 0);
        left.finalizers.insert("example.com/keep".into(), 1);
        let first = conditions(&observed(&[(kind("pods", ""), left)]), &[], &at(1));
        let find = |list: &[NamespaceCondition], type_: &str| list.iter().find(|c| c.type_ == type_).cloned().unwrap();
        let remaining = find(&first, "NamespaceContentRemaining");
        assert_eq!(remaining.message.as_deref(), Some("Some resources are remaining: pods. has 1 resource instances"));
        let finalizers = find(&first, "NamespaceFinalizersRemaining");
        assert_eq!(
            finalizers.message.as_deref(),
            Some("Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances")
        );
        let second = conditions(&Observed::default(), &first, &at(2));
        assert_eq!(find(&second, "NamespaceContentRemaining").last_transition_time, Some(at(2)));
        assert_eq!(find(&second, "NamespaceDeletionContentFailure").last_transition_time, Some(at(1)));
    }
}

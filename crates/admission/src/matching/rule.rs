//! One rule: which operations on which resources.

use super::{Form, Subject, text};
use serde_json::Value;

/// Whether the rule is about the request, when its resource is seen as `form`.
pub(super) fn fits(rule: &Value, subject: &Subject<'_>, form: Form<'_>) -> bool {
    scope_fits(text(rule, "scope"), subject)
        && lists(rule, "operations", subject.operation.as_str())
        && lists(rule, "apiGroups", form.group)
        && lists(rule, "apiVersions", form.version)
        && texts(rule, "resources").any(|resource| resource_fits(resource, form.plural, subject.subresource))
        && name_fits(rule, subject.name)
}

fn texts<'r>(rule: &'r Value, list: &str) -> impl Iterator<Item = &'r str> {
    rule[list].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn lists(rule: &Value, list: &str, wanted: &str) -> bool {
    texts(rule, list).any(|listed| listed == "*" || listed == wanted)
}

/// `pods` is the resource itself, `pods/status` a part of it, `*` stands for any of either.
fn resource_fits(listed: &str, plural: &str, subresource: &str) -> bool {
    let (resource, part) = listed.split_once('/').unwrap_or((listed, ""));
    (resource == "*" || resource == plural) && (part == "*" || part == subresource)
}

/// Namespaces have no namespace, whatever a request for one says.
fn scope_fits(scope: &str, subject: &Subject<'_>) -> bool {
    match scope {
        "Namespaced" => subject.is_namespaced,
        "Cluster" => !subject.is_namespaced,
        _ => true,
    }
}

/// Only rules of policies name objects.
fn name_fits(rule: &Value, name: &str) -> bool {
    let mut names = texts(rule, "resourceNames").peekable();
    names.peek().is_none() || names.any(|listed| listed == name)
}

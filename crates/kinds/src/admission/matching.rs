//! What requests a webhook or policy is about.

use crate::{
    fields::{elements, is_set, maps_in, one_of, report, set_default, size, text},
    rules,
};
use orrery_machinery::{meta, status::FieldError};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const MOST_CONDITIONS: usize = 64;

/// Fills in what both kinds leave out: how rules match, and selectors that pick everything. `list` holds the rules.
pub(super) fn fill_in(matching: &mut Map<String, Value>, lists: &[&str]) {
    set_default(matching, "matchPolicy", "Equivalent");
    set_default(matching, "namespaceSelector", json!({}));
    set_default(matching, "objectSelector", json!({}));
    for list in lists {
        maps_in(matching, list).for_each(|rule| set_default(rule, "scope", "*"));
    }
}

/// Checks the selectors and the policy of matching, below `at`.
pub(super) fn check(matching: &Value, at: &str, errors: &mut Vec<FieldError>) {
    one_of(errors, &format!("{at}.matchPolicy"), &matching["matchPolicy"], &["Equivalent", "Exact"]);
    for name in ["namespaceSelector", "objectSelector"] {
        rules::selector(errors, &format!("{at}.{name}"), &matching[name]);
    }
}

/// Checks `matchConditions`. Whether their expressions are sound is checked where they are compiled.
pub(super) fn conditions(conditions: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if size(conditions) > MOST_CONDITIONS {
        errors.push(FieldError::too_many(at, size(conditions), MOST_CONDITIONS));
    }
    let mut names = BTreeSet::new();
    for (index, condition) in elements(conditions).enumerate() {
        let field = format!("{at}[{index}]");
        let (name, expression) = (&condition["name"], &condition["expression"]);
        if text(expression).trim().is_empty() {
            errors.push(FieldError::required(format!("{field}.expression"), ""));
        }
        if rules::required(errors, &format!("{field}.name"), name) {
            report(errors, &format!("{field}.name"), name, &meta::qualified_name_problems(text(name)));
            if !names.insert(text(name)) {
                errors.push(FieldError::duplicate(format!("{field}.name"), name));
            }
        }
    }
}

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

/// Checks one rule: which operations on which resources. `star_slash` says whether `*/*` stands for all of them.
pub(super) fn rule(rule: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let operations = &rule["operations"];
    alone(operations, &format!("{at}.operations"), "operations", errors);
    for (index, operation) in elements(operations).enumerate() {
        one_of(errors, &format!("{at}.operations[{index}]"), operation, &OPERATIONS);
    }
    for (field, words) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        alone(&rule[field], &format!("{at}.{field}"), words, errors);
    }
    let versions = elements(&rule["apiVersions"]).enumerate().filter(|(_, version)| text(version).is_empty());
    for (index, _) in versions {
        errors.push(FieldError::required(format!("{at}.apiVersions[{index}]"), ""));
    }
    one_of(errors, &format!("{at}.scope"), &rule["scope"], &["*", "Cluster", "Namespaced"]);
    resources(&rule["resources"], &format!("{at}.resources"), errors);
    let names = &rule["resourceNames"];
    for (index, name) in elements(names).enumerate().filter(|_| is_set(names)) {
        report(errors, &format!("{at}.resourceNames[{index}]"), name, &meta::path_segment_problems(text(name)));
    }
}

fn alone(list: &Value, field: &str, words: &str, errors: &mut Vec<FieldError>) {
    if size(list) == 0 {
        errors.push(FieldError::required(field, ""));
    } else if size(list) > 1 && elements(list).any(|value| value == "*") {
        let why = format!("if '*' is present, must not specify other {words}");
        errors.push(FieldError::invalid(field, list, &why));
    }
}

fn resources(resources: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if size(resources) == 0 {
        errors.push(FieldError::required(field, ""));
    }
    let all: Vec<&str> = elements(resources).map(text).collect();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, resource) in all.iter().enumerate() {
        let at = format!("{field}[{index}]");
        if resource.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let (name, part) = resource.split_once('/').unwrap_or((resource, ""));
        let whole = !resource.contains('/');
        let mut refuse = |why: String| errors.push(FieldError::invalid(at.as_str(), &json!(resource), &why));
        for (other, other_part) in &seen {
            if *other == "*" && !whole && *other_part == part {
                refuse(format!("if '*/{part}' is present, must not specify {resource}"));
            }
            if *other == name && *other_part == "*" {
                refuse(format!("if '{name}/*' is present, must not specify {resource}"));
            }
        }
        seen.push((name, part));
    }
    if all.len() > 1 && all.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(field, resources, why));
    }
    let others = all.iter().filter(|resource| !resource.contains('/') && **resource != "*").count();
    if others > 0 && all.contains(&"*") {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(field, resources, why));
    }
}

//! The rules of a pod (`k8s.io/kubernetes/pkg/apis/core/validation`), with upstream's field paths and words.
//!
//! * `container`: containers of all sorts; `environment`, `probe`, `resources`: parts of them.
//! * `volume`, `projection`: volumes, and what is made into files.
//! * `security`: security contexts; `scheduling`: where a pod may go.
//! * `boundary`: what a pod that is a virtual machine cannot have.
//! * `update`: what may change.

mod boundary;
mod container;
mod environment;
mod probe;
mod projection;
mod resources;
mod scheduling;
mod security;
mod update;
mod volume;

pub(crate) use container::port_name_problems;

use crate::{
    fields::{elements, is_set, one_of, report, size, text},
    rules,
};
use orrery_machinery::{
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Checks a new pod, or a change when the old one is given.
pub(crate) fn pod(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    match old {
        None => {
            self::spec(spec, "spec", &BTreeSet::new(), &mut errors);
            boundary::check(spec, &mut errors);
        }
        Some(old) => {
            // What was accepted once is not refused later by rules that came since: only what changes is looked at.
            if *spec != old["spec"] {
                self::spec(spec, "spec", &BTreeSet::new(), &mut errors);
                update::check(spec, &old["spec"], &mut errors);
            }
        }
    }
    errors
}

/// Checks a change that was made through a sub-resource.
pub(super) fn part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    match part {
        "ephemeralcontainers" => {
            spec(&object["spec"], "spec", &BTreeSet::new(), &mut errors);
            boundary::check(&object["spec"], &mut errors);
            super::parts::check_ephemeral_containers(object, old, &mut errors);
        }
        "resize" => {
            spec(&object["spec"], "spec", &BTreeSet::new(), &mut errors);
            super::parts::check_resize(object, old, &mut errors);
        }
        "status" => {}
        _ => return pod(object, Some(old)),
    }
    errors
}

/// Checks a template of pods that stands at `at`: its labels, annotations and spec.
pub(crate) fn template(template: &Value, at: &str, errors: &mut Vec<FieldError>) {
    template_with_claims(template, at, &BTreeSet::new(), errors);
}

/// Checks a template of pods that get volumes called `claims` besides those that it lists.
pub(crate) fn template_with_claims(template: &Value, at: &str, claims: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    errors.extend(meta::validate_labels(&template["metadata"]["labels"], &format!("{at}.labels")));
    errors.extend(meta::validate_annotations(&template["metadata"]["annotations"], &format!("{at}.annotations")));
    spec(&template["spec"], &format!("{at}.spec"), claims, errors);
    if size(&template["spec"]["ephemeralContainers"]) > 0 {
        let why = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(format!("{at}.spec.ephemeralContainers"), why));
    }
}

/// Checks a pod's spec that stands at `at`.
fn spec(spec: &Value, at: &str, claims: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let mut volumes = volume::check(&spec["volumes"], &format!("{at}.volumes"), errors);
    volumes.extend(claims);
    container::check_all(spec, at, &volumes, errors);
    one_of(errors, &format!("{at}.restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"]);
    dns(spec, at, errors);
    durations(spec, at, errors);
    names(spec, at, errors);
    errors.extend(meta::validate_labels(&spec["nodeSelector"], &format!("{at}.nodeSelector")));
    tolerations(&spec["tolerations"], &format!("{at}.tolerations"), errors);
    security::pod(spec, at, errors);
    scheduling::check(spec, at, errors);
    for (index, secret) in elements(&spec["imagePullSecrets"]).enumerate() {
        if text(&secret["name"]).is_empty() {
            errors.push(FieldError::required(format!("{at}.imagePullSecrets[{index}].name"), ""));
        }
    }
    for (index, alias) in elements(&spec["hostAliases"]).enumerate() {
        let ip = &alias["ip"];
        report(errors, &format!("{at}.hostAliases[{index}].ip"), ip, &rules::ip_problems(text(ip)));
        for (number, host) in elements(&alias["hostnames"]).enumerate() {
            let field = format!("{at}.hostAliases[{index}].hostnames[{number}]");
            report(errors, &field, host, &meta::dns_subdomain_problems(text(host)));
        }
    }
}

const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
const SEARCHES_LIMIT: usize = 2048;

fn dns(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(errors, &format!("{at}.dnsPolicy"), &spec["dnsPolicy"], &policies);
    let (config, field) = (&spec["dnsConfig"], format!("{at}.dnsConfig"));
    let servers = &config["nameservers"];
    if spec["dnsPolicy"] == "None" {
        if !is_set(config) {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(field.as_str(), why));
        } else if size(servers) == 0 {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(format!("{field}.nameservers"), why));
        }
    }
    if size(servers) > MOST_SERVERS {
        let why = format!("must not have more than {MOST_SERVERS} nameservers");
        errors.push(FieldError::invalid(format!("{field}.nameservers"), servers, &why));
    }
    for (index, server) in elements(servers).enumerate() {
        report(errors, &format!("{field}.nameservers[{index}]"), server, &rules::ip_problems(text(server)));
    }
    let searches = &config["searches"];
    if size(searches) > MOST_SEARCHES {
        let why = format!("must not have more than {MOST_SEARCHES} search paths");
        errors.push(FieldError::invalid(format!("{field}.searches"), searches, &why));
    }
    if elements(searches).map(|search| text(search).len() + 1).sum::<usize>() > SEARCHES_LIMIT + 1 {
        let why = format!("must not have more than {SEARCHES_LIMIT} characters (including spaces) in the search list");
        errors.push(FieldError::invalid(format!("{field}.searches"), searches, &why));
    }
    for (index, search) in elements(searches).enumerate().filter(|(_, search)| *search != ".") {
        // Names of hosts may begin with an underscore here, and end with a dot.
        let plain = text(search).strip_suffix('.').unwrap_or(text(search)).replace('_', "-");
        let problems = meta::dns_subdomain_problems(plain.trim_start_matches('-'));
        report(errors, &format!("{field}.searches[{index}]"), search, &problems);
    }
    for (index, _) in elements(&config["options"]).enumerate().filter(|(_, o)| text(&o["name"]).is_empty()) {
        errors.push(FieldError::required(format!("{field}.options[{index}]"), "must not be empty"));
    }
}

fn durations(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let grace = &spec["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        errors.push(FieldError::invalid(
            format!("{at}.terminationGracePeriodSeconds"),
            grace,
            "must be a non-negative integer",
        ));
    }
    let deadline = &spec["activeDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(format!("{at}.activeDeadlineSeconds"), deadline, why));
    }
}

fn names(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, Rule); 7] = [
        ("serviceAccountName", meta::dns_subdomain_problems),
        ("nodeName", meta::dns_subdomain_problems),
        ("schedulerName", meta::qualified_name_problems),
        ("priorityClassName", meta::dns_subdomain_problems),
        ("runtimeClassName", meta::dns_subdomain_problems),
        ("hostname", meta::dns_label_problems),
        ("subdomain", meta::dns_label_problems),
    ];
    for (field, rule) in rules {
        let name = text(&spec[field]);
        if !name.is_empty() {
            report(errors, &format!("{at}.{field}"), &spec[field], &rule(name));
        }
    }
}

/// Checks a list of tolerations that stands at `field`.
pub(crate) fn tolerations(tolerations: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, toleration) in elements(tolerations).enumerate() {
        self::toleration(toleration, &format!("{field}[{index}]"), errors);
    }
}

fn toleration(toleration: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
    if !key.is_empty() {
        report(errors, &format!("{field}.key"), &toleration["key"], &meta::qualified_name_problems(key));
    } else if operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(format!("{field}.operator"), &toleration["operator"], why));
    }
    match operator {
        "" | "Equal" => {
            let problems = meta::label_value_problems(text(&toleration["value"]));
            report(errors, &format!("{field}.operator"), &toleration["value"], &problems);
        }
        "Exists" if !text(&toleration["value"]).is_empty() => {
            let why = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(format!("{field}.operator"), toleration, why));
        }
        "Exists" => {}
        _ => {
            let supported = ["Equal", "Exists"];
            errors.push(FieldError::not_supported(format!("{field}.operator"), &toleration["operator"], &supported));
        }
    }
    let effect = &toleration["effect"];
    if !text(effect).is_empty() {
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        one_of(errors, &format!("{field}.effect"), effect, &effects);
    }
    if is_set(&toleration["tolerationSeconds"]) && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(format!("{field}.effect"), effect, why));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

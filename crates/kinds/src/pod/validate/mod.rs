//! The rules of a pod (`k8s.io/kubernetes/pkg/apis/core/validation`), with upstream's field paths and words.
//!
//! * `container`: containers of all sorts; `environment`, `probe`, `resources`: parts of them.
//! * `volume`: volumes.
//! * `boundary`: what a pod that is a virtual machine cannot have.
//! * `update`: what may change.

mod boundary;
mod container;
mod environment;
mod probe;
mod resources;
mod update;
mod volume;

use crate::fields::{elements, is_set, one_of, report, size, text};
use orrery_machinery::{
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

/// Checks a new pod, or a change when the old one is given.
pub(super) fn pod(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    match old {
        None => {
            new_spec(spec, &mut errors);
            boundary::check(spec, &mut errors);
        }
        Some(old) => {
            // What was accepted once is not refused later by rules that came since: only what changes is looked at.
            if *spec != old["spec"] {
                new_spec(spec, &mut errors);
                update::check(spec, &old["spec"], &mut errors);
            }
        }
    }
    errors
}

fn new_spec(spec: &Value, errors: &mut Vec<FieldError>) {
    let volumes = volume::check(&spec["volumes"], errors);
    container::check_all(spec, &volumes, errors);
    one_of(errors, "spec.restartPolicy", &spec["restartPolicy"], &["Always", "OnFailure", "Never"]);
    dns(spec, errors);
    durations(spec, errors);
    names(spec, errors);
    errors.extend(meta::validate_labels(&spec["nodeSelector"], "spec.nodeSelector"));
    for (index, toleration) in elements(&spec["tolerations"]).enumerate() {
        self::toleration(toleration, &format!("spec.tolerations[{index}]"), errors);
    }
    for (index, secret) in elements(&spec["imagePullSecrets"]).enumerate() {
        if text(&secret["name"]).is_empty() {
            errors.push(FieldError::required(format!("spec.imagePullSecrets[{index}].name"), ""));
        }
    }
    for (index, alias) in elements(&spec["hostAliases"]).enumerate() {
        let ip = &alias["ip"];
        if text(ip).parse::<std::net::IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(format!("spec.hostAliases[{index}].ip"), ip, why));
        }
    }
}

fn dns(spec: &Value, errors: &mut Vec<FieldError>) {
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(errors, "spec.dnsPolicy", &spec["dnsPolicy"], &policies);
    let config = &spec["dnsConfig"];
    if spec["dnsPolicy"] == "None" {
        if !is_set(config) {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required("spec.dnsConfig", why));
        } else if size(&config["nameservers"]) == 0 {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required("spec.dnsConfig.nameservers", why));
        }
    }
    for (index, server) in elements(&config["nameservers"]).enumerate() {
        if text(server).parse::<std::net::IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(format!("spec.dnsConfig.nameservers[{index}]"), server, why));
        }
    }
}

fn durations(spec: &Value, errors: &mut Vec<FieldError>) {
    let grace = &spec["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        errors.push(FieldError::invalid("spec.terminationGracePeriodSeconds", grace, "must be a non-negative integer"));
    }
    let deadline = &spec["activeDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid("spec.activeDeadlineSeconds", deadline, why));
    }
}

fn names(spec: &Value, errors: &mut Vec<FieldError>) {
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
            report(errors, &format!("spec.{field}"), &spec[field], &rule(name));
        }
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

//! The rules of where a pod may go: affinities, spreading and gates.

use crate::{
    fields::{elements, is_set, one_of, report, size, text},
    rules,
};
use orrery_machinery::{meta, status::FieldError};
use serde_json::Value;
use std::collections::BTreeSet;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks a spec that stands at `at`.
pub(super) fn check(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let affinity = &spec["affinity"];
    node_affinity(&affinity["nodeAffinity"], &format!("{at}.affinity.nodeAffinity"), errors);
    for kind in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(&affinity[kind], &format!("{at}.affinity.{kind}"), errors);
    }
    spreading(&spec["topologySpreadConstraints"], &format!("{at}.topologySpreadConstraints"), errors);
    for (index, gate) in elements(&spec["readinessGates"]).enumerate() {
        let field = format!("{at}.readinessGates[{index}].conditionType");
        let kind = &gate["conditionType"];
        report(errors, &field, kind, &meta::qualified_name_problems(text(kind)));
    }
    let mut names = BTreeSet::new();
    for (index, gate) in elements(&spec["schedulingGates"]).enumerate() {
        let field = format!("{at}.schedulingGates[{index}]");
        let name = &gate["name"];
        report(errors, &format!("{field}.name"), name, &meta::qualified_name_problems(text(name)));
        if !names.insert(text(name)) {
            errors.push(FieldError::duplicate(field, name));
        }
    }
}

fn node_affinity(affinity: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let required = &affinity[REQUIRED];
    if is_set(required) {
        node_selector(required, &format!("{field}.{REQUIRED}"), errors);
    }
    for (index, term) in elements(&affinity[PREFERRED]).enumerate() {
        let field = format!("{field}.{PREFERRED}[{index}]");
        weight(term, &field, errors);
        node_term(&term["preference"], &format!("{field}.preference"), errors);
    }
}

fn weight(term: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let weight = &term["weight"];
    if !(1..=100).contains(&weight.as_i64().unwrap_or_default()) {
        errors.push(FieldError::invalid(format!("{field}.weight"), weight, "must be in the range 1-100"));
    }
}

/// Checks a `NodeSelector` that stands at `field`.
pub(crate) fn node_selector(selector: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let terms = &selector["nodeSelectorTerms"];
    if size(terms) == 0 {
        let why = "must have at least one node selector term";
        errors.push(FieldError::required(format!("{field}.nodeSelectorTerms"), why));
    }
    for (index, term) in elements(terms).enumerate() {
        node_term(term, &format!("{field}.nodeSelectorTerms[{index}]"), errors);
    }
}

fn node_term(term: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, requirement) in elements(&term["matchExpressions"]).enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        operator(requirement, &field, errors);
        let key = &requirement["key"];
        report(errors, &format!("{field}.key"), key, &meta::qualified_name_problems(text(key)));
    }
    for (index, requirement) in elements(&term["matchFields"]).enumerate() {
        let field = format!("{field}.matchFields[{index}]");
        match text(&requirement["operator"]) {
            "In" | "NotIn" if size(&requirement["values"]) == 1 => {}
            "In" | "NotIn" => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(FieldError::required(format!("{field}.values"), why));
            }
            _ => {
                let why = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{field}.operator"), &requirement["operator"], why));
            }
        }
        if requirement["key"] != "metadata.name" {
            let why = "not a valid field selector key";
            errors.push(FieldError::invalid(format!("{field}.key"), &requirement["key"], why));
        }
    }
}

fn operator(requirement: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let values = size(&requirement["values"]);
    let (at, why) = match text(&requirement["operator"]) {
        "In" | "NotIn" if values == 0 => ("values", "must be specified when `operator` is 'In' or 'NotIn'"),
        "Exists" | "DoesNotExist" if values > 0 => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(format!("{field}.values"), why));
            return;
        }
        "Gt" | "Lt" if values != 1 => ("values", "must be specified single value when `operator` is 'Lt' or 'Gt'"),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => return,
        _ => {
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(format!("{field}.operator"), &requirement["operator"], why));
            return;
        }
    };
    errors.push(FieldError::required(format!("{field}.{at}"), why));
}

fn pod_affinity(affinity: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, term) in elements(&affinity[REQUIRED]).enumerate() {
        pod_term(term, &format!("{field}.{REQUIRED}[{index}]"), errors);
    }
    for (index, term) in elements(&affinity[PREFERRED]).enumerate() {
        let field = format!("{field}.{PREFERRED}[{index}]");
        weight(term, &field, errors);
        pod_term(&term["podAffinityTerm"], &format!("{field}.podAffinityTerm"), errors);
    }
}

fn pod_term(term: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["labelSelector", "namespaceSelector"] {
        rules::selector(errors, &format!("{field}.{name}"), &term[name]);
    }
    for namespace in elements(&term["namespaces"]) {
        // Upstream names no index here.
        report(errors, &format!("{field}.namespace"), namespace, &meta::dns_label_problems(text(namespace)));
    }
    let key = &term["topologyKey"];
    if text(key).is_empty() {
        errors.push(FieldError::required(format!("{field}.topologyKey"), "can not be empty"));
    } else {
        report(errors, &format!("{field}.topologyKey"), key, &meta::qualified_name_problems(text(key)));
    }
}

fn spreading(constraints: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, constraint) in elements(constraints).enumerate() {
        let field = format!("{field}[{index}]");
        let (skew, key, otherwise) =
            (&constraint["maxSkew"], &constraint["topologyKey"], &constraint["whenUnsatisfiable"]);
        if skew.as_i64().unwrap_or_default() <= 0 {
            errors.push(FieldError::invalid(format!("{field}.maxSkew"), skew, "must be greater than zero"));
        }
        if text(key).is_empty() {
            errors.push(FieldError::required(format!("{field}.topologyKey"), "can not be empty"));
        } else {
            report(errors, &format!("{field}.topologyKey"), key, &meta::qualified_name_problems(text(key)));
        }
        let policies = ["DoNotSchedule", "ScheduleAnyway"];
        one_of(errors, &format!("{field}.whenUnsatisfiable"), otherwise, &policies);
        if !seen.insert((text(key), text(otherwise))) {
            let pair = format!("{{{}, {}}}", text(key), text(otherwise));
            errors.push(FieldError::duplicate(format!("{field}.{{topologyKey, whenUnsatisfiable}}"), &pair.into()));
        }
        let domains = &constraint["minDomains"];
        if domains.as_i64().is_some_and(|domains| domains <= 0) {
            errors.push(FieldError::invalid(format!("{field}.minDomains"), domains, "must be greater than zero"));
        }
        if is_set(domains) && otherwise != "DoNotSchedule" {
            let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", text(otherwise));
            errors.push(FieldError::invalid(format!("{field}.minDomains"), domains, &why));
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(errors, &format!("{field}.{name}"), &constraint[name], &["Honor", "Ignore"]);
        }
        rules::selector(errors, &format!("{field}.labelSelector"), &constraint["labelSelector"]);
    }
}

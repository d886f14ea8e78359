//! `networking.k8s.io/v1 Ingress`.

use crate::{
    columns::{column, load_balancer_text},
    core::load_balancer_status,
    fields::{elements, is_set, port_number, report, size, text, text_or},
    pod::port_name_problems,
    rules,
};
use orrery_api::k8s::api::networking::v1::Ingress;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["ing"],
        has_status: true,
        counts_generation: true,
        validate,
        validate_part: Some(validate_part),
        columns: COLUMNS,
        ..crate::namespaced::<Ingress>("ingress")
    }
}

const COLUMNS: &[Column] = &[
    column("Class", 0, "What serves the ingress.", |object, _| {
        let annotated = meta::annotation(object, CLASS_ANNOTATION).filter(|class| !class.is_empty());
        match (&object["spec"]["ingressClassName"], annotated) {
            (Value::Null, Some(class)) => class.into(),
            (class, _) => text_or(class, "<none>"),
        }
    }),
    column("Hosts", 0, "The hosts that requests are for.", |object, _| hosts(object).into()),
    column("Address", 0, "Where requests go to.", |object, _| load_balancer_text(&object["status"]).into()),
    column("Ports", 0, "The ports that are open.", |object, _| {
        if size(&object["spec"]["tls"]) > 0 { "80, 443".into() } else { "80".into() }
    }),
];

fn hosts(ingress: &Value) -> String {
    let rules = &ingress["spec"]["rules"];
    let all: Vec<&str> = elements(rules).map(|rule| text(&rule["host"])).filter(|host| !host.is_empty()).collect();
    match all.len() {
        0 => "*".to_owned(),
        count if count > 3 => format!("{} + {} more...", all[..3].join(","), size(rules) - 3),
        _ => all.join(","),
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    let annotated = meta::annotation(object, CLASS_ANNOTATION);
    if let (None, Some(class), true) = (old, annotated, is_set(&spec["ingressClassName"])) {
        let why = "can not be set when the class field is also set";
        errors.push(FieldError::invalid(format!("annotations.{CLASS_ANNOTATION}"), &class.into(), why));
    }
    if size(&spec["rules"]) == 0 && !is_set(&spec["defaultBackend"]) {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", &spec["rules"], why));
    }
    if is_set(&spec["defaultBackend"]) {
        backend(&spec["defaultBackend"], "spec.defaultBackend", &mut errors);
    }
    for (index, rule) in elements(&spec["rules"]).enumerate() {
        let field = format!("spec.rules[{index}]");
        if !text(&rule["host"]).is_empty() {
            report(&mut errors, &format!("{field}.host"), &rule["host"], &host_problems(text(&rule["host"])));
        }
        if is_set(&rule["http"]) {
            paths(&rule["http"]["paths"], &format!("{field}.http.paths"), &mut errors);
        }
    }
    for (index, tls) in elements(&spec["tls"]).enumerate() {
        let field = format!("spec.tls[{index}]");
        for (number, host) in elements(&tls["hosts"]).enumerate() {
            report(&mut errors, &format!("{field}.hosts[{number}]"), host, &host_problems(text(host)));
        }
        let (field, secret) = (format!("{field}.secretName"), &tls["secretName"]);
        rules::optional_name(&mut errors, &field, secret, meta::dns_subdomain_problems);
    }
    let class = &spec["ingressClassName"];
    if is_set(class) {
        report(&mut errors, "spec.ingressClassName", class, &meta::dns_subdomain_problems(text(class)));
    }
    errors
}

fn host_problems(host: &str) -> Vec<String> {
    if rules::ip_problems(host).is_empty() {
        return vec!["must be a DNS name, not an IP address".to_owned()];
    }
    if !host.contains('*') {
        return meta::dns_subdomain_problems(host);
    }
    let fine = host.strip_prefix("*.").is_some_and(|rest| meta::dns_subdomain_problems(rest).is_empty());
    let why = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist \
               of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. \
               '*.example.com', regex used for validation is \
               '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    if fine { Vec::new() } else { vec![why.to_owned()] }
}

fn paths(paths: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if size(paths) == 0 {
        errors.push(FieldError::required(field, ""));
    }
    for (index, path) in elements(paths).enumerate() {
        let field = format!("{field}[{index}]");
        let (kind, given) = (&path["pathType"], text(&path["path"]));
        let mut refuse = |why: &str| errors.push(FieldError::invalid(format!("{field}.path"), &path["path"], why));
        match text(kind) {
            "Exact" | "Prefix" => {
                if !given.starts_with('/') {
                    refuse("must be an absolute path");
                }
                if !given.is_empty() {
                    let within = ["//", "/./", "/../", "%2f", "%2F"];
                    within.into_iter().filter(|part| given.contains(part)).for_each(|part| {
                        refuse(&format!("must not contain '{part}'"));
                    });
                    let last = ["/..", "/."];
                    last.into_iter().filter(|end| given.ends_with(end)).for_each(|end| {
                        refuse(&format!("cannot end with '{end}'"));
                    });
                }
            }
            "ImplementationSpecific" => {
                if !given.is_empty() && !given.starts_with('/') {
                    refuse("must be an absolute path");
                }
            }
            "" => errors.push(FieldError::required(format!("{field}.pathType"), "pathType must be specified")),
            _ => {
                let supported = ["Exact", "ImplementationSpecific", "Prefix"];
                errors.push(FieldError::not_supported(format!("{field}.pathType"), kind, &supported));
            }
        }
        backend(&path["backend"], &format!("{field}.backend"), errors);
    }
}

fn backend(backend: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (is_set(service), is_set(resource)) {
        (true, true) => {
            let why = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(field, &json!(""), why));
        }
        (false, true) => {
            for name in ["kind", "name"] {
                rules::required(errors, &format!("{field}.resource.{name}"), &resource[name]);
            }
        }
        (true, false) => {
            let name = &service["name"];
            rules::required_name(errors, &format!("{field}.service.name"), name, meta::dns_1035_label_problems);
            let port = &service["port"];
            match (text(&port["name"]), port["number"].as_i64().unwrap_or_default()) {
                ("", 0) => errors.push(FieldError::required(field, "port name or number is required")),
                ("", _) => port_number(errors, &format!("{field}.service.port.number"), &port["number"]),
                (name, 0) => {
                    let problems = port_name_problems(name);
                    report(errors, &format!("{field}.service.port.name"), &port["name"], &problems);
                }
                (_, _) => {
                    let why = "cannot set both port name & port number";
                    errors.push(FieldError::invalid(field, &json!(""), why));
                }
            }
        }
        (false, false) => {
            errors.push(FieldError::invalid(field, &json!(""), "resource or service backend is required"));
        }
    }
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    load_balancer_status(&object["status"], &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn rules() -> Rules {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
        Rules::new(
            descriptor(),
            json!({
                "metadata": {"name": "web", "namespace": "n"},
                "spec": {"ingressClassName": "c", "rules": [{"host": "a.example.com", "http": {"paths": [path]}}]},
            }),
        )
    }

    #[test]
    fn an_ingress_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[("/spec/rules/0/host", json!("*.example.com"))]);
        let path = "/spec/rules/0/http/paths/0";
        for (at, value, field, text) in [
            ("/spec/rules".to_owned(), json!([]), "spec", "either `defaultBackend` or `rules` must be specified"),
            ("/spec/rules/0/host".to_owned(), json!("1.2.3.4"), "spec.rules[0].host", "must be a DNS name"),
            ("/spec/rules/0/host".to_owned(), json!("a.*.b"), "spec.rules[0].host", "a wildcard DNS-1123 subdomain"),
            (format!("{path}/path"), json!("x"), "spec.rules[0].http.paths[0].path", "must be an absolute path"),
            (format!("{path}/path"), json!("/a//b"), "spec.rules[0].http.paths[0].path", "must not contain '//'"),
            (
                format!("{path}/pathType"),
                json!("Any"),
                "spec.rules[0].http.paths[0].pathType",
                "\"Exact\", \"ImplementationSpecific\", \"Prefix\"",
            ),
            (
                format!("{path}/backend/service/port"),
                json!({}),
                "spec.rules[0].http.paths[0].backend",
                "port name or number is required",
            ),
            (
                format!("{path}/backend"),
                json!({}),
                "spec.rules[0].http.paths[0].backend",
                "resource or service backend is required",
            ),
        ] {
            rules.one_error(&at, &value, field, text);
        }
        let ingress = json!({"loadBalancer": {"ingress": [{"hostname": "1.2.3.4"}]}});
        rules.status(&ingress, Some(("status.loadBalancer.ingress[0].hostname", "must be a DNS name")));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        assert_eq!(headings(descriptor()), ["Name", "Class", "Hosts", "Address", "Ports", "Age"]);
        let expected = json!(["c", "a.example.com", "", "80"]);
        assert_eq!(json!(cells(descriptor(), &rules().filled())[1..5]), expected);
    }
}

//! The rules of probes and of what runs at a container's start and end.

use crate::fields::{at_least, is_set, port_number, report, text};
use orrery_machinery::status::FieldError;
use serde_json::Value;

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// Checks the probes of a container. Those of an init container are for sidecars only.
pub(super) fn check_container(container: &Value, field: &str, init: bool, errors: &mut Vec<FieldError>) {
    let once = init && container["restartPolicy"] != "Always";
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[name];
        if !is_set(probe) {
            continue;
        }
        let field = format!("{field}.{name}");
        if once {
            errors
                .push(FieldError::forbidden(field, "may not be set for init containers without restartPolicy=Always"));
            continue;
        }
        handler(probe, &field, errors);
        for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            at_least(errors, &format!("{field}.{number}"), &probe[number], 0);
        }
        let successes = &probe["successThreshold"];
        if name != "readinessProbe" && successes.as_i64().is_some_and(|count| count != 1) {
            errors.push(FieldError::invalid(format!("{field}.successThreshold"), successes, "must be 1"));
        }
    }
    for hook in ["postStart", "preStop"] {
        let found = &container["lifecycle"][hook];
        let field = format!("{field}.lifecycle");
        if is_set(found) && once {
            errors
                .push(FieldError::forbidden(field, "may not be set for init containers without restartPolicy=Always"));
        } else if is_set(found) {
            handler(found, &format!("{field}.{hook}"), errors);
        }
    }
}

/// Exactly one handler, and a well-formed one.
fn handler(parent: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let given: Vec<&str> = HANDLERS.into_iter().filter(|handler| is_set(&parent[handler])).collect();
    if given.is_empty() {
        errors.push(FieldError::required(field, "must specify a handler type"));
    }
    for extra in given.iter().skip(1) {
        errors.push(FieldError::forbidden(format!("{field}.{extra}"), "may not specify more than 1 handler type"));
    }
    let Some(kind) = given.first() else { return };
    let (handler, field) = (&parent[kind], format!("{field}.{kind}"));
    match *kind {
        "exec" if handler["command"].as_array().is_none_or(Vec::is_empty) => {
            errors.push(FieldError::required(format!("{field}.command"), ""));
        }
        "httpGet" => {
            if text(&handler["path"]).is_empty() {
                errors.push(FieldError::required(format!("{field}.path"), ""));
            }
            port(&handler["port"], &format!("{field}.port"), errors);
            let scheme = &handler["scheme"];
            crate::fields::one_of(errors, &format!("{field}.scheme"), scheme, &["HTTP", "HTTPS"]);
        }
        "tcpSocket" | "grpc" => port(&handler["port"], &format!("{field}.port"), errors),
        _ => {}
    }
}

/// A number, or the name of one of the container's ports.
fn port(port: &Value, field: &str, errors: &mut Vec<FieldError>) {
    match port {
        Value::String(name) => report(errors, field, port, &super::container::port_name_problems(name)),
        number => port_number(errors, field, number),
    }
}

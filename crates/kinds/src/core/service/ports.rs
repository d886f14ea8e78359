//! The rules of a service's ports.

use crate::{
    fields::{elements, is_set, port_number, report, size, text},
    pod::port_name_problems,
    rules,
};
use orrery_machinery::{meta, status::FieldError};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Checks `ports` of a service's spec.
pub(super) fn check(spec: &Value, errors: &mut Vec<FieldError>) {
    let ports = &spec["ports"];
    let mut names = BTreeSet::new();
    for (index, port) in elements(ports).enumerate() {
        one(port, size(ports) > 1, &mut names, &format!("spec.ports[{index}]"), errors);
    }
    let within = spec["type"] == "ClusterIP";
    let (mut numbers, mut node_numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in elements(ports).enumerate() {
        let protocol = text(&port["protocol"]);
        let node = port["nodePort"].as_i64().unwrap_or_default();
        let field = format!("spec.ports[{index}]");
        if node != 0 {
            if within {
                let why = "may not be used when `type` is 'ClusterIP'";
                errors.push(FieldError::forbidden(format!("{field}.nodePort"), why));
            }
            if !node_numbers.insert((protocol, node)) {
                errors.push(FieldError::duplicate(format!("{field}.nodePort"), &port["nodePort"]));
            }
        }
        if !numbers.insert((protocol, port["port"].as_i64().unwrap_or_default())) {
            errors.push(FieldError::duplicate(field, &json!({"protocol": protocol, "port": port["port"]})));
        }
    }
}

fn one<'a>(
    port: &'a Value,
    needs_name: bool,
    names: &mut BTreeSet<&'a str>,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    match text(&port["name"]) {
        "" if needs_name => errors.push(FieldError::required(format!("{field}.name"), "")),
        "" => {}
        name => {
            report(errors, &format!("{field}.name"), &port["name"], &meta::dns_label_problems(name));
            if !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{field}.name"), &port["name"]));
            }
        }
    }
    port_number(errors, &format!("{field}.port"), &port["port"]);
    let protocols = ["SCTP", "TCP", "UDP"];
    rules::required_one_of(errors, &format!("{field}.protocol"), &port["protocol"], &protocols);
    let target = &port["targetPort"];
    match target {
        Value::String(name) => report(errors, &format!("{field}.targetPort"), target, &port_name_problems(name)),
        number => port_number(errors, &format!("{field}.targetPort"), number),
    }
    let protocol = &port["appProtocol"];
    if is_set(protocol) {
        let problems = meta::qualified_name_problems(text(protocol));
        report(errors, &format!("{field}.appProtocol"), protocol, &problems);
    }
}

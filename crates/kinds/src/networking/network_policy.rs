//! `networking.k8s.io/v1 NetworkPolicy`.

use crate::{
    columns::{column, selector_text},
    fields::{elements, is_set, map_at, maps_in, one_of, port_number, report, set_default, size, text},
    pod::port_name_problems,
    rules,
};
use orrery_api::k8s::api::networking::v1::NetworkPolicy;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["netpol"],
        counts_generation: true,
        default,
        validate,
        columns: COLUMNS,
        ..crate::namespaced::<NetworkPolicy>("networkpolicy")
    }
}

const COLUMNS: &[Column] =
    &[column("Pod-Selector", 0, "What picks the pods.", |object, _| selector_text(&object["spec"]["podSelector"]))];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    set_default(spec, "podSelector", json!({}));
    for way in ["ingress", "egress"] {
        for rule in maps_in(spec, way) {
            maps_in(rule, "ports").for_each(|port| set_default(port, "protocol", "TCP"));
        }
    }
    if spec.get("policyTypes").is_none_or(|types| size(types) == 0) {
        let out = spec.get("egress").is_some_and(|rules| size(rules) > 0);
        spec.insert("policyTypes".into(), if out { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    rules::selector(&mut errors, "spec.podSelector", &spec["podSelector"]);
    for (way, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in elements(&spec[way]).enumerate() {
            let field = format!("spec.{way}[{index}]");
            for (number, port) in elements(&rule["ports"]).enumerate() {
                self::port(port, &format!("{field}.ports[{number}]"), &mut errors);
            }
            for (number, peer) in elements(&rule[peers]).enumerate() {
                self::peer(peer, &format!("{field}.{peers}[{number}]"), &mut errors);
            }
        }
    }
    let types = &spec["policyTypes"];
    if size(types) > 2 {
        errors.push(FieldError::invalid("spec.policyTypes", types, "may not specify more than two policyTypes"));
        return errors;
    }
    for (index, kind) in elements(types).enumerate() {
        one_of(&mut errors, &format!("spec.policyTypes[{index}]"), kind, &["Egress", "Ingress"]);
    }
    errors
}

fn port(port: &Value, field: &str, errors: &mut Vec<FieldError>) {
    one_of(errors, &format!("{field}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    let (number, last) = (&port["port"], &port["endPort"]);
    let at = format!("{field}.endPort");
    match number {
        Value::String(name) => {
            report(errors, &format!("{field}.port"), number, &port_name_problems(name));
            if is_set(last) {
                let why = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::invalid(at, last, why));
            }
        }
        Value::Null if is_set(last) => {
            errors.push(FieldError::invalid(at, last, "must be specified when `port` is specified"));
        }
        number => {
            port_number(errors, &format!("{field}.port"), number);
            if let (Some(last_number), Some(number)) = (last.as_i64(), number.as_i64()) {
                if last_number < number {
                    let why = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(at.as_str(), &number.into(), why));
                }
                port_number(errors, &at, last);
            }
        }
    }
}

fn peer(peer: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let selectors = ["podSelector", "namespaceSelector"];
    for name in selectors {
        rules::selector(errors, &format!("{field}.{name}"), &peer[name]);
    }
    let picked = selectors.iter().any(|name| is_set(&peer[*name]));
    let block = &peer["ipBlock"];
    if is_set(block) {
        self::block(block, &format!("{field}.ipBlock"), errors);
    }
    match (picked, is_set(block)) {
        (false, false) => errors.push(FieldError::required(field, "must specify a peer")),
        (true, true) => errors.push(FieldError::forbidden(field, "may not specify both ipBlock and another peer")),
        (true, false) | (false, true) => {}
    }
}

fn block(block: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let cidr = &block["cidr"];
    if !rules::required(errors, &format!("{field}.cidr"), cidr) {
        return;
    }
    report(errors, &format!("{field}.cidr"), cidr, &rules::cidr_problems(text(cidr)));
    let Some((network, length)) = rules::parse_cidr(text(cidr)) else { return };
    for (index, except) in elements(&block["except"]).enumerate() {
        let field = format!("{field}.except[{index}]");
        match rules::parse_cidr(text(except)) {
            None => report(errors, &field, except, &rules::cidr_problems(text(except))),
            Some((part, part_length)) if part_length <= length || !rules::contains((network, length), part) => {
                errors.push(FieldError::invalid(field, except, "must be a strict subset of `cidr`"));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    #[test]
    fn a_policy_follows_upstreams_rules() {
        let rule = json!({"from": [{"podSelector": {}}], "ports": [{"port": 80}]});
        let rules = Rules::new(
            descriptor(),
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"podSelector": {}, "ingress": [rule]}}),
        );
        let spec = rules.filled()["spec"].take();
        assert_eq!(
            (&spec["policyTypes"], &spec["ingress"][0]["ports"][0]["protocol"]),
            (&json!(["Ingress"]), &json!("TCP"))
        );
        rules
            .fine(&[("/spec/ingress/0/from/0", json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}))]);
        let (ports, from) = ("/spec/ingress/0/ports/0", "/spec/ingress/0/from/0");
        for (at, value, field, text) in [
            (ports, json!({"port": 80, "endPort": 70}), "ports[0].endPort", "must be greater than or equal to `port`"),
            (ports, json!({"port": "web", "endPort": 70}), "ports[0].endPort", "when `port` is non-numeric"),
            (ports, json!({"protocol": "ICMP"}), "ports[0].protocol", "\"SCTP\", \"TCP\", \"UDP\""),
            (from, json!({}), "from[0]", "must specify a peer"),
            (
                from,
                json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
                "from[0]",
                "may not specify both ipBlock and another peer",
            ),
            (from, json!({"ipBlock": {"cidr": "10.0.0.0"}}), "from[0].ipBlock.cidr", "must be a valid CIDR value"),
            (
                from,
                json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
                "from[0].ipBlock.except[0]",
                "must be a strict subset of `cidr`",
            ),
        ] {
            rules.one_error(at, &value, &format!("spec.ingress[0].{field}"), text);
        }
        assert_eq!(headings(descriptor()), ["Name", "Pod-Selector", "Age"]);
        assert_eq!(cells(descriptor(), &rules.filled())[1], "<none>");
    }
}

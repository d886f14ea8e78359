//! `discovery.k8s.io/v1 EndpointSlice`.

use super::{
    columns::column,
    core::special_address_problems,
    fields::{elements, is_set, maps_in, port_number, report, set_default, size, text},
    rules,
};
use orrery_api::k8s::api::discovery::v1::EndpointSlice;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;
use std::{collections::BTreeSet, net::IpAddr};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        counts_generation: true,
        default,
        validate,
        columns: COLUMNS,
        ..super::namespaced::<EndpointSlice>("endpointslice")
    }
}

const COLUMNS: &[Column] = &[
    column("AddressType", 0, "What sort of addresses the slice has.", |slice, _| text(&slice["addressType"]).into()),
    column("Ports", 0, "The ports of each address.", |slice, _| {
        let port = |port: &Value| match port["port"].as_i64() {
            Some(number) => number.to_string(),
            None => port["name"].as_str().unwrap_or("*").to_owned(),
        };
        shown(&elements(&slice["ports"]).map(port).collect::<Vec<_>>()).into()
    }),
    column("Endpoints", 0, "The addresses.", |slice, _| {
        let addresses = elements(&slice["endpoints"]).flat_map(|endpoint| elements(&endpoint["addresses"]));
        shown(&addresses.map(|address| text(address).to_owned()).collect::<Vec<_>>()).into()
    }),
];

/// Three of a list, and how many more there are.
fn shown(all: &[String]) -> String {
    match all.len() {
        0 => "<unset>".to_owned(),
        1..=3 => all.join(","),
        count => format!("{} + {} more...", all[..3].join(","), count - 3),
    }
}

fn default(object: &mut Value) {
    let Some(slice) = object.as_object_mut() else { return };
    for port in maps_in(slice, "ports") {
        set_default(port, "name", "");
        set_default(port, "protocol", "TCP");
    }
}

const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let kind = &object["addressType"];
    rules::required_one_of(&mut errors, "addressType", kind, &["FQDN", "IPv4", "IPv6"]);
    let (endpoints, ports) = (&object["endpoints"], &object["ports"]);
    if size(endpoints) > MOST_ENDPOINTS {
        errors.push(FieldError::too_many("endpoints", size(endpoints), MOST_ENDPOINTS));
        return errors;
    }
    for (index, endpoint) in elements(endpoints).enumerate() {
        self::endpoint(endpoint, text(kind), &format!("endpoints[{index}]"), &mut errors);
    }
    if size(ports) > MOST_PORTS {
        errors.push(FieldError::too_many("ports", size(ports), MOST_PORTS));
        return errors;
    }
    let mut names = BTreeSet::new();
    for (index, port) in elements(ports).enumerate() {
        let field = format!("ports[{index}]");
        let name = &port["name"];
        rules::optional_name(&mut errors, &format!("{field}.name"), name, meta::dns_label_problems);
        if !names.insert(text(name)) {
            errors.push(FieldError::duplicate(format!("{field}.name"), name));
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        rules::required_one_of(&mut errors, &format!("{field}.protocol"), &port["protocol"], &protocols);
        port_number(&mut errors, &format!("{field}.port"), &port["port"]);
        let protocol = &port["appProtocol"];
        if is_set(protocol) {
            let problems = meta::qualified_name_problems(text(protocol));
            report(&mut errors, &format!("{field}.appProtocol"), protocol, &problems);
        }
    }
    if let Some(old) = old {
        rules::immutable(&mut errors, "addressType", kind, &old["addressType"]);
    }
    errors
}

fn endpoint(endpoint: &Value, kind: &str, field: &str, errors: &mut Vec<FieldError>) {
    let addresses = &endpoint["addresses"];
    match size(addresses) {
        0 => errors.push(FieldError::required(format!("{field}.addresses"), "must contain at least 1 address")),
        count if count > MOST_ADDRESSES => {
            errors.push(FieldError::too_many(format!("{field}.addresses"), count, MOST_ADDRESSES));
        }
        _ => {}
    }
    for (index, address) in elements(addresses).enumerate() {
        let problems = address_problems(text(address), kind);
        report(errors, &format!("{field}.addresses[{index}]"), address, &problems);
    }
    let (host, node) = (&endpoint["hostname"], &endpoint["nodeName"]);
    if is_set(host) {
        report(errors, &format!("{field}.hostname"), host, &meta::dns_label_problems(text(host)));
    }
    if is_set(node) {
        report(errors, &format!("{field}.nodeName"), node, &meta::dns_subdomain_problems(text(node)));
    }
    rules::labels(errors, &format!("{field}.deprecatedTopology"), &endpoint["deprecatedTopology"]);
    for (hint, list) in [("forZones", &endpoint["hints"]["forZones"]), ("forNodes", &endpoint["hints"]["forNodes"])] {
        if size(list) > 8 {
            errors.push(FieldError::too_many(format!("{field}.hints.{hint}"), size(list), 8));
        }
        for (index, place) in elements(list).enumerate() {
            let field = format!("{field}.hints.{hint}[{index}].name");
            rules::required_name(errors, &field, &place["name"], meta::qualified_name_problems);
        }
    }
}

fn address_problems(address: &str, kind: &str) -> Vec<String> {
    match (kind, address.parse::<IpAddr>()) {
        ("IPv4", Ok(ip @ IpAddr::V4(_))) | ("IPv6", Ok(ip @ IpAddr::V6(_))) => special_address_problems(ip),
        ("IPv4", _) => vec!["must be a valid IPv4 address".to_owned()],
        ("IPv6", _) => vec!["must be a valid IPv6 address".to_owned()],
        ("FQDN", _) => fqdn_problems(address),
        _ => Vec::new(),
    }
}

fn fqdn_problems(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["Required value".to_owned()];
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let problems = meta::dns_subdomain_problems(name);
    if problems.is_empty() && !name.contains('.') {
        return vec!["should be a domain with at least two segments separated by dots".to_owned()];
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    fn rules() -> Rules {
        Rules::new(
            descriptor(),
            json!({
                "metadata": {"name": "web-1", "namespace": "n"}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}],
            }),
        )
    }

    #[test]
    fn a_slice_follows_upstreams_rules() {
        let rules = rules();
        assert_eq!(rules.filled()["ports"], json!([{"port": 80, "name": "", "protocol": "TCP"}]));
        rules.fine(&[]);
        let many: Vec<Value> = (0..1001).map(|_| json!({"addresses": ["10.0.0.1"]})).collect();
        for (at, value, field, text) in [
            ("/endpoints/0/addresses", json!([]), "endpoints[0].addresses", "must contain at least 1 address"),
            ("/endpoints/0/addresses", json!(["::1"]), "endpoints[0].addresses[0]", "must be a valid IPv4 address"),
            ("/endpoints/0/addresses", json!(["127.0.0.1"]), "endpoints[0].addresses[0]", "loopback range"),
            ("/endpoints/0/hostname", json!("a.b"), "endpoints[0].hostname", "a lowercase RFC 1123 label must"),
            ("/endpoints", json!(many), "endpoints", "Too many: 1001: must have at most 1000 items"),
            ("/ports", json!([{"port": 1}, {"port": 2}]), "ports[1].name", "Duplicate value: \"\""),
            ("/ports", json!([{"port": 70_000}]), "ports[0].port", "must be between 1 and 65535, inclusive"),
        ] {
            rules.one_error(at, &value, field, text);
        }
        let old = rules.with(&[("/endpoints", json!([]))]);
        let mut new = old.clone();
        new["addressType"] = "IPv6".into();
        assert_eq!(validate(&new, Some(&old))[0].message, "Invalid value: \"IPv6\": field is immutable");
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        assert_eq!(headings(descriptor()), ["Name", "AddressType", "Ports", "Endpoints", "Age"]);
        let addresses = json!(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        let slice = rules().with(&[("/endpoints/0/addresses", addresses)]);
        let expected = json!(["IPv4", "80", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more..."]);
        assert_eq!(json!(cells(descriptor(), &slice)[1..4]), expected);
        assert_eq!(json!(cells(descriptor(), &json!({}))[2..4]), json!(["<unset>", "<unset>"]));
    }
}

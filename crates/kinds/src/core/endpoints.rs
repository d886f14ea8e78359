//! `v1 Endpoints`.

use crate::{
    columns::column,
    fields::{default_text, elements, is_set, maps_in, port_number, report, size, text},
    rules,
};
use orrery_api::k8s::api::core::v1::Endpoints;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["ep"],
        create_on_update: true,
        default,
        validate,
        warnings: |_, _| vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()],
        columns: COLUMNS,
        ..crate::namespaced::<Endpoints>("endpoints")
    }
}

const COLUMNS: &[Column] =
    &[column("Endpoints", 0, "Addresses and ports that the service leads to.", |object, _| shown(object).into())];

const SHOWN: usize = 3;

fn shown(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in elements(&endpoints["subsets"]) {
        for address in elements(&subset["addresses"]).map(|address| text(&address["ip"])) {
            if size(&subset["ports"]) == 0 {
                all.push(address.to_owned());
            }
            for port in elements(&subset["ports"]) {
                let number = port["port"].as_i64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
                let joined = address.parse().map(|ip| SocketAddr::new(ip, number).to_string());
                all.push(joined.unwrap_or_else(|_| format!("{address}:{number}")));
            }
        }
    }
    match all.len() {
        0 => "<none>".to_owned(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), count - SHOWN),
        _ => all.join(","),
    }
}

fn default(object: &mut Value) {
    let Some(endpoints) = object.as_object_mut() else { return };
    for subset in maps_in(endpoints, "subsets") {
        maps_in(subset, "ports").for_each(|port| default_text(port, "protocol", "TCP"));
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    // What was accepted once is looked at again only when it changes.
    if old.is_none_or(|old| old["subsets"] != object["subsets"]) {
        for (index, subset) in elements(&object["subsets"]).enumerate() {
            self::subset(subset, &format!("subsets[{index}]"), &mut errors);
        }
    }
    errors
}

fn subset(subset: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let lists = ["addresses", "notReadyAddresses"];
    if lists.iter().all(|list| size(&subset[*list]) == 0) {
        errors.push(FieldError::required(field, "must specify `addresses` or `notReadyAddresses`"));
    }
    for list in lists {
        for (index, address) in elements(&subset[list]).enumerate() {
            self::address(address, &format!("{field}.{list}[{index}]"), errors);
        }
    }
    let ports = &subset["ports"];
    for (index, port) in elements(ports).enumerate() {
        let field = format!("{field}.ports[{index}]");
        match text(&port["name"]) {
            "" if size(ports) > 1 => errors.push(FieldError::required(format!("{field}.name"), "")),
            "" => {}
            name => report(errors, &format!("{field}.name"), &port["name"], &meta::dns_label_problems(name)),
        }
        port_number(errors, &format!("{field}.port"), &port["port"]);
        let protocols = ["SCTP", "TCP", "UDP"];
        rules::required_one_of(errors, &format!("{field}.protocol"), &port["protocol"], &protocols);
        if is_set(&port["appProtocol"]) {
            let problems = meta::qualified_name_problems(text(&port["appProtocol"]));
            report(errors, &format!("{field}.appProtocol"), &port["appProtocol"], &problems);
        }
    }
}

fn address(address: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let ip = &address["ip"];
    match text(ip).parse() {
        Ok(parsed) => report(errors, &format!("{field}.ip"), ip, &special_address_problems(parsed)),
        Err(_) => report(errors, &format!("{field}.ip"), ip, &rules::ip_problems(text(ip))),
    }
    let (host, node) = (&address["hostname"], &address["nodeName"]);
    rules::optional_name(errors, &format!("{field}.hostname"), host, meta::dns_label_problems);
    if is_set(node) {
        report(errors, &format!("{field}.nodeName"), node, &meta::dns_subdomain_problems(text(node)));
    }
}

/// What is wrong with an address that others are to reach: those that mean something else on each machine.
pub(crate) fn special_address_problems(ip: IpAddr) -> Vec<String> {
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (ip.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, why)| why.to_owned()).collect()
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
                "metadata": {"name": "web", "namespace": "n"},
                "subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]}],
            }),
        )
    }

    #[test]
    fn endpoints_follow_upstreams_rules() {
        let rules = rules();
        assert_eq!(rules.filled()["subsets"][0]["ports"][0]["protocol"], "TCP");
        rules.fine(&[]);
        for (at, value, field, text) in [
            ("/subsets/0/addresses", json!([]), "subsets[0]", "must specify `addresses` or `notReadyAddresses`"),
            ("/subsets/0/addresses/0/ip", json!("x"), "subsets[0].addresses[0].ip", "must be a valid IP address"),
            ("/subsets/0/addresses/0/ip", json!("127.0.0.1"), "subsets[0].addresses[0].ip", "loopback range"),
            ("/subsets/0/addresses/0/ip", json!("fe80::1"), "subsets[0].addresses[0].ip", "link-local range"),
            ("/subsets/0/ports/0/port", json!(0), "subsets[0].ports[0].port", "must be between 1 and 65535"),
        ] {
            rules.one_error(at, &value, field, text);
        }
    }

    #[test]
    fn the_table_shows_three_at_most() {
        assert_eq!(headings(descriptor()), ["Name", "Endpoints", "Age"]);
        assert_eq!(cells(descriptor(), &rules().filled())[1], "10.0.0.1:80,[fd00::1]:80");
        let ports = json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]);
        let many = rules().with(&[("/subsets/0/ports", ports)]);
        assert_eq!(cells(descriptor(), &many)[1], "10.0.0.1:80,10.0.0.1:81,[fd00::1]:80 + 1 more...");
        assert_eq!(cells(descriptor(), &json!({}))[1], "<none>");
    }
}

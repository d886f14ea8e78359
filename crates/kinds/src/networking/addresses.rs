//! `networking.k8s.io/v1 ServiceCIDR` and `IPAddress`: the ranges of services' addresses, and those that are taken.

use crate::{
    columns::column,
    fields::{elements, is_set, report, size, text},
    merge_keys, rules,
};
use orrery_api::k8s::api::networking::v1::{IPAddress, ServiceCIDR};
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;
use std::net::IpAddr;

pub(super) fn service_cidr() -> FixedResource {
    FixedResource {
        has_status: true,
        validate: validate_cidr,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), false, NameRule::DnsSubdomain),
            _ => validate_cidr(object, Some(old)),
        }),
        columns: CIDR_COLUMNS,
        merge_keys: CIDR_MERGE_KEYS,
        ..crate::cluster_wide::<ServiceCIDR>("servicecidr")
    }
}

pub(super) fn ip_address() -> FixedResource {
    FixedResource {
        short_names: &["ip"],
        validate: validate_address,
        columns: ADDRESS_COLUMNS,
        ..crate::cluster_wide::<IPAddress>("ipaddress")
    }
}

const CIDR_MERGE_KEYS: &[MergeKey] = merge_keys!["status.conditions" => "type"];

const CIDR_COLUMNS: &[Column] = &[column("CIDRs", 0, "The ranges.", |object, _| {
    elements(&object["spec"]["cidrs"]).map(text).collect::<Vec<_>>().join(",").into()
})];

const ADDRESS_COLUMNS: &[Column] = &[column("ParentRef", 0, "What has the address.", |object, _| {
    let parent = &object["spec"]["parentRef"];
    let parts = [text(&parent["namespace"]), text(&parent["name"])];
    let resource = match text(&parent["group"]) {
        "" => text(&parent["resource"]).to_lowercase(),
        group => format!("{}.{group}", text(&parent["resource"])).to_lowercase(),
    };
    let path = parts.into_iter().filter(|part| !part.is_empty()).fold(resource, |path, part| format!("{path}/{part}"));
    path.into()
})];

fn validate_cidr(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    const FIELD: &str = "spec.cidrs";
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let cidrs = &object["spec"]["cidrs"];
    match size(cidrs) {
        0 => errors.push(FieldError::required(FIELD, "at least one CIDR required")),
        1 | 2 => {}
        _ => {
            let why = "may only hold up to 2 values";
            errors.push(FieldError::invalid(FIELD, cidrs, why));
        }
    }
    let mut families = Vec::new();
    for (index, cidr) in elements(cidrs).enumerate() {
        report(&mut errors, &format!("{FIELD}[{index}]"), cidr, &rules::cidr_problems(text(cidr)));
        families.extend(rules::parse_cidr(text(cidr)).map(|(address, _)| address.is_ipv4()));
    }
    if let [first, second] = families[..]
        && first == second
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(FIELD, cidrs, why));
    }
    if let Some(old) = old {
        let before = &old["spec"]["cidrs"];
        // A range of the other family may follow.
        if size(before) == 1 && size(cidrs) == 2 {
            rules::immutable(&mut errors, "spec.cidrs[0]", &cidrs[0], &before[0]);
        } else {
            rules::immutable(&mut errors, FIELD, cidrs, before);
        }
    }
    errors
}

fn validate_address(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::PathSegment);
    let name = &object["metadata"]["name"];
    match text(name).parse::<IpAddr>() {
        Err(_) => report(&mut errors, "metadata.name", name, &rules::ip_problems(text(name))),
        Ok(ip) if ip.to_string() != text(name) => {
            let why = format!("must be in canonical form (\"{ip}\")");
            errors.push(FieldError::invalid("metadata.name", name, &why));
        }
        Ok(_) => {}
    }
    let parent = &object["spec"]["parentRef"];
    if is_set(parent) {
        for field in ["resource", "name"] {
            rules::required(&mut errors, &format!("spec.parentRef.{field}"), &parent[field]);
        }
    } else {
        errors.push(FieldError::required("spec.parentRef", ""));
    }
    if let Some(old) = old {
        rules::immutable(&mut errors, "spec.parentRef", parent, &old["spec"]["parentRef"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_range_has_one_network_of_each_family() {
        let rules = Rules::new(service_cidr(), json!({"metadata": {"name": "r"}, "spec": {"cidrs": ["10.0.0.0/16"]}}));
        rules.fine(&[("/spec/cidrs", json!(["10.0.0.0/16", "fd00::/112"]))]);
        for (cidrs, field, text) in [
            (json!([]), "spec.cidrs", "at least one CIDR required"),
            (json!(["x"]), "spec.cidrs[0]", "must be a valid CIDR value"),
            (json!(["10.0.0.0/16", "10.1.0.0/16"]), "spec.cidrs", "no more than one IP for each IP family"),
        ] {
            rules.one_error("/spec/cidrs", &cidrs, field, text);
        }
        rules.change("/spec/cidrs", &json!(["10.0.0.0/16", "fd00::/112"]), None);
        rules.change("/spec/cidrs", &json!(["10.1.0.0/16"]), Some(("spec.cidrs", "field is immutable")));
        assert_eq!(headings(service_cidr()), ["Name", "CIDRs", "Age"]);
        assert_eq!(cells(service_cidr(), &rules.filled())[1], "10.0.0.0/16");
    }

    #[test]
    fn an_address_is_its_own_name_and_belongs_to_something() {
        let parent = json!({"resource": "services", "namespace": "n", "name": "web"});
        let rules = Rules::new(ip_address(), json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}}));
        rules.fine(&[("/metadata/name", json!("fd00::1"))]);
        rules.one_error(
            "/metadata/name",
            &json!("fd00:0::1"),
            "metadata.name",
            "must be in canonical form (\"fd00::1\")",
        );
        rules.one_error("/metadata/name", &json!("web"), "metadata.name", "must be a valid IP address");
        rules.one_error("/spec/parentRef", &json!(null), "spec.parentRef", "Required value");
        let other = json!("db");
        rules.change("/spec/parentRef/name", &other, Some(("spec.parentRef", "field is immutable")));
        assert_eq!(headings(ip_address()), ["Name", "ParentRef", "Age"]);
        assert_eq!(cells(ip_address(), &rules.filled())[1], "services/n/web");
    }
}

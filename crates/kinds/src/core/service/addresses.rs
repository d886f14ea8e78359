//! The rules of a service's addresses.

use crate::{
    core::special_address_problems,
    fields::{elements, is_set, one_of, report, size, text},
    rules,
};
use orrery_machinery::status::FieldError;
use serde_json::Value;
use std::{collections::BTreeSet, net::IpAddr};

/// Checks the addresses within the cluster and those from outside.
pub(super) fn check(spec: &Value, errors: &mut Vec<FieldError>) {
    cluster(spec, errors);
    for (index, address) in elements(&spec["externalIPs"]).enumerate() {
        let field = format!("spec.externalIPs[{index}]");
        match text(address).parse() {
            Ok(ip) => report(errors, &field, address, &special_address_problems(ip)),
            Err(_) => report(errors, &field, address, &rules::ip_problems(text(address))),
        }
    }
}

fn cluster(spec: &Value, errors: &mut Vec<FieldError>) {
    if spec["type"] == "ExternalName" {
        return;
    }
    let (one, all) = (&spec["clusterIP"], &spec["clusterIPs"]);
    if size(all) == 0 && !text(one).is_empty() {
        errors.push(FieldError::required("spec.clusterIPs", ""));
    } else if size(all) > 0 && text(&all[0]) != text(one) {
        errors.push(FieldError::invalid("spec.clusterIPs", all, "first value must match `clusterIP`"));
    }
    families(spec, errors);
    let mut seen = BTreeSet::new();
    for (index, address) in elements(all).enumerate() {
        if !seen.insert(text(address)) {
            errors.push(FieldError::duplicate(format!("spec.clusterIPs[{index}]"), address));
        }
    }
    if size(all) > 1 && seen.contains("None") {
        errors.push(FieldError::invalid("spec.clusterIPs", all, "'None' must be the first and only value"));
    }
    if size(all) > 2 {
        errors.push(FieldError::invalid("spec.clusterIPs", all, "may only hold up to 2 values"));
    }
    let mut parsed: Vec<IpAddr> = Vec::new();
    for (index, address) in elements(all).enumerate().filter(|(_, address)| *address != "None") {
        match text(address).parse() {
            Ok(ip) => parsed.push(ip),
            Err(_) => {
                let problems = rules::ip_problems(text(address));
                report(errors, &format!("spec.clusterIPs[{index}]"), address, &problems);
            }
        }
    }
    if let [first, second] = parsed[..]
        && first.is_ipv4() == second.is_ipv4()
    {
        let why = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid("spec.clusterIPs", all, why));
    }
    let listed: Vec<&str> = elements(&spec["ipFamilies"]).map(text).collect();
    for (index, (family, ip)) in listed.iter().zip(&parsed).enumerate() {
        if (*family == "IPv4") != ip.is_ipv4() {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.push(FieldError::invalid(format!("spec.clusterIPs[{index}]"), &all[index], &why));
        }
    }
}

fn families(spec: &Value, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, family) in elements(&spec["ipFamilies"]).enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        one_of(errors, &field, family, &["IPv4", "IPv6"]);
        if !seen.insert(text(family)) {
            errors.push(FieldError::duplicate(field, family));
        }
    }
    let policy = &spec["ipFamilyPolicy"];
    if is_set(policy) {
        let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        one_of(errors, "spec.ipFamilyPolicy", policy, &policies);
    }
    if policy == "SingleStack" {
        for field in ["clusterIPs", "ipFamilies"] {
            if size(&spec[field]) > 1 {
                let why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs or IP families \
                           are specified";
                errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, why));
                break;
            }
        }
    }
}

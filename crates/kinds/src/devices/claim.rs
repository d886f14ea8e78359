//! `resource.k8s.io/v1`: `ResourceClaim` and `ResourceClaimTemplate`.

use super::class;
use crate::{
    columns::column,
    fields::{default_text, elements, existing_map, is_set, map_at, maps_in, one_of, set_default, size, text},
    rules,
};
use orrery_api::k8s::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        has_status: true,
        default: |object| {
            if let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) {
                fill_in(spec);
            }
        },
        validate,
        validate_part: Some(validate_part),
        columns: COLUMNS,
        ..crate::namespaced::<ResourceClaim>("resourceclaim")
    }
}

pub(super) fn template() -> FixedResource {
    FixedResource {
        default: |object| {
            let spec = object.as_object_mut().and_then(|object| map_at(object, "spec"));
            if let Some(spec) = spec.and_then(|spec| map_at(spec, "spec")) {
                fill_in(spec);
            }
        },
        validate: |object, old| {
            let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
            match old {
                None => check(&object["spec"]["spec"], "spec.spec", &mut errors),
                Some(old) => rules::immutable(&mut errors, "spec", &object["spec"], &old["spec"]),
            }
            errors
        },
        ..crate::namespaced::<ResourceClaimTemplate>("resourceclaimtemplate")
    }
}

const COLUMNS: &[Column] =
    &[column("State", 0, "How far the claim has come.", |claim, _| states(claim).join(",").into())];

fn states(claim: &Value) -> Vec<&'static str> {
    let mut states = Vec::new();
    if meta::is_deleting(claim) {
        states.push("deleted");
    }
    let allocated = is_set(&claim["status"]["allocation"]);
    if !allocated && !meta::is_deleting(claim) {
        states.push("pending");
    } else if allocated {
        states.push("allocated");
        if size(&claim["status"]["reservedFor"]) > 0 {
            states.push("reserved");
        }
    }
    states
}

fn fill_in(spec: &mut Map<String, Value>) {
    let Some(devices) = existing_map(spec, "devices") else { return };
    for request in maps_in(devices, "requests") {
        if let Some(exactly) = existing_map(request, "exactly") {
            amount(exactly);
        }
        maps_in(request, "firstAvailable").for_each(amount);
    }
}

fn amount(request: &mut Map<String, Value>) {
    default_text(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        set_default(request, "count", 1);
    }
    maps_in(request, "tolerations").for_each(|toleration| default_text(toleration, "operator", "Equal"));
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    match old {
        None => check(&object["spec"], "spec", &mut errors),
        Some(old) => rules::immutable(&mut errors, "spec", &object["spec"], &old["spec"]),
    }
    errors
}

fn check(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let devices = &spec["devices"];
    let mut names = BTreeSet::new();
    for (index, request) in elements(&devices["requests"]).enumerate() {
        let field = format!("{at}.devices.requests[{index}]");
        rules::required_name(errors, &format!("{field}.name"), &request["name"], meta::dns_label_problems);
        if !names.insert(text(&request["name"])) {
            errors.push(FieldError::duplicate(format!("{field}.name"), &request["name"]));
        }
        let (exactly, first) = (&request["exactly"], &request["firstAvailable"]);
        match (is_set(exactly), size(first) > 0) {
            (true, true) => {
                let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                errors.push(FieldError::invalid_whole(field.as_str(), why));
            }
            (false, false) => {
                let why = "exactly one of `exactly` or `firstAvailable` is required";
                errors.push(FieldError::required(field.as_str(), why));
            }
            (true, false) | (false, true) => {}
        }
        if is_set(exactly) {
            one(exactly, &format!("{field}.exactly"), errors);
        }
        for (number, choice) in elements(first).enumerate() {
            let field = format!("{field}.firstAvailable[{number}]");
            rules::required_name(errors, &format!("{field}.name"), &choice["name"], meta::dns_label_problems);
            one(choice, &field, errors);
        }
    }
    let known = |name: &str| names.contains(name.split('/').next().unwrap_or_default());
    for list in ["constraints", "config"] {
        for (index, entry) in elements(&devices[list]).enumerate() {
            let field = format!("{at}.devices.{list}[{index}]");
            for (number, name) in elements(&entry["requests"]).enumerate().filter(|(_, name)| !known(text(name))) {
                let why = "must be the name of a request in the claim or the name of a request and a subrequest \
                           separated by '/'";
                errors.push(FieldError::invalid(format!("{field}.requests[{number}]"), name, why));
            }
            if list == "config" {
                class::configuration(entry, &field, errors);
            }
        }
    }
}

fn one(request: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let class = &request["deviceClassName"];
    rules::required_name(errors, &format!("{field}.deviceClassName"), class, meta::dns_subdomain_problems);
    class::selectors(&request["selectors"], &format!("{field}.selectors"), errors);
    let mode = &request["allocationMode"];
    one_of(errors, &format!("{field}.allocationMode"), mode, &["All", "ExactCount"]);
    let count = &request["count"];
    match text(mode) {
        "All" if count.as_i64().unwrap_or_default() != 0 => {
            let why = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(format!("{field}.count"), count, why));
        }
        "ExactCount" if count.as_i64().is_some_and(|count| count <= 0) => {
            let why = "must be greater than zero";
            errors.push(FieldError::invalid(format!("{field}.count"), count, why));
        }
        _ => {}
    }
}

const MOST_RESERVED: usize = 256;

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::DnsSubdomain);
    let (status, before) = (&object["status"], &old["status"]);
    let reserved = &status["reservedFor"];
    if size(reserved) > MOST_RESERVED {
        errors.push(FieldError::too_many("status.reservedFor", size(reserved), MOST_RESERVED));
    }
    for (index, consumer) in elements(reserved).enumerate() {
        for field in ["resource", "name", "uid"] {
            let at = format!("status.reservedFor[{index}].{field}");
            rules::required(&mut errors, &at, &consumer[field]);
        }
    }
    if size(reserved) > 0 && !is_set(&status["allocation"]) {
        let why = "may not be specified when `allocated` is not set";
        errors.push(FieldError::forbidden("status.reservedFor", why));
    }
    if is_set(&before["allocation"]) && is_set(&status["allocation"]) {
        rules::immutable(&mut errors, "status.allocation", &status["allocation"], &before["allocation"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    fn rules() -> Rules {
        let request = json!({"name": "gpu", "exactly": {"deviceClassName": "gpu"}});
        Rules::new(
            descriptor(),
            json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"devices": {"requests": [request]}}}),
        )
    }

    #[test]
    fn a_claim_follows_upstreams_rules() {
        let rules = rules();
        let exactly = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
        assert_eq!(rules.filled()["spec"]["devices"]["requests"][0]["exactly"], exactly);
        rules.fine(&[]);
        let request = "/spec/devices/requests/0";
        for (at, value, field, text) in [
            ("/name", json!("A"), ".name", "a lowercase RFC 1123 label must"),
            ("/exactly", json!(null), "", "exactly one of `exactly` or `firstAvailable` is required"),
            ("/exactly/count", json!(-1), ".exactly.count", "must be greater than zero"),
            ("/exactly/allocationMode", json!("Some"), ".exactly.allocationMode", "\"All\", \"ExactCount\""),
        ] {
            rules.one_error(&format!("{request}{at}"), &value, &format!("spec.devices.requests[0]{field}"), text);
        }
        let name = format!("{request}/name");
        rules.change(&name, &json!("other"), Some(("spec", "field is immutable")));
        let consumer = json!([{"resource": "pods", "name": "a", "uid": "1"}]);
        let why = "may not be specified when `allocated` is not set";
        rules.status(&json!({"reservedFor": consumer}), Some(("status.reservedFor", why)));
        rules.status(&json!({"allocation": {}, "reservedFor": consumer}), None);
    }

    #[test]
    fn a_template_stays_as_it_is() {
        let claim = rules().filled()["spec"].take();
        let object = json!({"metadata": {"name": "t", "namespace": "n"}, "spec": {"spec": claim}});
        let rules = Rules::new(template(), object);
        rules.fine(&[]);
        rules.change("/spec/spec/devices", &json!({}), Some(("spec", "field is immutable")));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        assert_eq!(headings(descriptor()), ["Name", "State", "Age"]);
        assert_eq!(headings(template()), ["Name", "Age"]);
        let mut claim = rules().filled();
        assert_eq!(cells(descriptor(), &claim)[1], "pending");
        claim["status"] = json!({"allocation": {}, "reservedFor": [{}]});
        assert_eq!(cells(descriptor(), &claim)[1], "allocated,reserved");
    }
}

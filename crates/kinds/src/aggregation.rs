//! `apiregistration.k8s.io/v1 APIService`.

use super::{
    columns::column,
    fields::{elements, existing_map, is_set, map_at, set_default, text},
    merge_keys, rules,
};
use orrery_api::k8s::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        categories: &["api-extensions"],
        has_status: true,
        unconditional_update: false,
        default: |object| {
            let spec = object.as_object_mut().and_then(|object| map_at(object, "spec"));
            if let Some(service) = spec.and_then(|spec| existing_map(spec, "service")) {
                set_default(service, "port", 443);
            }
        },
        validate,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), false, NameRule::PathSegment),
            _ => validate(object, Some(old)),
        }),
        columns: COLUMNS,
        merge_keys: MERGE_KEYS,
        ..super::cluster_wide::<APIService>("apiservice")
    }
}

const MERGE_KEYS: &[MergeKey] = merge_keys!["status.conditions" => "type"];

const COLUMNS: &[Column] = &[
    column("Service", 0, "What serves the group's version.", |object, _| {
        let service = &object["spec"]["service"];
        if !is_set(service) {
            return "Local".into();
        }
        format!("{}/{}", text(&service["namespace"]), text(&service["name"])).into()
    }),
    column("Available", 0, "Whether it answers.", |object, _| {
        let found = elements(&object["status"]["conditions"]).find(|condition| condition["type"] == "Available");
        match found.map(|condition| (text(&condition["status"]), text(&condition["reason"]))) {
            None => "Unknown".into(),
            Some(("True", _)) => "True".into(),
            Some((status, reason)) => format!("{status} ({reason})").into(),
        }
    }),
];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::PathSegment);
    let spec = &object["spec"];
    let (group, version, name) = (text(&spec["group"]), text(&spec["version"]), meta::name(object));
    if name != format!("{version}.{group}") {
        let why = format!("must be `spec.version+\".\"+spec.group`: {:?}", format!("{version}.{group}"));
        errors.push(FieldError::invalid("metadata.name", &object["metadata"]["name"], &why));
    }
    if group.is_empty() && (version != "v1" || is_set(&spec["service"])) {
        errors.push(FieldError::required("spec.group", "only v1 may have an empty group and it better be legacy kube"));
    }
    rules::optional_name(&mut errors, "spec.group", &spec["group"], meta::dns_subdomain_problems);
    rules::required_name(&mut errors, "spec.version", &spec["version"], meta::dns_1035_label_problems);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = &spec[field];
        if !(1..=most).contains(&priority.as_i64().unwrap_or_default()) {
            let why = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(format!("spec.{field}"), &crate::columns::number(priority), &why));
        }
    }
    let service = &spec["service"];
    if is_set(service) {
        for field in ["namespace", "name"] {
            rules::required(&mut errors, &format!("spec.service.{field}"), &service[field]);
        }
        let port = &service["port"];
        if port.as_i64().is_some_and(|port| !(1..=65535).contains(&port)) {
            let why = "port is not valid: must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid("spec.service.port", port, why));
        }
        if spec["insecureSkipTLSVerify"] == json!(true) && !text(&spec["caBundle"]).is_empty() {
            let why = "may not be true if caBundle is present";
            errors.push(FieldError::invalid("spec.insecureSkipTLSVerify", &json!(true), why));
        }
    } else {
        if !text(&spec["caBundle"]).is_empty() {
            let why = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid("spec.caBundle", &spec["caBundle"], why));
        }
        if spec["insecureSkipTLSVerify"] == json!(true) {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid("spec.insecureSkipTLSVerify", &json!(true), why));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    #[test]
    fn a_service_of_an_api_follows_upstreams_rules() {
        let spec = json!({
            "group": "x.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": {"namespace": "n", "name": "api"}, "insecureSkipTLSVerify": true,
        });
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "v1.x.io"}, "spec": spec}));
        assert_eq!(rules.filled()["spec"]["service"]["port"], 443);
        rules.fine(&[]);
        for (at, value, field, text) in [
            (
                "/metadata/name",
                json!("v2.x.io"),
                "metadata.name",
                "must be `spec.version+\".\"+spec.group`: \"v1.x.io\"",
            ),
            ("/spec/versionPriority", json!(0), "spec.versionPriority", "must be positive and less than 1000"),
            ("/spec/groupPriorityMinimum", json!(20_001), "spec.groupPriorityMinimum", "less than 20000"),
            ("/spec/service/name", json!(""), "spec.service.name", "Required value"),
            ("/spec/caBundle", json!("eA=="), "spec.insecureSkipTLSVerify", "may not be true if caBundle is present"),
        ] {
            rules.one_error(at, &value, field, text);
        }
        assert_eq!(headings(descriptor()), ["Name", "Service", "Available", "Age"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..3]), json!(["n/api", "Unknown"]));
    }
}

//! `admissionregistration.k8s.io/v1`: `ValidatingWebhookConfiguration` and `MutatingWebhookConfiguration`.

use super::matching;
use crate::{
    columns::integer,
    fields::{elements, existing_map, is_set, maps_in, one_of, report, set_default, size, text},
    merge_keys, rules,
};
use orrery_api::k8s::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn validating() -> FixedResource {
    FixedResource {
        default: |object| fill_in(object, false),
        ..both(crate::cluster_wide::<ValidatingWebhookConfiguration>("validatingwebhookconfiguration"))
    }
}

pub(super) fn mutating() -> FixedResource {
    FixedResource {
        default: |object| fill_in(object, true),
        ..both(crate::cluster_wide::<MutatingWebhookConfiguration>("mutatingwebhookconfiguration"))
    }
}

fn both(base: FixedResource) -> FixedResource {
    FixedResource {
        categories: &["api-extensions"],
        counts_generation: true,
        unconditional_update: false,
        validate,
        columns: COLUMNS,
        merge_keys: MERGE_KEYS,
        ..base
    }
}

const MERGE_KEYS: &[MergeKey] = merge_keys!["webhooks" => "name", "webhooks.matchConditions" => "name"];

const COLUMNS: &[Column] =
    &[integer("Webhooks", "How many webhooks there are.", |object, _| size(&object["webhooks"]).into())];

fn fill_in(object: &mut Value, mutating: bool) {
    let Some(configuration) = object.as_object_mut() else { return };
    for webhook in maps_in(configuration, "webhooks") {
        set_default(webhook, "failurePolicy", "Fail");
        set_default(webhook, "timeoutSeconds", 10);
        matching::fill_in(webhook, &["rules"]);
        if mutating {
            set_default(webhook, "reinvocationPolicy", "Never");
        }
        let client = existing_map(webhook, "clientConfig");
        if let Some(service) = client.and_then(|client| existing_map(client, "service")) {
            set_default(service, "port", 443);
        }
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let mut names = BTreeSet::new();
    for (index, webhook) in elements(&object["webhooks"]).enumerate() {
        let field = format!("webhooks[{index}]");
        check(webhook, &field, &mut errors);
        if !names.insert(text(&webhook["name"])) {
            errors.push(FieldError::duplicate(format!("{field}.name"), &webhook["name"]));
        }
    }
    errors
}

fn check(webhook: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let (field, name) = (format!("{at}.name"), &webhook["name"]);
    if rules::required(errors, &field, name) {
        let problems = meta::dns_subdomain_problems(text(name));
        report(errors, &field, name, &problems);
        if problems.is_empty() && text(name).split('.').count() < 3 {
            let why = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(field, name, why));
        }
    }
    for (index, rule) in elements(&webhook["rules"]).enumerate() {
        matching::rule(rule, &format!("{at}.rules[{index}]"), errors);
    }
    one_of(errors, &format!("{at}.failurePolicy"), &webhook["failurePolicy"], &["Fail", "Ignore"]);
    matching::check(webhook, at, errors);
    matching::conditions(&webhook["matchConditions"], &format!("{at}.matchConditions"), errors);
    let (field, effects) = (format!("{at}.sideEffects"), &webhook["sideEffects"]);
    if text(effects).is_empty() {
        errors.push(FieldError::required(field, "must specify one of None, NoneOnDryRun"));
    } else {
        one_of(errors, &field, effects, &["None", "NoneOnDryRun"]);
    }
    let timeout = &webhook["timeoutSeconds"];
    if timeout.as_i64().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(format!("{at}.timeoutSeconds"), timeout, why));
    }
    let policies = ["IfNeeded", "Never"];
    one_of(errors, &format!("{at}.reinvocationPolicy"), &webhook["reinvocationPolicy"], &policies);
    review_versions(&webhook["admissionReviewVersions"], &format!("{at}.admissionReviewVersions"), errors);
    client(&webhook["clientConfig"], &format!("{at}.clientConfig"), errors);
}

fn review_versions(versions: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if size(versions) == 0 {
        errors.push(FieldError::required(field, "must specify one of v1, v1beta1"));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, version) in elements(versions).enumerate() {
        let field = format!("{field}[{index}]");
        if !seen.insert(text(version)) {
            errors.push(FieldError::invalid(field.as_str(), version, "duplicate version"));
        }
        report(errors, &field, version, &meta::dns_1035_label_problems(text(version)));
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        errors.push(FieldError::invalid(field, versions, "must include at least one of v1, v1beta1"));
    }
}

/// Checks how a webhook is reached: by an address or by a service.
fn client(client: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let (url, service) = (&client["url"], &client["service"]);
    match (is_set(url), is_set(service)) {
        (true, false) => self::url(url, &format!("{field}.url"), errors),
        (false, true) => {
            for (name, why) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
                if text(&service[name]).is_empty() {
                    errors.push(FieldError::required(format!("{field}.service.{name}"), why));
                }
            }
            let (path, port) = (&service["path"], &service["port"]);
            if is_set(path) && !text(path).starts_with('/') {
                let why = "must start with a '/'";
                errors.push(FieldError::invalid(format!("{field}.service.path"), path, why));
            }
            if port.as_i64().is_some_and(|port| !(1..=65535).contains(&port)) {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(format!("{field}.service.port"), port, why));
            }
        }
        (true, true) | (false, false) => {
            errors.push(FieldError::required(field, "exactly one of url or service is required"));
        }
    }
}

fn url(url: &Value, field: &str, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[:port]/[path]";
    let mut refuse = |value: &str, why: &str| {
        errors.push(FieldError::invalid(field, &json!(value), &format!("{why}{FORM}")));
    };
    let (scheme, rest) = text(url).split_once("://").unwrap_or(("", text(url)));
    if scheme != "https" {
        refuse(scheme, "'https' is the only allowed URL scheme");
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        refuse("", "host must be specified");
    }
    if let Some((user, _)) = host.split_once('@') {
        refuse(user, "user information is not permitted in the URL");
    }
    for (mark, why) in
        [('#', "fragments are not permitted in the URL"), ('?', "query parameters are not permitted in the URL")]
    {
        if let Some((_, part)) = rest.split_once(mark) {
            refuse(part, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn rules() -> Rules {
        let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let webhook = json!({
            "name": "a.example.com", "clientConfig": {"service": {"namespace": "n", "name": "hook"}}, "rules": [rule],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        });
        Rules::new(mutating(), json!({"metadata": {"name": "hooks"}, "webhooks": [webhook]}))
    }

    #[test]
    fn a_webhook_gets_upstreams_defaults() {
        let webhook = rules().filled()["webhooks"][0].take();
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
            ("reinvocationPolicy", json!("Never")),
        ] {
            assert_eq!(webhook[field], value, "{field}");
        }
        assert_eq!(
            (&webhook["rules"][0]["scope"], &webhook["clientConfig"]["service"]["port"]),
            (&json!("*"), &json!(443))
        );
    }

    #[test]
    fn a_webhook_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[("/webhooks/0/matchConditions", json!([{"name": "a", "expression": "true"}]))]);
        for (at, value, field, text) in [
            ("name", json!("hook"), "name", "at least three segments separated by dots"),
            ("sideEffects", json!(null), "sideEffects", "must specify one of None, NoneOnDryRun"),
            ("admissionReviewVersions", json!(["v2"]), "admissionReviewVersions", "at least one of v1, v1beta1"),
            ("timeoutSeconds", json!(31), "timeoutSeconds", "must be between 1 and 30 seconds"),
            ("clientConfig", json!({}), "clientConfig", "exactly one of url or service is required"),
            (
                "clientConfig",
                json!({"url": "http://x.io"}),
                "clientConfig.url",
                "'https' is the only allowed URL scheme",
            ),
            ("failurePolicy", json!("Cry"), "failurePolicy", "\"Fail\", \"Ignore\""),
            ("rules/0/operations", json!(["*", "CREATE"]), "rules[0].operations", "if '*' is present"),
            ("rules/0/operations", json!(["READ"]), "rules[0].operations[0]", "Unsupported value"),
            ("rules/0/resources", json!(["*/*", "pods"]), "rules[0].resources", "if '*/*' is present"),
            ("matchConditions", json!([{"name": "a"}]), "matchConditions[0].expression", "Required value"),
        ] {
            rules.one_error(&format!("/webhooks/0/{at}"), &value, &format!("webhooks[0].{field}"), text);
        }
        assert_eq!(headings(validating()), ["Name", "Webhooks", "Age"]);
        assert_eq!(cells(mutating(), &rules.filled())[1], 1);
    }
}

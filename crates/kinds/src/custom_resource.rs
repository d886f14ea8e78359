//! `apiextensions.k8s.io/v1 CustomResourceDefinition`: its names, versions and conversion. Whether its schemas are
//! sound is checked elsewhere.

use super::{
    columns::CREATED_AT,
    fields::{elements, existing_map, is_set, map_at, one_of, report, set_default, size, text},
    merge_keys, rules,
};
use orrery_api::k8s::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        has_status: true,
        counts_generation: true,
        unconditional_update: false,
        default,
        prepare_create: remember_stored_version,
        prepare_update: |_, new| remember_stored_version(new),
        validate,
        validate_part: Some(validate_part),
        columns: COLUMNS,
        merge_keys: MERGE_KEYS,
        ..super::cluster_wide::<CustomResourceDefinition>("customresourcedefinition")
    }
}

const MERGE_KEYS: &[MergeKey] = merge_keys!["spec.versions.schema.openAPIV3Schema.x-kubernetes-validations" => "rule"];

const COLUMNS: &[Column] = &[table::NAME, CREATED_AT];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    if let Some(names) = map_at(spec, "names") {
        let kind = names.get("kind").map(text).unwrap_or_default().to_owned();
        if !kind.is_empty() {
            for (field, name) in [("singular", kind.to_lowercase()), ("listKind", format!("{kind}List"))] {
                if names.get(field).is_none_or(|name| text(name).is_empty()) {
                    names.insert(field.into(), name.into());
                }
            }
        }
    }
    if let Some(conversion) = map_at(spec, "conversion") {
        set_default(conversion, "strategy", "None");
        let client = existing_map(conversion, "webhook").and_then(|webhook| existing_map(webhook, "clientConfig"));
        if let Some(service) = client.and_then(|client| existing_map(client, "service")) {
            set_default(service, "port", 443);
        }
    }
}

/// Objects may lie in every version that was ever the one to store, until somebody says otherwise.
fn remember_stored_version(object: &mut Value) {
    let stores = elements(&object["spec"]["versions"]).find(|version| version["storage"] == json!(true));
    let Some(name) = stores.map(|version| version["name"].clone()).filter(Value::is_string) else { return };
    let Some(status) = object.as_object_mut().and_then(|object| map_at(object, "status")) else { return };
    set_default(status, "storedVersions", json!([]));
    if let Some(stored) = status.get_mut("storedVersions").and_then(Value::as_array_mut)
        && !stored.contains(&name)
    {
        stored.push(name);
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate_extension(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    if meta::name(object) != format!("{}.{group}", text(&names["plural"])) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &object["metadata"]["name"], why));
    }
    if rules::required(&mut errors, "spec.group", &spec["group"]) {
        let problems = meta::dns_subdomain_problems(group);
        report(&mut errors, "spec.group", &spec["group"], &problems);
        if problems.is_empty() && !group.contains('.') {
            let why = "should be a domain with at least one dot";
            errors.push(FieldError::invalid("spec.group", &spec["group"], why));
        }
    }
    protected_group(object, &mut errors);
    rules::required_one_of(&mut errors, "spec.scope", &spec["scope"], &["Cluster", "Namespaced"]);
    if spec["preserveUnknownFields"] == json!(true) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", &json!(true), why));
    }
    self::names(names, &mut errors);
    versions(&spec["versions"], &mut errors);
    conversion(&spec["conversion"], &mut errors);
    if let Some(old) = old {
        change(object, old, &mut errors);
    }
    errors
}

fn protected_group(object: &Value, errors: &mut Vec<FieldError>) {
    const KEY: &str = "api-approved.kubernetes.io";
    let group = text(&object["spec"]["group"]);
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")));
    if protected && meta::annotation(object, KEY).unwrap_or_default().is_empty() {
        let why = format!(
            "protected groups must have approval annotation {KEY:?}, see \
             https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(format!("metadata.annotations[{KEY}]"), &why));
    }
}

fn names(names: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.names";
    for field in ["plural", "singular"] {
        rules::required_name(errors, &format!("{FIELD}.{field}"), &names[field], meta::dns_1035_label_problems);
    }
    let lower = |name: &str| meta::dns_1035_label_problems(&name.to_lowercase());
    for field in ["kind", "listKind"] {
        rules::required_name(errors, &format!("{FIELD}.{field}"), &names[field], lower);
    }
    for list in ["shortNames", "categories"] {
        for (index, name) in elements(&names[list]).enumerate() {
            let problems = meta::dns_1035_label_problems(text(name));
            report(errors, &format!("{FIELD}.{list}[{index}]"), name, &problems);
        }
    }
    if !text(&names["kind"]).is_empty() && names["kind"] == names["listKind"] {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(format!("{FIELD}.listKind"), &names["listKind"], why));
    }
}

fn versions(versions: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.versions";
    let mut seen = BTreeSet::new();
    let mut twice = false;
    for (index, version) in elements(versions).enumerate() {
        let field = format!("{FIELD}[{index}]");
        twice |= !seen.insert(text(&version["name"]));
        let problems = meta::dns_1035_label_problems(text(&version["name"]));
        report(errors, &format!("{field}.name"), &version["name"], &problems);
        if !is_set(&version["schema"]["openAPIV3Schema"]) {
            errors.push(FieldError::required(format!("{field}.schema.openAPIV3Schema"), "schemas are required"));
        }
        let warning = &version["deprecationWarning"];
        if is_set(warning) && version["deprecated"] != json!(true) {
            let why = "can only be set for deprecated versions";
            errors.push(FieldError::invalid(format!("{field}.deprecationWarning"), warning, why));
        }
        let scale = &version["subresources"]["scale"];
        for path in ["specReplicasPath", "statusReplicasPath"].into_iter().filter(|_| is_set(scale)) {
            let field = format!("{field}.subresources.scale.{path}");
            rules::required(errors, &field, &scale[path]);
        }
        for (number, column) in elements(&version["additionalPrinterColumns"]).enumerate() {
            let field = format!("{field}.additionalPrinterColumns[{number}]");
            rules::required(errors, &format!("{field}.name"), &column["name"]);
            let kinds = ["boolean", "date", "integer", "number", "string"];
            rules::required_one_of(errors, &format!("{field}.type"), &column["type"], &kinds);
            rules::required(errors, &format!("{field}.jsonPath"), &column["jsonPath"]);
        }
    }
    if twice {
        errors.push(FieldError::invalid(FIELD, versions, "must contain unique version names"));
    }
    if elements(versions).filter(|version| version["storage"] == json!(true)).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(FIELD, versions, why));
    }
}

fn conversion(conversion: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.conversion";
    one_of(errors, &format!("{FIELD}.strategy"), &conversion["strategy"], &["None", "Webhook"]);
    let webhook = &conversion["webhook"];
    match text(&conversion["strategy"]) {
        "Webhook" => {
            if !is_set(&webhook["clientConfig"]) {
                let why = "required when strategy is set to Webhook";
                errors.push(FieldError::required(format!("{FIELD}.webhookClientConfig"), why));
            }
            if size(&webhook["conversionReviewVersions"]) == 0 {
                let field = format!("{FIELD}.webhook.conversionReviewVersions");
                errors.push(FieldError::required(field, ""));
            }
        }
        "None" if is_set(webhook) => {
            let why = "should not be set when strategy is not set to Webhook";
            errors.push(FieldError::forbidden(format!("{FIELD}.webhook"), why));
        }
        _ => {}
    }
}

/// Names stay; the kind and the scope from when they are served on.
fn change(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (spec, before) = (&object["spec"], &old["spec"]);
    let mut conditions = elements(&old["status"]["conditions"]);
    if conditions.any(|condition| condition["type"] == "Established" && condition["status"] == "True") {
        rules::immutable(errors, "spec.scope", &spec["scope"], &before["scope"]);
        let kind = &spec["names"]["kind"];
        rules::immutable(errors, "spec.names.kind", kind, &before["names"]["kind"]);
    }
    rules::immutable(errors, "spec.group", &spec["group"], &before["group"]);
    let plural = &spec["names"]["plural"];
    rules::immutable(errors, "spec.names.plural", plural, &before["names"]["plural"]);
    stored_versions(object, errors);
}

fn stored_versions(object: &Value, errors: &mut Vec<FieldError>) {
    let stored = &object["status"]["storedVersions"];
    let versions = &object["spec"]["versions"];
    for (index, name) in elements(stored).enumerate() {
        if !elements(versions).any(|version| version["name"] == *name) {
            let why =
                "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions \
                       until a storage migration ensures no data remains persisted in it and removes it from \
                       status.storedVersions"
                    .replace("v1", text(name));
            errors.push(FieldError::invalid(format!("status.storedVersions[{index}]"), name, &why));
        }
    }
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate_extension(object, Some(old), false, NameRule::DnsSubdomain);
    let stored = &object["status"]["storedVersions"];
    if size(stored) == 0 {
        let why = "must have at least one stored version";
        errors.push(FieldError::invalid("status.storedVersions", stored, why));
    }
    stored_versions(object, &mut errors);
    let mut stores = elements(&object["spec"]["versions"]).filter(|version| version["storage"] == json!(true));
    if let Some(name) = stores.next().map(|version| &version["name"])
        && size(stored) > 0
        && !elements(stored).any(|stored| stored == name)
    {
        let why = format!("must have the storage version {}", text(name));
        errors.push(FieldError::invalid("status.storedVersions", stored, &why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, headings};

    fn rules() -> Rules {
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
        let spec = json!({
            "group": "x.io", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [version],
        });
        Rules::new(descriptor(), json!({"metadata": {"name": "widgets.x.io"}, "spec": spec}))
    }

    #[test]
    fn a_definition_gets_upstreams_defaults() {
        let definition = rules().filled();
        let names = json!({"plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList"});
        assert_eq!(definition["spec"]["names"], names);
        assert_eq!(definition["spec"]["conversion"], json!({"strategy": "None"}));
        assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    }

    #[test]
    fn a_definition_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[]);
        for (at, value, field, text) in [
            ("/metadata/name", json!("gadgets.x.io"), "metadata.name", "must be spec.names.plural+\".\"+spec.group"),
            ("/spec/scope", json!("World"), "spec.scope", "\"Cluster\", \"Namespaced\""),
            ("/spec/names/singular", json!("A"), "spec.names.singular", "a DNS-1035 label must"),
            (
                "/spec/versions/0/storage",
                json!(false),
                "spec.versions",
                "exactly one version marked as storage version",
            ),
            ("/spec/versions/0/schema", json!(null), "spec.versions[0].schema.openAPIV3Schema", "schemas are required"),
            ("/spec/conversion", json!({"strategy": "Magic"}), "spec.conversion.strategy", "\"None\", \"Webhook\""),
        ] {
            rules.one_error(at, &value, field, text);
        }
        let approved = "metadata.annotations[api-approved.kubernetes.io]";
        let ours = rules.with(&[("/spec/group", json!("x.k8s.io")), ("/metadata/name", json!("widgets.x.k8s.io"))]);
        assert_eq!(validate(&ours, None)[0].field, approved);
        let other =
            json!([{"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]);
        rules.change(
            "/spec/versions",
            &other,
            Some(("status.storedVersions[0]", "missing from spec.versions; v1 was")),
        );
        rules.status(&json!({"storedVersions": []}), Some(("status.storedVersions", "at least one stored version")));
        assert_eq!(headings(descriptor()), ["Name", "Created At"]);
    }

    #[test]
    fn what_is_served_keeps_its_kind_and_scope() {
        let mut old = rules().filled();
        old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        let mut new = old.clone();
        new["spec"]["scope"] = "Cluster".into();
        assert_eq!(validate(&new, Some(&old))[0].field, "spec.scope");
    }
}

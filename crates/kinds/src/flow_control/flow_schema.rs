//! `flowcontrol.apiserver.k8s.io/v1 FlowSchema`.

use crate::{
    columns::column,
    fields::{elements, is_set, map_at, one_of, set_default, size, text, text_or},
    merge_keys, rules,
};
use orrery_api::k8s::api::flowcontrol::v1::FlowSchema;
use orrery_machinery::{
    descriptor::{Column, FixedResource, MergeKey},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::{Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        has_status: true,
        counts_generation: true,
        default: |object| {
            if let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) {
                if spec.get("matchingPrecedence") == Some(&json!(0)) {
                    spec.remove("matchingPrecedence");
                }
                set_default(spec, "matchingPrecedence", 1000);
            }
        },
        validate,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), false, NameRule::DnsSubdomain),
            _ => validate(object, Some(old)),
        }),
        columns: COLUMNS,
        merge_keys: MERGE_KEYS,
        ..crate::cluster_wide::<FlowSchema>("flowschema")
    }
}

const MERGE_KEYS: &[MergeKey] = merge_keys!["status.conditions" => "type"];

/// In full, because a column stands after the age.
const COLUMNS: &[Column] = &[
    table::NAME,
    column("PriorityLevel", 0, "Where the requests wait.", |object, _| {
        text_or(&object["spec"]["priorityLevelConfiguration"]["name"], "<none>")
    }),
    column("MatchingPrecedence", 0, "The lower, the earlier the schema is tried.", |object, _| {
        object["spec"]["matchingPrecedence"].as_i64().unwrap_or_default().into()
    }),
    column("DistinguisherMethod", 0, "What tells flows apart.", |object, _| {
        text_or(&object["spec"]["distinguisherMethod"]["type"], "<none>")
    }),
    table::AGE,
    column("MissingPL", 0, "Whether there is no such priority level.", |object, _| {
        let dangling = elements(&object["status"]["conditions"]).find(|condition| condition["type"] == "Dangling");
        dangling.map_or("?", |condition| text(&condition["status"])).into()
    }),
];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    precedence(object, &mut errors);
    let level = &spec["priorityLevelConfiguration"]["name"];
    if text(level).is_empty() {
        let why = "must reference a priority level";
        errors.push(FieldError::required("spec.priorityLevelConfiguration.name", why));
    } else {
        let field = "spec.priorityLevelConfiguration.name";
        rules::optional_name(&mut errors, field, level, meta::dns_subdomain_problems);
    }
    let method = &spec["distinguisherMethod"];
    if is_set(method) {
        let methods = ["ByNamespace", "ByUser"];
        rules::required_one_of(&mut errors, "spec.distinguisherMethod.type", &method["type"], &methods);
    }
    for (index, rule) in elements(&spec["rules"]).enumerate() {
        self::rule(rule, &format!("spec.rules[{index}]"), &mut errors);
    }
    errors
}

fn precedence(object: &Value, errors: &mut Vec<FieldError>) {
    let precedence = &object["spec"]["matchingPrecedence"];
    let problem = match precedence.as_i64().unwrap_or_default() {
        1 if meta::name(object) != "exempt" => "only the schema named 'exempt' may have matchingPrecedence 1",
        number if number <= 0 => "must be a positive value",
        number if number > 10_000 => "must not be greater than 10000",
        _ => return,
    };
    errors.push(FieldError::invalid("spec.matchingPrecedence", precedence, problem));
}

fn rule(rule: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if size(&rule["subjects"]) == 0 {
        let why = "subjects must contain at least one value";
        errors.push(FieldError::required(format!("{field}.subjects"), why));
    }
    for (index, subject) in elements(&rule["subjects"]).enumerate() {
        self::subject(subject, &format!("{field}.subjects[{index}]"), errors);
    }
    if size(&rule["resourceRules"]) + size(&rule["nonResourceRules"]) == 0 {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(field, why));
    }
    let mut some = |list: &Value, field: String, why: &str| {
        if size(list) == 0 {
            errors.push(FieldError::required(field, why));
        } else if size(list) > 1 && elements(list).any(|value| value == "*") {
            errors.push(FieldError::invalid(field, list, "if '*' is present, must not specify other values"));
        }
    };
    for (index, rule) in elements(&rule["resourceRules"]).enumerate() {
        let at = |name: &str| format!("{field}.resourceRules[{index}].{name}");
        some(&rule["verbs"], at("verbs"), "verbs must contain at least one value");
        some(&rule["apiGroups"], at("apiGroups"), "resource rules must supply at least one api group");
        some(&rule["resources"], at("resources"), "resource rules must supply at least one resource");
        if rule["clusterScope"] != json!(true) {
            let why = "resource rules that are not cluster scoped must supply at least one namespace";
            some(&rule["namespaces"], at("namespaces"), why);
        }
    }
    for (index, rule) in elements(&rule["nonResourceRules"]).enumerate() {
        let at = |name: &str| format!("{field}.nonResourceRules[{index}].{name}");
        some(&rule["verbs"], at("verbs"), "verbs must contain at least one value");
        some(&rule["nonResourceURLs"], at("nonResourceURLs"), "nonResourceURLs must contain at least one value");
    }
}

fn subject(subject: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let kinds = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let kind = &subject["kind"];
    one_of(errors, &format!("{field}.kind"), kind, &kinds.map(|(kind, _)| kind));
    for (name, part) in kinds {
        let (given, at) = (&subject[part], format!("{field}.{part}"));
        if *kind != name {
            if is_set(given) {
                let why = format!("{part} is forbidden when subject kind is not '{name}'");
                errors.push(FieldError::forbidden(at, &why));
            }
            continue;
        }
        if !is_set(given) {
            let why = format!("{part} is required when subject kind is '{name}'");
            errors.push(FieldError::required(at, &why));
            continue;
        }
        rules::required(errors, &format!("{at}.name"), &given["name"]);
        if name == "ServiceAccount" {
            rules::required(errors, &format!("{at}.namespace"), &given["namespace"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    #[test]
    fn a_schema_follows_upstreams_rules() {
        let resource = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true});
        let rule = json!({"subjects": [{"kind": "User", "user": {"name": "u"}}], "resourceRules": [resource]});
        let spec = json!({"priorityLevelConfiguration": {"name": "low"}, "rules": [rule]});
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "s"}, "spec": spec}));
        rules.fine(&[]);
        assert_eq!(rules.filled()["spec"]["matchingPrecedence"], 1000);
        for (at, value, field, text) in [
            ("/spec/matchingPrecedence", json!(1), "spec.matchingPrecedence", "only the schema named 'exempt'"),
            ("/spec/matchingPrecedence", json!(10_001), "spec.matchingPrecedence", "must not be greater than 10000"),
            (
                "/spec/priorityLevelConfiguration/name",
                json!(""),
                "spec.priorityLevelConfiguration.name",
                "must reference a priority level",
            ),
            ("/spec/rules/0/subjects", json!([]), "spec.rules[0].subjects", "at least one value"),
            ("/spec/rules/0/resourceRules", json!([]), "spec.rules[0]", "at least one of resourceRules"),
            ("/spec/distinguisherMethod", json!({"type": "X"}), "spec.distinguisherMethod.type", "\"ByNamespace\""),
        ] {
            rules.one_error(at, &value, field, text);
        }
        let expected = ["Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL"];
        assert_eq!(headings(descriptor()), expected);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..4]), json!(["low", 1000, "<none>"]));
    }
}

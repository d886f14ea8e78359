//! `rbac.authorization.k8s.io/v1`: roles and bindings.

use super::columns::{CREATED_AT, column};
use super::fields::{default_text, elements, existing_map, maps_in, one_of, size, text};
use orrery_api::k8s::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    selector::validate_label_selector,
    status::FieldError,
    table,
};
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn descriptors() -> [FixedResource; 4] {
    [
        FixedResource {
            create_on_update: true,
            validate: |object, old| validate_role(object, old, true),
            columns: ROLE_COLUMNS,
            ..super::namespaced::<Role>("role")
        },
        FixedResource {
            create_on_update: true,
            validate: |object, old| validate_role(object, old, false),
            columns: ROLE_COLUMNS,
            ..super::cluster_wide::<ClusterRole>("clusterrole")
        },
        FixedResource {
            create_on_update: true,
            default: default_binding,
            validate: |object, old| validate_binding(object, old, true),
            columns: BINDING_COLUMNS,
            ..super::namespaced::<RoleBinding>("rolebinding")
        },
        FixedResource {
            create_on_update: true,
            default: default_binding,
            validate: |object, old| validate_binding(object, old, false),
            columns: BINDING_COLUMNS,
            ..super::cluster_wide::<ClusterRoleBinding>("clusterrolebinding")
        },
    ]
}

/// In full: roles show when they were created, not how long ago.
const ROLE_COLUMNS: &[Column] = &[table::NAME, CREATED_AT];

const BINDING_COLUMNS: &[Column] = &[
    column("Role", 0, "The role that is granted", |binding, _| {
        let role = &binding["roleRef"];
        format!("{}/{}", text(&role["kind"]), text(&role["name"])).into()
    }),
    column("Users", 1, "Users in the binding", |binding, _| subjects(binding, "User")),
    column("Groups", 1, "Groups in the binding", |binding, _| subjects(binding, "Group")),
    column("ServiceAccounts", 1, "ServiceAccounts in the binding", |binding, _| subjects(binding, "ServiceAccount")),
];

fn subjects(binding: &Value, kind: &str) -> Value {
    let of_kind = elements(&binding["subjects"]).filter(|subject| subject["kind"] == kind);
    let name = |subject: &Value| match kind {
        "ServiceAccount" => format!("{}/{}", text(&subject["namespace"]), text(&subject["name"])),
        _ => text(&subject["name"]).to_owned(),
    };
    of_kind.map(name).collect::<Vec<_>>().join(", ").into()
}

fn default_binding(object: &mut Value) {
    let Some(binding) = object.as_object_mut() else { return };
    if let Some(role) = existing_map(binding, "roleRef") {
        default_text(role, "apiGroup", GROUP);
    }
    for subject in maps_in(binding, "subjects") {
        let person = matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group"));
        if person {
            default_text(subject, "apiGroup", GROUP);
        }
    }
}

fn validate_role(object: &Value, old: Option<&Value>, namespaced: bool) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, namespaced, NameRule::PathSegment);
    for (index, rule) in elements(&object["rules"]).enumerate() {
        validate_rule(rule, &format!("rules[{index}]"), namespaced, &mut errors);
    }
    let aggregation = &object["aggregationRule"];
    if aggregation.is_object() {
        let selectors = &aggregation["clusterRoleSelectors"];
        if size(selectors) == 0 {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required("aggregationRule.clusterRoleSelectors", why));
        }
        for (index, selector) in elements(selectors).enumerate() {
            let field = format!("aggregationRule.clusterRoleSelectors[{index}]");
            errors.extend(validate_label_selector(selector, &field));
        }
    }
    errors
}

fn validate_rule(rule: &Value, field: &str, namespaced: bool, errors: &mut Vec<FieldError>) {
    let has = |list: &str| size(&rule[list]) > 0;
    if !has("verbs") {
        errors.push(FieldError::required(format!("{field}.verbs"), "verbs must contain at least one value"));
    }
    if has("nonResourceURLs") {
        let field = format!("{field}.nonResourceURLs");
        let mut refuse = |why| errors.push(FieldError::invalid(field.as_str(), &rule["nonResourceURLs"], why));
        if namespaced {
            refuse("namespaced rules cannot apply to non-resource URLs");
        }
        if has("apiGroups") || has("resources") || has("resourceNames") {
            refuse("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if !has("apiGroups") {
        let why = "resource rules must supply at least one api group";
        errors.push(FieldError::required(format!("{field}.apiGroups"), why));
    }
    if !has("resources") {
        let why = "resource rules must supply at least one resource";
        errors.push(FieldError::required(format!("{field}.resources"), why));
    }
}

fn validate_binding(object: &Value, old: Option<&Value>, namespaced: bool) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, namespaced, NameRule::PathSegment);
    let role = &object["roleRef"];
    one_of(&mut errors, "roleRef.apiGroup", &role["apiGroup"], &[GROUP]);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if text(&role["kind"]).is_empty() {
        errors.push(FieldError::not_supported("roleRef.kind", &json!(""), kinds));
    } else {
        one_of(&mut errors, "roleRef.kind", &role["kind"], kinds);
    }
    match text(&role["name"]) {
        "" => errors.push(FieldError::required("roleRef.name", "")),
        name => super::fields::report(&mut errors, "roleRef.name", &role["name"], &meta::path_segment_problems(name)),
    }
    for (index, subject) in elements(&object["subjects"]).enumerate() {
        validate_subject(subject, &format!("subjects[{index}]"), &mut errors);
    }
    if let Some(old) = old
        && old["roleRef"] != *role
    {
        errors.push(FieldError::invalid("roleRef", role, "cannot change roleRef"));
    }
    errors
}

fn validate_subject(subject: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let name = text(&subject["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(format!("{field}.name"), ""));
    }
    let group = format!("{field}.apiGroup");
    match text(&subject["kind"]) {
        "ServiceAccount" => {
            let problems = if name.is_empty() { Vec::new() } else { meta::dns_subdomain_problems(name) };
            super::fields::report(errors, &format!("{field}.name"), &subject["name"], &problems);
            one_of(errors, &group, &subject["apiGroup"], &[""]);
            if text(&subject["namespace"]).is_empty() {
                errors.push(FieldError::required(format!("{field}.namespace"), ""));
            }
        }
        "User" | "Group" => one_of(errors, &group, &subject["apiGroup"], &[GROUP]),
        _ => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(format!("{field}.kind"), &subject["kind"], &kinds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|e| e.field).collect()
    }

    fn binding(role: &Value, subjects: &Value) -> Value {
        let mut binding =
            json!({"metadata": {"name": "system:x", "namespace": "n"}, "roleRef": role, "subjects": subjects});
        default_binding(&mut binding);
        binding
    }

    #[test]
    fn a_rule_is_about_resources_or_about_paths() {
        let table = [
            (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}), vec![]),
            (json!({"apiGroups": [""], "resources": ["pods"]}), vec!["rules[0].verbs"]),
            (json!({"verbs": ["get"]}), vec!["rules[0].apiGroups", "rules[0].resources"]),
            (json!({"verbs": ["get"], "nonResourceURLs": ["/x"]}), vec!["rules[0].nonResourceURLs"]),
        ];
        for (rule, expected) in table {
            let role = json!({"metadata": {"name": "a:b", "namespace": "n"}, "rules": [rule]});
            assert_eq!(fields(validate_role(&role, None, true)), expected, "{rule}");
        }
        let cluster = json!({"metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]});
        assert_eq!(validate_role(&cluster, None, false), []);
    }

    #[test]
    fn a_binding_names_its_role_and_its_subjects() {
        let role = json!({"kind": "Role", "name": "r"});
        let table = [
            (role.clone(), json!([{"kind": "User", "name": "u"}]), vec![]),
            (role.clone(), json!([{"kind": "ServiceAccount", "name": "s", "namespace": "n"}]), vec![]),
            (role.clone(), json!([{"kind": "ServiceAccount", "name": "s"}]), vec!["subjects[0].namespace"]),
            (role.clone(), json!([{"kind": "Robot", "name": "x"}]), vec!["subjects[0].kind"]),
            (role, json!([{"kind": "User"}]), vec!["subjects[0].name"]),
            (json!({"kind": "Rule"}), json!([]), vec!["roleRef.kind", "roleRef.name"]),
        ];
        for (role, subjects, expected) in table {
            assert_eq!(fields(validate_binding(&binding(&role, &subjects), None, true)), expected, "{role} {subjects}");
        }
    }

    #[test]
    fn the_role_of_a_binding_does_not_change() {
        let of = |name: &str| binding(&json!({"kind": "ClusterRole", "name": name}), &json!([]));
        let errors = validate_binding(&of("b"), Some(&of("a")), true);
        assert!(errors[0].message.ends_with("cannot change roleRef"), "{}", errors[0].message);
        assert_eq!(validate_binding(&of("a"), Some(&of("a")), true), []);
    }

    #[test]
    fn the_wide_table_lists_the_subjects_by_kind() {
        let subjects = json!([
            {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
        ]);
        let binding = binding(&json!({"kind": "Role", "name": "r"}), &subjects);
        let cells: Vec<Value> = BINDING_COLUMNS.iter().map(|column| (column.cell)(&binding, 0)).collect();
        assert_eq!(cells, [json!("Role/r"), json!("u, v"), json!(""), json!("n/s")]);
    }
}

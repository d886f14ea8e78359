//! Nobody grants what they do not hold: roles may hold only rules that the writer has, and bindings may bind only roles
//! whose rules the writer has, unless the verbs `escalate` and `bind` were granted for them.

use super::{
    GROUP,
    rules::{Binding, Rule, rules_of},
};
use crate::auth::{Attributes, Authorizer, MASTERS, User};

use orrery_machinery::{
    meta,
    status::{ApiError, Target},
};
use serde_json::Value;

/// Checks a write of a role or binding; other resources pass.
pub(crate) async fn check_escalation(
    authorizer: &Authorizer,
    user: &User,
    resource: &str,
    new: &Value,
) -> Result<(), ApiError> {
    if user.is_in(MASTERS) {
        return Ok(());
    }
    let namespace = meta::namespace(new);
    let (verb, target, name, rules) = match resource {
        "roles" | "clusterroles" => ("escalate", resource, meta::name(new).to_owned(), rules_of(new)),
        "rolebindings" | "clusterrolebindings" => {
            let binding = Binding::of(new);
            let target = if binding.role.kind == "Role" { "roles" } else { "clusterroles" };
            let rules = authorizer.rbac().role(namespace, &binding.role);
            ("bind", target, binding.role.name, rules)
        }
        _ => return Ok(()),
    };
    let asked = Attributes::resource(user.clone(), verb, GROUP, target, namespace, &name);
    if authorizer.authorize(&asked).await.is_ok() {
        return Ok(());
    }
    let held = authorizer.rbac().rules_for(user, namespace);
    let missing: Vec<&Rule> = rules.iter().filter(|rule| !covered(rule, &held)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing.iter().map(|rule| rule.to_json().to_string()).collect();
    let why = format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held: {}",
        user.name(),
        user.groups(),
        list.join("; ")
    );
    Err(ApiError::forbidden(Target { group: GROUP, resource, name: meta::name(new) }, &why))
}

/// Whether everything that `rule` grants is granted by the held rules: the rule is broken into its single grants, each of
/// which one held rule must cover.
fn covered(rule: &Rule, held: &[Rule]) -> bool {
    let names: Vec<Option<&String>> =
        if rule.resource_names.is_empty() { vec![None] } else { rule.resource_names.iter().map(Some).collect() };
    let covers = |list: &[String], value: &str| list.iter().any(|item| item == "*" || item == value);
    rule.verbs.iter().all(|verb| {
        let resources = rule.api_groups.iter().all(|group| {
            rule.resources.iter().all(|resource| {
                names.iter().all(|name| {
                    held.iter().any(|own| {
                        covers(&own.verbs, verb)
                            && covers(&own.api_groups, group)
                            && resource_covered(&own.resources, resource)
                            && match name {
                                None => own.resource_names.is_empty(),
                                Some(name) => own.resource_names.is_empty() || own.resource_names.contains(name),
                            }
                    })
                })
            })
        });
        let paths = rule.non_resource_urls.iter().all(|path| {
            held.iter()
                .any(|own| covers(&own.verbs, verb) && own.non_resource_urls.iter().any(|o| path_covered(o, path)))
        });
        resources && paths
    })
}

fn resource_covered(held: &[String], resource: &str) -> bool {
    let sub = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    held.iter().any(|own| own == "*" || own == resource || sub.as_ref() == Some(own))
}

fn path_covered(held: &str, path: &str) -> bool {
    held == path || held.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(value: &Value) -> Vec<Rule> {
        rules_of(&json!({"rules": value}))
    }

    #[test]
    fn a_rule_is_covered_when_each_single_grant_is() {
        let held = rules(&json!([
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["*/log"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]},
            {"verbs": ["get"], "nonResourceURLs": ["/logs/*"]},
        ]));
        let table = [
            (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]}), true),
            (json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}), false),
            (json!({"verbs": ["get"], "apiGroups": ["", "apps"], "resources": ["pods"]}), false),
            (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]}), true),
            (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}), false),
            (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}), true),
            (json!({"verbs": ["get"], "nonResourceURLs": ["/logs/x"]}), true),
            (json!({"verbs": ["get"], "nonResourceURLs": ["*"]}), false),
        ];
        for (rule, expected) in table {
            let parsed = rules(&json!([rule.clone()]));
            assert_eq!(covered(&parsed[0], &held), expected, "{rule}");
        }
    }
}

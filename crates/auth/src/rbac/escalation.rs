//! Nobody grants what they do not hold: roles may hold only rules that the writer has, and bindings may bind only roles
//! whose rules the writer has, unless the verbs `escalate` and `bind` were granted for them. Pure.

use super::{Binding, RoleRef, Rule, rules_of};
use crate::User;
use serde_json::Value;

/// What a write of a role or binding grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Nothing that needs a right.
    Nothing,
    /// The rules of a role; who may `escalate` the role `name` of `resource` need not hold them.
    Rules {
        /// `roles` or `clusterroles`.
        resource: String,
        /// The role's name.
        name: String,
        /// What it grants.
        rules: Vec<Rule>,
    },
    /// A role, to others; who may `bind` it need not hold its rules.
    Role {
        /// `roles` or `clusterroles`.
        resource: &'static str,
        /// The role.
        role: RoleRef,
    },
}

/// What the write of an object of `resource` grants. What it granted before needs no right; only a change is a grant.
#[must_use]
pub fn grant_of(resource: &str, new: &Value, old: Option<&Value>) -> Grant {
    let same = |fields: &[&str]| old.is_some_and(|old| fields.iter().all(|field| old.get(*field) == new.get(*field)));
    match resource {
        "roles" | "clusterroles" if !same(&["rules", "aggregationRule"]) => {
            let mut rules = rules_of(new);
            if new["aggregationRule"].is_object() {
                // Whoever gathers rules by labels grants whatever any role will hold.
                let all = || vec!["*".to_owned()];
                rules.push(Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() });
                rules.push(Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() });
            }
            Grant::Rules { resource: resource.to_owned(), name: orrery_machinery::meta::name(new).to_owned(), rules }
        }
        "rolebindings" | "clusterrolebindings" if !same(&["roleRef", "subjects"]) => {
            let role = Binding::of(new).role;
            Grant::Role { resource: if role.kind == "Role" { "roles" } else { "clusterroles" }, role }
        }
        _ => Grant::Nothing,
    }
}

/// Why `user`, who holds `held`, may not grant `rules`; none when they may.
#[must_use]
pub fn refusal(user: &User, rules: &[Rule], held: &[Rule]) -> Option<String> {
    let missing: Vec<String> =
        rules.iter().filter(|rule| !covered(rule, held)).map(|rule| rule.to_json().to_string()).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name(),
            user.groups(),
            missing.join("\n")
        )
    })
}

/// Whether everything that `rule` grants is granted by the held rules: the rule is broken into its single grants, each of
/// which one held rule must cover.
#[must_use]
pub fn covered(rule: &Rule, held: &[Rule]) -> bool {
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
    use crate::Attributes;
    use proptest::prelude::*;
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

    fn words(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        prop::sample::subsequence(all, 0..=2.min(all.len()))
            .prop_map(|list| list.into_iter().map(str::to_owned).collect())
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let groups = words(&["", "apps", "*"]);
        let resources = words(&["pods", "pods/log", "*/log", "nodes", "*"]);
        (words(&["get", "list", "*"]), groups, resources, words(&["x", "y"]), words(&["/a", "/a/*", "/*", "*"]))
            .prop_map(|(verbs, api_groups, resources, resource_names, non_resource_urls)| Rule {
                verbs,
                api_groups,
                resources,
                resource_names,
                non_resource_urls,
            })
    }

    fn question() -> impl Strategy<Value = Attributes> {
        let one = |all: &'static [&'static str]| prop::sample::select(all);
        let resource = (one(&["get", "list", "x"]), one(&["", "apps", "y"]), one(&["pods", "nodes", "z"]));
        let resource = (resource, one(&["", "log", "exec"]), one(&["", "x", "z"]));
        let resource = resource.prop_map(|((verb, group, resource), sub, name)| {
            let mut asked = Attributes::resource(User::anonymous(), verb, group, resource, "", name);
            sub.clone_into(&mut asked.subresource);
            asked
        });
        let path = one(&["/a", "/a/b", "/c"]).prop_map(|path| Attributes::path(User::anonymous(), "get", path));
        prop_oneof![3 => resource, 1 => path]
    }

    proptest! {
        #[test]
        fn whatever_a_covered_rule_allows_is_allowed_by_what_is_held(
            rule in any_rule(),
            held in prop::collection::vec(any_rule(), 0..4),
            questions in prop::collection::vec(question(), 1..32),
        ) {
            if covered(&rule, &held) {
                for asked in questions.iter().filter(|asked| rule.allows(asked)) {
                    prop_assert!(held.iter().any(|own| own.allows(asked)), "{:?}", asked);
                }
            }
        }
    }

    #[test]
    fn only_a_change_is_a_grant() {
        let role = json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"]}]});
        let mut labelled = role.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(grant_of("roles", &labelled, Some(&role)), Grant::Nothing);
        assert!(matches!(grant_of("roles", &role, None), Grant::Rules { .. }));
        let binding = json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": []});
        assert_eq!(grant_of("rolebindings", &binding, Some(&binding)), Grant::Nothing);
        let Grant::Role { resource, role } = grant_of("rolebindings", &binding, None) else { panic!() };
        assert_eq!((resource, role.name.as_str()), ("roles", "r"));
        assert_eq!(grant_of("pods", &binding, None), Grant::Nothing);
    }

    #[test]
    fn whoever_gathers_rules_by_labels_grants_everything() {
        let role = json!({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": []}});
        let Grant::Rules { rules: granted, .. } = grant_of("clusterroles", &role, None) else { panic!() };
        let user = User::new("alice", ["staff"]);
        let held = rules(&json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]));
        assert!(refusal(&user, &granted, &held).unwrap().contains("nonResourceURLs"));
        let all = rules(
            &json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        );
        assert_eq!(refusal(&user, &granted, &all), None);
    }
}

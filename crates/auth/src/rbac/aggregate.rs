//! ClusterRoles that gather the rules of others by their labels. Pure.

use super::{Policy, Rule};

/// A role that does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregated {
    /// The ClusterRole.
    pub name: String,
    /// The rules that it should hold.
    pub rules: Vec<Rule>,
}

/// Which roles are to be rewritten so that each holds the rules of all that it selects: in the order of their names, each
/// rule once.
#[must_use]
pub fn aggregate(policy: &Policy) -> Vec<Aggregated> {
    let mut roles: Vec<_> = policy.cluster_roles().collect();
    roles.sort_by_key(|(name, _)| *name);
    let mut stale = Vec::new();
    for (name, role) in &roles {
        let Some(selectors) = &role.gathers else { continue };
        let mut rules: Vec<Rule> = Vec::new();
        let selected = roles.iter().filter(|(other, role)| {
            other != name && selectors.iter().any(|selector| selector.matches_labels(Some(&role.labels)))
        });
        for rule in selected.flat_map(|(_, role)| &role.rules) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        if rules != role.rules {
            stale.push(Aggregated { name: (*name).clone(), rules });
        }
    }
    stale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{StoredRole, bootstrap};
    use serde_json::json;

    /// Carries out what is to be rewritten until nothing is.
    fn settle(policy: &mut Policy, objects: &mut std::collections::BTreeMap<String, serde_json::Value>) -> usize {
        for round in 0..10 {
            let stale = aggregate(policy);
            if stale.is_empty() {
                return round;
            }
            for Aggregated { name, rules } in stale {
                let object = objects.get_mut(&name).unwrap();
                object["rules"] = rules.iter().map(Rule::to_json).collect();
                policy.put_role("", &name, StoredRole::of(object));
            }
        }
        panic!("it never settles");
    }

    #[test]
    fn view_is_in_edit_and_edit_is_in_admin_and_what_users_label_is_too() {
        let mut objects: std::collections::BTreeMap<String, _> = bootstrap::objects()
            .into_iter()
            .filter(|object| object.plural == "clusterroles")
            .map(|object| (object.object["metadata"]["name"].as_str().unwrap().to_owned(), object.object))
            .collect();
        objects.insert(
            "widgets".to_owned(),
            json!({"metadata": {"name": "widgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
                "rules": [{"verbs": ["get"], "apiGroups": ["test.io"], "resources": ["widgets"]}]}),
        );
        let mut policy = Policy::default();
        for (name, object) in &objects {
            policy.put_role("", name, StoredRole::of(object));
        }
        assert!(settle(&mut policy, &mut objects) <= 3);
        let holds = |role: &str, rule: &str| objects[role]["rules"].to_string().contains(rule);
        for role in ["view", "edit", "admin"] {
            assert!(holds(role, "widgets") && holds(role, "pods/log"), "{role}");
        }
        assert!(!holds("view", "secrets") && holds("edit", "secrets") && holds("admin", "secrets"));
        assert!(!holds("edit", "rolebindings") && holds("admin", "rolebindings"));
    }

    #[test]
    fn a_role_that_selects_nothing_holds_nothing() {
        let mut policy = Policy::default();
        let role = json!({"aggregationRule": {"clusterRoleSelectors": []},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        policy.put_role("", "a", StoredRole::of(&role));
        assert_eq!(aggregate(&policy), [Aggregated { name: "a".into(), rules: Vec::new() }]);
    }
}

//! Rules, roles and bindings, and what they allow. Pure.

use crate::auth::{Attributes, User};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// A rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) api_groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    pub(crate) non_resource_urls: Vec<String>,
}

impl Rule {
    /// Whether the rule allows what is asked.
    pub(crate) fn allows(&self, asked: &Attributes) -> bool {
        if !has(&self.verbs, &asked.verb) {
            return false;
        }
        if let Some(path) = &asked.path {
            return self.non_resource_urls.iter().any(|pattern| path_matches(pattern, path));
        }
        has(&self.api_groups, &asked.group)
            && self.resources.iter().any(|pattern| resource_matches(pattern, &asked.resource, &asked.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&asked.name))
    }

    /// The rule as JSON, for `SelfSubjectRulesReview`.
    pub(crate) fn to_json(&self) -> Value {
        let mut rule = serde_json::Map::new();
        let fields = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        for (name, list) in fields {
            if !list.is_empty() {
                rule.insert(name.to_owned(), list.clone().into());
            }
        }
        Value::Object(rule)
    }
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == "*" || item == value)
}

fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some(("*", sub)) => sub == subresource,
        Some((own, sub)) => own == resource && sub == subresource,
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

/// The rules of a Role or ClusterRole.
pub(crate) fn rules_of(role: &Value) -> Vec<Rule> {
    role["rules"]
        .as_array()
        .map_or_else(Vec::new, |rules| rules.iter().filter_map(|rule| Rule::deserialize(rule).ok()).collect())
}

/// Whom a binding binds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Subject {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self.kind.as_str() {
            "User" => user.name() == self.name,
            "Group" => user.is_in(&self.name),
            "ServiceAccount" => user.name() == format!("system:serviceaccount:{}:{}", self.namespace, self.name),
            _ => false,
        }
    }
}

/// Which role a binding gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RoleRef {
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Where it holds; everywhere when empty.
    pub(crate) namespace: String,
    pub(crate) role: RoleRef,
    pub(crate) subjects: Vec<Subject>,
}

impl Binding {
    /// A binding out of its object.
    pub(crate) fn of(object: &Value) -> Self {
        let subjects = object["subjects"].as_array().cloned().unwrap_or_default();
        Self {
            namespace: orrery_machinery::meta::namespace(object).to_owned(),
            role: RoleRef::deserialize(&object["roleRef"]).unwrap_or_default(),
            subjects: subjects.iter().filter_map(|subject| Subject::deserialize(subject).ok()).collect(),
        }
    }
}

/// All roles and bindings, by their keys in the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    /// Rules by (namespace, name); the namespace of a ClusterRole is empty.
    pub(crate) roles: HashMap<(String, String), Vec<Rule>>,
    /// Bindings by the key that they are stored under.
    pub(crate) bindings: HashMap<String, Binding>,
}

impl Policy {
    /// The rules of a role as a binding in `namespace` names it.
    pub(crate) fn role(&self, namespace: &str, role: &RoleRef) -> &[Rule] {
        let namespace = if role.kind == "Role" { namespace } else { "" };
        self.roles.get(&(namespace.to_owned(), role.name.clone())).map_or(&[], Vec::as_slice)
    }

    /// The rules that hold for `user` in `namespace` (none: only those that hold everywhere).
    pub(crate) fn rules_for<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.bindings
            .values()
            .filter(move |binding| binding.namespace.is_empty() || binding.namespace == namespace)
            .filter(move |binding| binding.subjects.iter().any(|subject| subject.is(user)))
            .flat_map(move |binding| self.role(&binding.namespace, &binding.role))
    }

    /// Whether any rule allows what is asked. Paths that are no resources are granted by ClusterRoleBindings only.
    pub(crate) fn allows(&self, asked: &Attributes) -> bool {
        self.rules_for(&asked.user, &asked.namespace).any(|rule| rule.allows(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        let reader = json!({"rules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
            {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["*"], "resourceNames": ["web"]},
            {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]},
        ]});
        policy.roles.insert((String::new(), "reader".into()), rules_of(&reader));
        let writer = json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale", "configmaps"]}]});
        policy.roles.insert(("demo".into(), "writer".into()), rules_of(&writer));
        let bindings = [
            json!({"metadata": {}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "User", "name": "alice"}]}),
            json!({"metadata": {"namespace": "demo"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "Group", "name": "devs"}]}),
            json!({"metadata": {"namespace": "demo"}, "roleRef": {"kind": "Role", "name": "writer"},
                "subjects": [{"kind": "ServiceAccount", "namespace": "demo", "name": "robot"}]}),
            json!({"metadata": {"namespace": "other"}, "roleRef": {"kind": "Role", "name": "writer"},
                "subjects": [{"kind": "User", "name": "alice"}]}),
        ];
        for (index, binding) in bindings.iter().enumerate() {
            policy.bindings.insert(index.to_string(), Binding::of(binding));
        }
        policy
    }

    fn ask(user: &User, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let mut asked = Attributes::resource(user.clone(), verb, group, resource, namespace, name);
        asked.subresource = subresource.into();
        asked
    }

    #[test]
    fn rules_allow_what_they_say_and_nothing_else() {
        let alice = User::new("alice", ["staff"]);
        let dev = User::new("bob", ["devs"]);
        let robot = User::new("system:serviceaccount:demo:robot", Vec::<String>::new());
        let table: [(&User, &str, &str, &str, &str, &str, bool); 14] = [
            (&alice, "get", "", "pods", "demo", "a", true),
            (&alice, "list", "", "pods", "", "", true),
            (&alice, "get", "", "pods/log", "demo", "a", true),
            (&alice, "get", "", "pods/exec", "demo", "a", false),
            (&alice, "delete", "", "pods", "demo", "a", false),
            (&alice, "get", "apps", "deployments", "demo", "web", true),
            (&alice, "get", "apps", "deployments", "demo", "db", false),
            (&alice, "list", "apps", "deployments", "demo", "", false),
            (&alice, "create", "", "configmaps", "other", "", false),
            (&dev, "get", "", "pods", "demo", "a", true),
            (&dev, "get", "", "pods", "other", "a", false),
            (&dev, "list", "", "pods", "", "", false),
            (&robot, "patch", "apps", "deployments/scale", "demo", "x", true),
            (&robot, "patch", "apps", "deployments", "demo", "x", false),
        ];
        for (user, verb, group, resource, namespace, name, expected) in table {
            let asked = ask(user, verb, group, resource, namespace, name);
            assert_eq!(policy().allows(&asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_role_that_is_missing_allows_nothing() {
        let alice = User::new("alice", ["staff"]);
        assert!(!policy().allows(&ask(&alice, "create", "", "configmaps", "other", "")));
    }

    #[test]
    fn paths_are_allowed_by_exact_name_or_prefix() {
        let alice = User::new("alice", ["staff"]);
        for (path, expected) in [("/metrics", true), ("/metrics/x", false), ("/logs/a/b", true), ("/version", false)] {
            assert_eq!(policy().allows(&Attributes::path(alice.clone(), "get", path)), expected, "{path}");
        }
    }
}

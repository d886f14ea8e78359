//! Reading the tables.

use super::{Bootstrap, CONTROLLER};
use crate::rbac::{GROUP, Rule};
use serde_json::{Map, Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
/// Says that an object is from here.
const LABEL: &str = "kubernetes.io/bootstrapping";

/// The label of what the controllers that ship with the server hold.
const TO_CONTROLLERS: &str = "orrery.dev/aggregate-to-controllers";

/// A role of a table.
#[derive(Debug, Default)]
pub(super) struct Role {
    /// Empty for a ClusterRole.
    namespace: String,
    name: String,
    binding_name: Option<String>,
    /// (kind, name) of those who have it.
    to: Vec<(String, String)>,
    labels: Vec<String>,
    gathers: Option<String>,
    rules: Vec<Rule>,
}

/// The roles of a table.
///
/// # Panics
/// When the table is malformed; tests read all of them.
pub(super) fn parse(text: &str) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').expect("a line of a table of roles has two parts");
        let rest = rest.trim();
        if let Some(role) = head(word, rest) {
            roles.push(role);
            continue;
        }
        let role = roles.last_mut().expect("a table of roles begins with a role");
        match word {
            "to" => {
                let (kind, name) = rest.split_once(' ').expect("a subject has a kind and a name");
                role.to.push((kind.to_owned(), name.to_owned()));
            }
            "bound" => role.binding_name = Some(rest.to_owned()),
            "label" => role.labels.push(rest.to_owned()),
            "gathers" => role.gathers = Some(rest.to_owned()),
            "allow" => role.rules.push(rule(rest)),
            other => panic!("a table of roles has no word {other:?}"),
        }
    }
    roles
}

fn head(word: &str, rest: &str) -> Option<Role> {
    let (namespace, name) = match word {
        "ClusterRole" => ("", rest),
        "Role" => rest.split_once(' ').expect("a role has a namespace and a name"),
        _ => return None,
    };
    let mut role = Role { namespace: namespace.to_owned(), name: name.to_owned(), ..Role::default() };
    if let (true, Some(account)) = (namespace.is_empty(), name.strip_prefix(CONTROLLER)) {
        role.to.push(("ServiceAccount".to_owned(), format!("kube-system/{account}")));
        role.labels.push(TO_CONTROLLERS.to_owned());
    }
    Some(role)
}

fn rule(text: &str) -> Rule {
    let parts: Vec<Vec<String>> =
        text.split(" : ").map(|part| part.split_whitespace().flat_map(words).collect()).collect();
    match parts.as_slice() {
        [verbs, paths] => Rule { verbs: verbs.clone(), non_resource_urls: paths.clone(), ..Rule::default() },
        [verbs, groups, resources, names @ ..] => Rule {
            verbs: verbs.clone(),
            api_groups: groups
                .iter()
                .map(|group| if group == "core" { String::new() } else { group.clone() })
                .collect(),
            resources: resources.clone(),
            resource_names: names.first().cloned().unwrap_or_default(),
            ..Rule::default()
        },
        _ => panic!("a rule has two to four parts: {text:?}"),
    }
}

fn words(word: &str) -> Vec<String> {
    let list = match word {
        "@read" => READ,
        "@write" => WRITE,
        other => return vec![other.to_owned()],
    };
    list.iter().map(|word| (*word).to_owned()).collect()
}

impl Role {
    fn metadata(&self, name: &str, labels: &[String]) -> Value {
        let mut all: Map<String, Value> = labels.iter().map(|key| (key.clone(), json!("true"))).collect();
        all.insert(LABEL.to_owned(), json!("rbac-defaults"));
        let mut metadata = json!({"name": name, "labels": all, "annotations": {super::reconcile::AUTOUPDATE: "true"}});
        if !self.namespace.is_empty() {
            metadata["namespace"] = json!(self.namespace);
        }
        metadata
    }

    fn kinds(&self) -> (&'static str, &'static str, &'static str, &'static str) {
        if self.namespace.is_empty() {
            ("ClusterRole", "clusterroles", "ClusterRoleBinding", "clusterrolebindings")
        } else {
            ("Role", "roles", "RoleBinding", "rolebindings")
        }
    }

    pub(super) fn object(&self) -> Bootstrap {
        let (kind, plural, ..) = self.kinds();
        let rules: Vec<Value> = self.rules.iter().map(Rule::to_json).collect();
        let mut object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind,
            "metadata": self.metadata(&self.name, &self.labels), "rules": rules});
        if let Some(label) = &self.gathers {
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        }
        Bootstrap { plural, object }
    }

    pub(super) fn binding(&self) -> Option<Bootstrap> {
        if self.to.is_empty() {
            return None;
        }
        let (role, _, kind, plural) = self.kinds();
        let subjects: Vec<Value> = self.to.iter().map(|(kind, name)| subject(kind, name)).collect();
        let name = self.binding_name.as_deref().unwrap_or(&self.name);
        let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": self.metadata(name, &[]),
            "roleRef": {"apiGroup": GROUP, "kind": role, "name": self.name}, "subjects": subjects});
        Some(Bootstrap { plural, object })
    }
}

fn subject(kind: &str, name: &str) -> Value {
    match name.split_once('/') {
        Some((namespace, name)) => json!({"kind": kind, "namespace": namespace, "name": name}),
        None => json!({"kind": kind, "apiGroup": GROUP, "name": name}),
    }
}

//! Rules of roles, and what they allow. Pure.

use crate::Attributes;
use serde::Deserialize;
use serde_json::Value;

/// A rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// What may be done; `*` for everything.
    pub verbs: Vec<String>,
    /// In which API groups; the core group is the empty text.
    pub api_groups: Vec<String>,
    /// With which resources, as `pods`, `pods/log`, `*/scale` or `*`.
    pub resources: Vec<String>,
    /// With which objects; all when empty.
    pub resource_names: Vec<String>,
    /// Or with which paths that are no resources; a last `*` stands for anything.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// Whether the rule allows what is asked.
    #[must_use]
    pub fn allows(&self, asked: &Attributes) -> bool {
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

    /// The rule as JSON, without what is empty.
    #[must_use]
    pub fn to_json(&self) -> Value {
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
        Some((_, "")) => false,
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
#[must_use]
pub fn rules_of(role: &Value) -> Vec<Rule> {
    role["rules"]
        .as_array()
        .map_or_else(Vec::new, |rules| rules.iter().filter_map(|rule| Rule::deserialize(rule).ok()).collect())
}

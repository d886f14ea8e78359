//! Which requests are written down, and how much of each: the first rule that fits a request decides. Pure; the rules are
//! upstream's (<https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>).

use super::Stage;
use crate::User;
use serde::Deserialize;

/// How much of a request is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who asked what and how it ended.
    Metadata,
    /// And the request's object.
    Request,
    /// And the response's object.
    RequestResponse,
}

impl Level {
    /// As the log writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// Why a policy is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is no YAML of a policy.
    #[error("the audit policy is malformed")]
    Malformed(#[source] serde_yaml_ng::Error),
    /// It contradicts itself.
    #[error("the audit policy is of no use: {}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// A policy: `kind: Policy` of `audit.k8s.io/v1`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditPolicy {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[allow(dead_code, reason = "a policy file may have a name")]
    metadata: serde_yaml_ng::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Rule {
    level: Option<Level>,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Resources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What a policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks; the one who proved it, not whom they act as.
    pub user: &'a User,
    /// Such as `get`.
    pub verb: &'a str,
    /// (group, resource, sub-resource, namespace, name); none for a path that is no resource.
    pub resource: Option<[&'a str; 5]>,
    /// The path.
    pub path: &'a str,
}

/// What a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decided {
    /// How much is written down.
    pub level: Level,
    omitted: [bool; 4],
    /// Whether `metadata.managedFields` of objects are left out.
    pub omit_managed_fields: bool,
}

impl Decided {
    /// Whether this stage is written down.
    #[must_use]
    pub fn writes(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omitted[stage as usize]
    }
}

impl Default for AuditPolicy {
    /// Who did what, without objects, so that no secret gets into the log; without what is asked all the time and changes
    /// nothing.
    fn default() -> Self {
        Self::parse(include_str!("default-policy.yaml")).expect("the default policy is tested")
    }
}

impl AuditPolicy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// When it is no policy, or contradicts itself; all contradictions together.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_yaml_ng::from_str(text).map_err(PolicyError::Malformed)?;
        let mut mistakes = Vec::new();
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            mistakes
                .push(format!("it is a {} of {}, not a Policy of audit.k8s.io/v1", policy.kind, policy.api_version));
        }
        if policy.rules.is_empty() {
            mistakes.push("it has no rules, so that nothing would be written down".to_owned());
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            mistakes.extend(rule.mistakes().into_iter().map(|what| format!("rules[{index}]: {what}")));
        }
        if mistakes.is_empty() { Ok(policy) } else { Err(PolicyError::Invalid(mistakes)) }
    }

    /// How much of a request is written down.
    #[must_use]
    pub fn decide(&self, asked: &Asked<'_>) -> Decided {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(asked)) else { return Decided::default() };
        let mut omitted = [false; 4];
        for stage in self.omit_stages.iter().chain(&rule.omit_stages) {
            omitted[*stage as usize] = true;
        }
        Decided {
            level: rule.level.unwrap_or_default(),
            omitted,
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

fn lists(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == value)
}

impl Rule {
    fn mistakes(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.level.is_none() {
            all.push("level is missing; it is None, Metadata, Request or RequestResponse".to_owned());
        }
        if !self.non_resource_urls.is_empty() && (!self.resources.is_empty() || !self.namespaces.is_empty()) {
            all.push("a rule is for nonResourceURLs or for resources and namespaces, not for both".to_owned());
        }
        for url in &self.non_resource_urls {
            let star = url.find('*');
            if url != "*" && (!url.starts_with('/') || star.is_some_and(|at| at + 1 != url.len())) {
                all.push(format!("nonResourceURLs: {url:?} has to begin with / and may have one * at its end"));
            }
        }
        for group in &self.resources {
            if group.group.contains('/') {
                all.push(format!("resources: {:?} is no API group; leave out the version", group.group));
            }
            if group.resources.is_empty() && !group.resource_names.is_empty() {
                all.push("resources: resourceNames without resources".to_owned());
            }
        }
        all
    }

    fn fits(&self, asked: &Asked<'_>) -> bool {
        if !self.users.is_empty() && !lists(&self.users, asked.user.name()) {
            return false;
        }
        if !self.user_groups.is_empty() && !self.user_groups.iter().any(|group| asked.user.is_in(group)) {
            return false;
        }
        if !self.verbs.is_empty() && !lists(&self.verbs, asked.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return asked.resource.is_some_and(|resource| self.fits_resource(resource));
        }
        if !self.non_resource_urls.is_empty() {
            let fits =
                |url: &String| url.strip_suffix('*').map_or(url == asked.path, |start| asked.path.starts_with(start));
            return asked.resource.is_none() && self.non_resource_urls.iter().any(fits);
        }
        true
    }

    fn fits_resource(&self, [group, resource, subresource, namespace, name]: [&str; 5]) -> bool {
        if !self.namespaces.is_empty() && !lists(&self.namespaces, namespace) {
            return false;
        }
        let fits = |pattern: &str| match pattern.split_once('/') {
            None => pattern == "*" || (pattern == resource && subresource.is_empty()),
            Some(("*", sub)) => !subresource.is_empty() && sub == subresource,
            Some((own, "*")) => own == resource,
            Some((own, sub)) => own == resource && sub == subresource,
        };
        self.resources.is_empty()
            || self.resources.iter().filter(|own| own.group == group).any(|own| {
                own.resources.is_empty()
                    || ((own.resource_names.is_empty() || lists(&own.resource_names, name))
                        && own.resources.iter().any(|pattern| fits(pattern)))
            })
    }
}

#[cfg(test)]
mod tests;

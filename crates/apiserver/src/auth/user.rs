//! The caller.

use std::fmt;

/// The group that may do anything.
pub(crate) const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// Who calls.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct User {
    name: String,
    groups: Vec<String>,
}

impl User {
    /// A user who has proved to be `name`. The group `system:authenticated` is added.
    #[must_use]
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { name: name.into(), groups }
    }

    /// A user as a review names it, with exactly these groups.
    pub(crate) fn described(name: String, groups: Vec<String>) -> Self {
        Self { name, groups }
    }

    /// The user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's groups.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether the user is in `group`.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node's name, when the user is a node's kubelet.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        if self.is_in(NODES) { self.name.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty()) } else { None }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.groups)
    }
}

/// The user whom a verified client certificate (DER) names: the common name, and organizations as groups. None when it
/// is malformed or has no common name.
pub(crate) fn from_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    Some(User::new(name, groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_of_the_nodes_group_are_nodes() {
        assert_eq!(User::new("system:node:a", ["system:nodes"]).node_name(), Some("a"));
        assert_eq!(User::new("system:node:a", ["others"]).node_name(), None);
        assert_eq!(User::new("system:node:", ["system:nodes"]).node_name(), None);
        assert_eq!(User::new("alice", ["system:nodes"]).node_name(), None);
    }
}

//! Who calls.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The group that may do anything.
pub const MASTERS: &str = "system:masters";
/// The group of everybody who has proved to be someone.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of those who have not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of those who have not.
pub const ANONYMOUS: &str = "system:anonymous";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
const ACCOUNTS: &str = "system:serviceaccounts";

/// Who calls: a name, an id where there is one, groups, and what the proof says besides. Clones share one allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct User(Arc<Fields>);

#[derive(Clone, PartialEq, Eq)]
struct Fields {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user who has proved to be `name`. The group `system:authenticated` is added.
    #[must_use]
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self::described(name, groups)
    }

    /// A user as a review or an impersonation names it, with exactly these groups.
    #[must_use]
    pub fn described(name: impl Into<String>, groups: Vec<String>) -> Self {
        Self(Arc::new(Fields { name: name.into(), uid: String::new(), groups, extra: BTreeMap::new() }))
    }

    /// Somebody who has proved nothing.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::described(ANONYMOUS, vec![UNAUTHENTICATED.to_owned()])
    }

    /// A service account, with the groups of all of them and of those of its namespace.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")];
        Self::new(format!("{ACCOUNT_PREFIX}{namespace}:{name}"), groups)
    }

    /// The same user with an id.
    #[must_use]
    pub fn with_uid(mut self, uid: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).uid = uid.into();
        self
    }

    /// The same user with what the proof says besides.
    #[must_use]
    pub fn with_extra(mut self, extra: BTreeMap<String, Vec<String>>) -> Self {
        Arc::make_mut(&mut self.0).extra = extra;
        self
    }

    /// The user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The user's id; empty when the proof names none.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.uid
    }

    /// The user's groups.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.0.groups
    }

    /// What the proof says besides, such as the pod that a token is bound to.
    #[must_use]
    pub fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0.extra
    }

    /// Whether the user is in `group`.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups().iter().any(|own| own == group)
    }

    /// The node's name, when the user is a node's kubelet.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        if self.is_in(NODES) { self.name().strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty()) } else { None }
    }

    /// `(namespace, name)` of the account, when the user's name is a service account's.
    #[must_use]
    pub fn account(&self) -> Option<(&str, &str)> {
        split_account(self.name())
    }
}

/// `(namespace, name)` in a service account's user name, such as `system:serviceaccount:demo:robot`.
#[must_use]
pub fn split_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// A user as `UserInfo` of `authentication.k8s.io/v1`.
#[must_use]
pub fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name(), "groups": user.groups()});
    if !user.uid().is_empty() {
        info["uid"] = json!(user.uid());
    }
    if !user.extra().is_empty() {
        info["extra"] = json!(user.extra());
    }
    info
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name(), self.groups())
    }
}

/// The user whom a verified client certificate (DER) names: the common name, and organizations as groups. None when it
/// is malformed or has no common name.
#[must_use]
pub fn from_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    // As upstream: the certificate's hash is how the audit log tells two certificates of one user apart.
    let id = format!("X509SHA256={}", hex(&Sha256::digest(der)));
    let extra = [(crate::token::CREDENTIAL_ID.to_owned(), vec![id])].into();
    Some(User::new(name, groups).with_extra(extra))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
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

    #[test]
    fn a_service_account_is_in_the_groups_of_all_and_of_its_namespace() {
        let user = User::service_account("demo", "robot");
        assert_eq!(user.name(), "system:serviceaccount:demo:robot");
        let groups = ["system:serviceaccounts", "system:serviceaccounts:demo", "system:authenticated"];
        assert_eq!(user.groups(), groups);
        assert_eq!(user.account(), Some(("demo", "robot")));
        for other in ["system:serviceaccount:demo", "system:serviceaccount::a", "system:serviceaccount:a:", "x"] {
            assert_eq!(split_account(other), None, "{other}");
        }
    }
}

//! What an authorizer is asked.

use super::User;
use std::fmt;

/// What is to be done with a resource, in the words of the authorization API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether the verb changes something.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A question to the authorizer. Empty texts mean "none".
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub(crate) user: User,
    /// Such as `get`; a text, because reviews may ask about verbs of later use.
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The request's field selector, which the node authorizer looks at.
    pub(crate) field_selector: String,
    /// Set for a path that is no resource; then the fields above but `verb` are empty.
    pub(crate) path: Option<String>,
}

impl Attributes {
    /// A question about a path that is no resource.
    pub(crate) fn path(user: User, verb: &str, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..Self::resource(user, verb, "", "", "", "") }
    }

    /// A question about a resource.
    pub(crate) fn resource(user: User, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            user,
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            field_selector: String::new(),
            path: None,
        }
    }

    /// `pods` or `pods/status`.
    pub(crate) fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// The refusal in upstream's words, such as `User "a" cannot get resource "pods" in API group "" in the namespace "b"`.
    pub(crate) fn refusal(&self) -> String {
        let user = self.user.name();
        if let Some(path) = &self.path {
            return format!("User {user:?} cannot {} path {path:?}", self.verb);
        }
        let scope = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        let resource = self.full_resource();
        format!("User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}", self.verb, self.group)
    }
}

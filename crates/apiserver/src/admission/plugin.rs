//! What a plugin is asked, and what it may answer.

use super::{Mark, Reader};
use crate::auth::{Authorizer, User};
use orrery_machinery::{descriptor::ResourceDescriptor, status::ApiError};
use orrery_schema::admission::Rounds;
use serde_json::Value;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object, also by a patch.
    Update,
    /// A deletion, also of a collection, object by object.
    Delete,
    /// A stream or other connection to a sub-resource.
    Connect,
}

impl Operation {
    /// As webhooks and policies write it: `CREATE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A request that is authorized, and about to be carried out.
pub struct AdmissionRequest<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// To objects of which resource.
    pub resource: &'a ResourceDescriptor,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for objects without a namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a User,
    /// The object as it is; none when it is new or a connection.
    pub old: Option<&'a Value>,
    /// Whether nothing will be stored; then a plugin must have no effect elsewhere either.
    pub dry_run: bool,
    /// Who says what somebody may do; none where nobody can be asked.
    pub authorizer: Option<&'a Authorizer>,
    /// Other objects of the server.
    pub reader: &'a Reader,
}

impl AdmissionRequest<'_> {
    /// Whether the request is for the resource `plural` of `group` itself, not for a sub-resource.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.subresource.is_empty() && self.resource.is(group, plural)
    }
}

/// What the plugins have to say beyond yes and no.
#[derive(Debug, Default)]
pub struct Review {
    /// For the client's user.
    pub warnings: Vec<String>,
    /// For the audit log: key and value.
    pub annotations: Vec<(String, String)>,
    /// Objects, as read through [`Reader`] and then changed, that are written in the same transaction. When one of them was
    /// changed meanwhile, the whole request is planned anew.
    pub also: Vec<Value>,
    /// New objects that are written in the same transaction. When one of them is there already, the whole request is planned
    /// anew.
    pub create: Vec<Value>,
    /// Objects, as read through [`Reader`], that are removed in the same transaction.
    pub remove: Vec<Value>,
    /// Marks, as read through [`Reader::marks`], that are set anew in the same transaction. When one of them was set
    /// meanwhile, the whole request is planned anew.
    pub marks: Vec<Mark>,
    /// What plugins remember between two rounds of changes.
    pub rounds: Rounds,
}

/// One step between decoding and storing. Plugins are asked again when a request meets concurrent writes, so they must be
/// able to repeat themselves.
#[async_trait::async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// Such as `LimitRanger`.
    fn name(&self) -> &'static str;

    /// Whether the plugin has anything to do with the request. Cheap: it is called for each.
    fn handles(&self, request: &AdmissionRequest<'_>) -> bool;

    /// Changes a new or changed object, and tells whether it has to be decoded and defaulted again. Who sets fields as their
    /// types and defaults want them need not.
    ///
    /// # Errors
    /// When the request is refused.
    async fn change(
        &self,
        _request: &AdmissionRequest<'_>,
        _object: &mut Value,
        _review: &mut Review,
    ) -> Result<bool, ApiError> {
        Ok(false)
    }

    /// Checks what is about to be stored, after validation. The object is none for deletions, and the options for
    /// connections.
    ///
    /// # Errors
    /// When the request is refused.
    async fn check(
        &self,
        _request: &AdmissionRequest<'_>,
        _object: Option<&Value>,
        _review: &mut Review,
    ) -> Result<(), ApiError> {
        Ok(())
    }
}

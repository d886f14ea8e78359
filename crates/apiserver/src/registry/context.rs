//! What a verb works on.

use super::{Registry, key, options::WriteOptions};
use crate::{
    auth::{Authorizer, User},
    envelope,
};
use orrery_machinery::{
    descriptor::{ResourceDescriptor, Storage},
    discovery::group_version,
    status::{ApiError, Target},
};
use orrery_store::{Entry, Op, StoreError};
use serde_json::Value;
use std::time::Duration;

/// What a verb works on.
pub(crate) struct Context<'a> {
    /// Who asks; none for the server itself, which passes all checks of who may write what.
    pub(crate) caller: Option<(&'a User, &'a Authorizer)>,
    pub(crate) resource: &'a ResourceDescriptor,
    /// Empty for resources without namespaces, and for all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) options: WriteOptions,
}

impl Context<'_> {
    /// What errors name.
    pub(crate) fn target<'b>(&'b self, name: &'b str) -> Target<'b> {
        Target { group: &self.resource.group, resource: &self.resource.plural, name }
    }

    /// The key of an object of this resource and namespace.
    pub(crate) fn key(&self, name: &str) -> String {
        let stored = &self.resource.stored;
        key::object(&stored.group, &stored.plural, &self.namespace, name)
    }

    /// The prefix of the keys of this resource and namespace.
    pub(crate) fn prefix(&self) -> String {
        let stored = &self.resource.stored;
        key::prefix(&stored.group, &stored.plural, &self.namespace)
    }

    /// `apps/v1` or `v1`.
    pub(crate) fn api_version(&self) -> String {
        self.resource.api_version()
    }

    /// The version in which objects are stored, such as `apps/v1`.
    pub(crate) fn stored_version(&self) -> String {
        group_version(&self.resource.stored.group, &self.resource.stored.version)
    }

    /// Whether this is the core resource `plural`.
    pub(crate) fn is_core(&self, plural: &str) -> bool {
        self.resource.is("", plural)
    }

    /// The object of an entry, as it is served.
    pub(crate) fn decode(&self, entry: &Entry) -> Result<Value, ApiError> {
        envelope::decode(self.resource, entry)
    }

    /// The write of an object, which is to be in the version in which objects are stored when another program converts.
    fn put(&self, key: String, object: &Value) -> Result<Op, ApiError> {
        let ttl = match self.resource.storage {
            Storage::StoredFor { seconds } => Some(Duration::from_secs(seconds)),
            Storage::Stored | Storage::Review | Storage::Computed => None,
        };
        let value = match self.resource.converter {
            Some(_) if !self.resource.is_stored_as_served() => envelope::encode_as_is(self.resource, object),
            Some(_) | None => envelope::encode(self.resource, object)?,
        };
        Ok(Op::Put { key, value, ttl })
    }
}

impl Registry {
    /// The write of an object that the context names.
    ///
    /// # Errors
    /// When it cannot be converted to the version in which it is stored.
    pub(crate) async fn put(&self, context: &Context<'_>, key: String, object: &Value) -> Result<Op, ApiError> {
        if context.resource.converter.is_none() {
            return context.put(key, object);
        }
        context.put(key, &self.conversions.stored(context.resource, object.clone()).await?)
    }
}

/// What came of a write.
#[derive(Debug)]
pub(crate) struct Written {
    /// The object as it is now, or as it was when it was deleted.
    pub(crate) object: Value,
    /// For the client's user.
    pub(crate) warnings: Vec<String>,
    /// Whether the write removed the object.
    pub(crate) removed: bool,
}

impl Written {
    pub(crate) fn kept(object: Value, warnings: Vec<String>) -> Self {
        Self { object, warnings, removed: false }
    }
}

/// The store's errors as the API's.
pub(crate) fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Compacted { asked, compacted } => {
            ApiError::expired(format!("too old resource version: {} ({})", asked.0, compacted.0))
        }
        StoreError::Future { asked, current } => {
            let mut error =
                ApiError::timeout(format!("Timeout: Too large resource version: {}, current: {}", asked.0, current.0));
            error.details = Some(serde_json::json!({
                "retryAfterSeconds": 1,
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            }));
            error
        }
        StoreError::Unwritable(_) | StoreError::Closed => ApiError::unavailable(error.to_string()),
        StoreError::Backend { doing, source } => {
            ApiError::internal(format!("the store failed while {doing}: {source}"))
        }
    }
}

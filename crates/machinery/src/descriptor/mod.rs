//! What the API server needs to know of a resource: the next resource is one more value of [`ResourceDescriptor`].
//!
//! One descriptor stands for one served version of a resource. Built-in kinds are tables of functions
//! ([`FixedResource`]) that are turned into descriptors; custom resources are descriptors made at run time out of their
//! definition. The API server sees no difference.

mod fixed;
mod subresource;
mod unknown;

pub use fixed::{
    Column, FixedResource, OtherForm, PartRules, SelectableField, decode_as, read_as, schema_of, to_value,
};
pub use subresource::{Does, PartOf, ScalePaths, Subresource, replace_status};
pub use unknown::UnknownField;

#[cfg(test)]
pub(crate) use fixed::test_descriptor;

use crate::{
    shape::Shape,
    status::{ApiError, FieldError},
};
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// A text that is part of the program for built-in kinds, and owned for custom resources.
pub type Text = Cow<'static, str>;

/// A served version of a resource, as it is registered with the API server.
#[derive(Clone)]
pub struct ResourceDescriptor {
    /// API group; empty for the core group.
    pub group: Text,
    /// The served version.
    pub version: Text,
    /// Such as `Pod`.
    pub kind: Text,
    /// Such as `PodList`.
    pub list_kind: Text,
    /// Such as `pods`.
    pub plural: Text,
    /// Such as `pod`.
    pub singular: Text,
    /// Such as `po`.
    pub short_names: Vec<Text>,
    /// Such as `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether objects are stored, or answered at once by a handler (reviews).
    pub storage: Storage,
    /// Where and as what objects are stored. Several served versions, also of several groups, may share it.
    pub stored: StoredAs,
    /// Changes when defaults or conversions do: objects written under another one are converted and defaulted when they
    /// are read.
    pub schema_generation: u32,
    /// What hangs below an object, such as `status`.
    pub subresources: Vec<Subresource>,
    /// Why no objects may be created at present, if so (405).
    pub closed: Option<Text>,
    /// Whether an update that differs in more than metadata and status counts up `metadata.generation`.
    pub counts_generation: bool,
    /// Whether an update without a resource version is taken.
    pub unconditional_update: bool,
    /// Whether an update of a missing object creates it.
    pub create_on_update: bool,
    /// All columns of a table, in their order.
    pub columns: Vec<TableColumn>,
    /// Fields that a field selector may name beyond `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<FieldReader>,
    /// Whether strategic merge patches are taken; not for custom resources.
    pub strategic_patches: bool,
    /// How objects merge in a server-side apply and in a strategic merge patch.
    pub shape: Shape,
    /// The program (`spec.conversion.webhook` of a definition) that is asked to convert between this version and others;
    /// none where `rules` do it.
    pub converter: Option<Arc<Value>>,
    /// What is particular to the kind.
    pub rules: Arc<dyn Rules>,
}

impl ResourceDescriptor {
    /// `apps/v1` or `v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        crate::discovery::group_version(&self.group, &self.version)
    }

    /// The sub-resource of this name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Whether there is a `/status` sub-resource; then writes to the main resource leave `status` alone and the other
    /// way round.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Whether this is the resource `plural` of `group`.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// Whether objects are stored in the form in which they are served.
    #[must_use]
    pub fn is_stored_as_served(&self) -> bool {
        self.group == self.stored.group && self.version == self.stored.version && self.kind == self.stored.kind
    }
}

/// Where and as what objects are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAs {
    /// The group under which they lie.
    pub group: Text,
    /// The version in which they are written. Older objects may lie in others.
    pub version: Text,
    /// The kind that they carry.
    pub kind: Text,
    /// The resource under which they lie.
    pub plural: Text,
}

/// What is particular to a kind. All pure; implementations share nothing that changes.
pub trait Rules: Send + Sync + 'static {
    /// Checks the object against its type and removes what the type does not know. Says what was removed, as in
    /// `unknown field "spec.containers[0].x"`, or why the object is malformed.
    ///
    /// # Errors
    /// When a field has a wrong type.
    fn decode(&self, object: &mut Value) -> Result<Vec<String>, DecodeError>;

    /// Fills in defaults.
    fn default(&self, object: &mut Value);

    /// Checks a new object, or a change when the old one is given.
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError>;

    /// Checks a change that was made through the sub-resource `part`.
    fn validate_part(&self, _part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
        self.validate(object, Some(old))
    }

    /// What the client's user should know although the object is accepted.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Prepares an object for its first write (such as a pod's initial phase).
    fn prepare_create(&self, _object: &mut Value) {}

    /// Prepares a change of the main resource: puts back what clients may not change.
    fn prepare_update(&self, _old: &Value, _new: &mut Value) {}

    /// Prepares the first request for deletion: may add finalizers and set the status.
    fn prepare_delete(&self, _object: &mut Value) {}

    /// Whether deleting the object at its owner's request leaves its dependents alone unless asked otherwise.
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// The OpenAPI v3 schema, with definitions under `$defs`.
    fn schema(&self) -> Value;

    /// From any stored version to the served one. Sets `apiVersion` and `kind` in any case.
    ///
    /// # Errors
    /// When the object cannot be converted.
    fn on_read(&self, _object: &mut Value) -> Result<(), ApiError> {
        Ok(())
    }

    /// From the served version to the stored one. `apiVersion` and `kind` are set by the caller.
    ///
    /// # Errors
    /// When the object cannot be converted.
    fn on_write(&self, _object: &mut Value) -> Result<(), ApiError> {
        Ok(())
    }
}

/// How objects of a resource are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In the store, for ever.
    Stored,
    /// In the store, for so many seconds after the last write (events).
    StoredFor {
        /// Seconds.
        seconds: u64,
    },
    /// Not at all: `create` is answered by a handler.
    Review,
    /// Not at all: what is read is made when it is read.
    Computed,
}

/// A column of a served table.
#[derive(Clone)]
pub struct TableColumn {
    /// The heading, such as `Ready`.
    pub name: Text,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: Text,
    /// Such as `name` or `date-time`; empty for none.
    pub format: Text,
    /// 0 is always shown; higher only with `-o wide`.
    pub priority: i32,
    /// For people.
    pub description: Text,
    /// The cell's value for an object at the time `now` (Unix seconds).
    pub cell: Cell,
}

/// Makes the value of a cell out of an object and the present time (Unix seconds).
pub type Cell = Arc<dyn Fn(&Value, i64) -> Value + Send + Sync>;

/// A field that a field selector may name.
#[derive(Clone)]
pub struct FieldReader {
    /// Such as `spec.nodeName`.
    pub path: Text,
    /// The field's value as text; empty when it is unset.
    pub value: Arc<dyn Fn(&Value) -> String + Send + Sync>,
}

/// Why an object is not of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct DecodeError {
    /// Where, such as `spec.containers[0].ports`.
    pub path: String,
    /// Why.
    pub message: String,
}

//! The resources that are served at one time.

use super::key;
use crate::{discovery::Documents, envelope, object};
use orrery_machinery::{descriptor::ResourceDescriptor, meta, status::ApiError};
use orrery_store::Op;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// The resources that are served at one time, and what is told of them.
pub(crate) struct Table {
    all: Vec<Arc<ResourceDescriptor>>,
    /// By plural; several groups and versions may have one of the same name.
    by_plural: HashMap<String, Vec<Arc<ResourceDescriptor>>>,
    /// Made when first asked for: tables change more often than clients look.
    documents: OnceLock<Documents>,
}

impl Table {
    pub(crate) fn new(all: Vec<Arc<ResourceDescriptor>>) -> Self {
        let mut by_plural: HashMap<_, Vec<_>> = HashMap::new();
        for resource in &all {
            by_plural.entry(resource.plural.to_string()).or_default().push(Arc::clone(resource));
        }
        Self { all, by_plural, documents: OnceLock::new() }
    }

    /// The resource, if it is served.
    pub(crate) fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<ResourceDescriptor>> {
        self.by_plural.get(plural)?.iter().find(|resource| resource.group == group && resource.version == version)
    }

    /// The write of an object of any resource, as it is stored, and its key.
    ///
    /// # Errors
    /// When no resource is stored as this kind.
    pub(crate) fn put(&self, object: &Value) -> Result<(String, Op), ApiError> {
        let (api_version, kind) = (object::text(object, "/apiVersion"), object::text(object, "/kind"));
        let found =
            self.all.iter().find(|r| r.kind == kind && r.is_stored_as_served() && r.api_version() == api_version);
        let resource =
            found.ok_or_else(|| ApiError::internal(format!("no resource is stored as {api_version} {kind}")))?;
        let key = key::object(&resource.group, &resource.plural, meta::namespace(object), meta::name(object));
        let value = envelope::encode(resource, object)?;
        Ok((key.clone(), Op::Put { key, value, ttl: None }))
    }

    /// Every resource.
    pub(crate) fn all(&self) -> &[Arc<ResourceDescriptor>] {
        &self.all
    }

    /// Discovery and schemas.
    pub(crate) fn documents(&self) -> &Documents {
        self.documents.get_or_init(|| Documents::new(&self.all))
    }
}

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
use tokio_util::sync::CancellationToken;

/// A custom resource, and until when it is served as it is.
pub(crate) type Passing = (Arc<ResourceDescriptor>, CancellationToken);

/// The resources that are served at one time, and what is told of them.
pub(crate) struct Table {
    all: Vec<Arc<ResourceDescriptor>>,
    /// By plural; several groups and versions may have one of the same name.
    by_plural: HashMap<String, Vec<Arc<ResourceDescriptor>>>,
    /// Until when each custom resource is served as it is, by group, version and plural.
    lives: HashMap<[String; 3], CancellationToken>,
    /// Made when first asked for: tables change more often than clients look.
    documents: OnceLock<Documents>,
}

impl Table {
    pub(crate) fn new(mut all: Vec<Arc<ResourceDescriptor>>, custom: Vec<Passing>) -> Self {
        let mut lives = HashMap::with_capacity(custom.len());
        for (resource, life) in custom {
            lives.insert([&resource.group, &resource.version, &resource.plural].map(ToString::to_string), life);
            all.push(resource);
        }
        let mut by_plural: HashMap<_, Vec<_>> = HashMap::new();
        for resource in &all {
            by_plural.entry(resource.plural.to_string()).or_default().push(Arc::clone(resource));
        }
        Self { all, by_plural, lives, documents: OnceLock::new() }
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

    /// Ends when the resource is no longer served as it is; never for one that is always served.
    pub(crate) fn life(&self, resource: &ResourceDescriptor) -> CancellationToken {
        let id = [&resource.group, &resource.version, &resource.plural].map(ToString::to_string);
        self.lives.get(&id).cloned().unwrap_or_default()
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

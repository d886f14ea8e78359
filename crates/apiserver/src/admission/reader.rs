//! Reading other objects while a request is judged.

use crate::{
    envelope,
    registry::{key, store_error},
};
use orrery_machinery::status::ApiError;
use orrery_store::{RangeRequest, Revision, Store};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

/// Something that at most one write at a time may take, such as a port: set by each write that takes it. That it is set
/// does not say that it is taken; only that it was set since says that what was read before is out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub(crate) key: String,
    /// When it was last set; none when never.
    pub(crate) set: Option<Revision>,
}

/// The marks of one sort, as they are at one moment.
#[derive(Debug, Clone)]
pub struct Marks {
    prefix: String,
    set: HashMap<String, Revision>,
}

impl Marks {
    /// The mark of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Mark {
        let key = format!("{}{name}", self.prefix);
        Mark { set: self.set.get(&key).copied(), key }
    }
}

/// Reads objects as they are stored at this moment, without asking who may.
#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn Store>,
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// One object, with its resource version; none when there is none. `namespace` is empty for resources without.
    ///
    /// # Errors
    /// When the store fails or the object is damaged.
    pub async fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, ApiError> {
        let entry = self.store.get(&key::object(group, plural, namespace, name)).await.map_err(store_error)?;
        entry.as_ref().map(envelope::decode_stored).transpose()
    }

    /// The marks of one sort. To be read before the objects that say what is taken.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn marks(&self, sort: &str) -> Result<Marks, ApiError> {
        let prefix = key::prefix("marks", sort, "");
        let request = RangeRequest { prefix: prefix.clone(), ..RangeRequest::default() };
        let page = self.store.range(request).await.map_err(store_error)?;
        let set = page.entries.iter().map(|entry| (entry.key.clone(), entry.mod_revision)).collect();
        Ok(Marks { prefix, set })
    }

    /// All objects of a resource, of one namespace unless it is empty, with their resource versions and in the order of their
    /// names.
    ///
    /// # Errors
    /// When the store fails or an object is damaged.
    pub async fn list(&self, group: &str, plural: &str, namespace: &str) -> Result<Vec<Value>, ApiError> {
        let request = RangeRequest { prefix: key::prefix(group, plural, namespace), ..RangeRequest::default() };
        let page = self.store.range(request).await.map_err(store_error)?;
        page.entries.iter().map(|entry| envelope::decode_stored(entry)).collect()
    }
}

#[async_trait::async_trait]
impl orrery_callout::Services for Reader {
    async fn service(&self, namespace: &str, name: &str) -> Result<Option<Value>, String> {
        self.get("", "services", namespace, name).await.map_err(|error| error.message)
    }

    async fn endpoint_slices(&self, namespace: &str) -> Result<Vec<Value>, String> {
        self.list("discovery.k8s.io", "endpointslices", namespace).await.map_err(|error| error.message)
    }
}

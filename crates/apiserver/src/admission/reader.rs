//! Reading other objects while a request is judged.

use crate::{
    envelope,
    registry::{key, store_error},
};
use orrery_machinery::status::ApiError;
use orrery_store::{RangeRequest, Store};
use serde_json::Value;
use std::sync::Arc;

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

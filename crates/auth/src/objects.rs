//! How objects are read from the store: by the API server's own layout, which it hands in.

use orrery_machinery::status::ApiError;
use orrery_store::{Entry, RangeRequest, Revision, Store, StoreError};
use serde_json::Value;
use std::sync::Arc;

/// Where objects lie and how they are read. The API server decides on both.
#[derive(Clone, Copy)]
pub struct Layout {
    /// The prefix of a resource's keys by (group, plural, namespace); no namespace for all of them.
    pub prefix: fn(&str, &str, &str) -> String,
    /// The object of an entry.
    pub decode: fn(&Entry) -> Result<Value, ApiError>,
}

/// The objects in the store.
#[derive(Clone)]
pub struct Objects {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) layout: Layout,
}

impl Objects {
    /// Reads from `store` by `layout`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, layout: Layout) -> Self {
        Self { store, layout }
    }

    /// The object, if it is there.
    ///
    /// # Errors
    /// When the store fails or the object is damaged.
    pub async fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, ApiError> {
        let key = format!("{}{name}", (self.layout.prefix)(group, plural, namespace));
        let entry =
            self.store.get(&key).await.map_err(|error| ApiError::internal(format!("cannot read {key}: {error}")))?;
        entry.map(|entry| (self.layout.decode)(&entry)).transpose()
    }

    pub(crate) async fn range(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        let page = self.store.range(RangeRequest { prefix: prefix.to_owned(), ..RangeRequest::default() }).await?;
        Ok((page.entries, page.revision))
    }
}

//! `get`.

use super::{Context, Registry, store_error};
use orrery_machinery::status::ApiError;
use orrery_store::Entry;
use serde_json::Value;

impl Registry {
    /// The object that the context names.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn get(&self, context: &Context<'_>) -> Result<Value, ApiError> {
        context.decode(&self.entry(context, &context.name).await?)
    }

    /// The entry of an object, readable as the context's resource.
    pub(crate) async fn entry(&self, context: &Context<'_>, name: &str) -> Result<Entry, ApiError> {
        let entry = self.stored(context, name).await?;
        self.conversions.readable_one(context.resource, entry).await
    }

    /// The entry of an object as it lies in the store.
    pub(super) async fn stored(&self, context: &Context<'_>, name: &str) -> Result<Entry, ApiError> {
        let entry = self.store.get(&context.key(name)).await.map_err(store_error)?;
        entry.ok_or_else(|| ApiError::not_found(context.target(name)))
    }
}

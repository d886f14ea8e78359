//! `deletecollection`.

use super::{
    Context, Registry,
    options::{DeleteOptions, ListOptions},
};
use crate::http::query::Query;
use orrery_machinery::{meta, status::ApiError};
use orrery_store::Revision;
use serde_json::Value;

impl Registry {
    /// Deletes all objects of a resource, each as its kind wants it.
    ///
    /// # Errors
    /// With the first object that cannot be deleted.
    pub(crate) async fn delete_all(&self, context: &Context<'_>) -> Result<(), ApiError> {
        let everything = ListOptions::parse(&Query::default(), context.resource, false)?;
        self.delete_collection(context, &everything, &DeleteOptions::default()).await.map(drop)
    }

    /// Deletes the objects that the options select, one by one, and gives those that it dealt with.
    ///
    /// # Errors
    /// With the first object that cannot be deleted; those before it are gone.
    pub(crate) async fn delete_collection(
        &self,
        context: &Context<'_>,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<(Revision, Vec<Value>), ApiError> {
        let listed = self.list(context, list).await?;
        let mut done = Vec::new();
        for entry in listed.entries {
            let item = context.decode(&entry)?;
            let one = Context {
                caller: context.caller,
                resource: context.resource,
                namespace: meta::namespace(&item).to_owned(),
                name: meta::name(&item).to_owned(),
                subresource: String::new(),
                options: context.options.clone(),
            };
            match self.delete(&one, options).await {
                Ok(written) => done.push(written.object),
                // Somebody else was faster.
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok((listed.revision, done))
    }
}

//! What is changed and refused between decoding and storing.
//!
//! ```text
//! decoded and defaulted -> own steps -> plugins change -> decoded and defaulted again -> validation -> plugins check -> stored
//! ```
//!
//! Plugins may change an object in two rounds (`orrery_schema::admission::Rounds`): the second is for those that should see what came after them.
//!
//! The server's own steps (`own`) are few and always there. Everything else is a [`Plugin`], which the layer above plugs
//! in by way of [`Config`](crate::Config). The namespace's own part (no new objects in one that is missing or terminating) is
//! checked by the write's transaction.

mod own;
mod plugin;
mod reader;

pub use plugin::{AdmissionRequest, Operation, Plugin, Review};
pub use reader::{Mark, Marks, Reader};

pub(crate) use own::{LASTING_NAMESPACES, delete};

use crate::{
    http::audit::Trail,
    registry::{Context, prepare_again},
};
use orrery_machinery::{meta, status::ApiError};
use serde_json::Value;
use std::sync::Arc;

/// The plugins, in the order in which they are asked.
#[derive(Clone, Default)]
pub(crate) struct Chain(Vec<Arc<dyn Plugin>>);

impl Chain {
    pub(crate) fn new(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        Self(plugins)
    }

    /// Lets the plugins change a new or changed object.
    pub(crate) async fn change(
        &self,
        context: &Context<'_>,
        reader: &Reader,
        old: Option<&Value>,
        new: &mut Value,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        match old {
            None => own::create(context, new).await?,
            Some(old) => own::update(context, old, new).await?,
        }
        let operation = if old.is_some() { Operation::Update } else { Operation::Create };
        let name = meta::name(new).to_owned();
        let Some(request) = request(context, operation, &name, old, reader) else { return Ok(()) };
        self.round(&request, context, new, review).await?;
        if review.rounds.wanted {
            review.rounds.is_second = true;
            // What is written along with the object is planned anew, as the object may be another.
            *review = Review {
                warnings: std::mem::take(&mut review.warnings),
                rounds: std::mem::take(&mut review.rounds),
                ..Review::default()
            };
            self.round(&request, context, new, review).await?;
        }
        Ok(())
    }

    async fn round(
        &self,
        request: &AdmissionRequest<'_>,
        context: &Context<'_>,
        new: &mut Value,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        for plugin in self.0.iter().filter(|plugin| plugin.handles(request)) {
            let changed = plugin.change(request, new, review).await;
            note(review);
            if changed? {
                prepare_again(context, new)?;
            }
        }
        Ok(())
    }

    /// Lets the plugins refuse what is about to be stored, or deleted when there is no new object.
    pub(crate) async fn check(
        &self,
        context: &Context<'_>,
        reader: &Reader,
        old: Option<&Value>,
        new: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        let operation = match (old, new) {
            (_, None) => Operation::Delete,
            (None, Some(_)) => Operation::Create,
            (Some(_), Some(_)) => Operation::Update,
        };
        let name = new.map_or_else(|| context.name.clone(), |new| meta::name(new).to_owned());
        let Some(request) = request(context, operation, &name, old, reader) else { return Ok(()) };
        for plugin in self.0.iter().filter(|plugin| plugin.handles(&request)) {
            let checked = plugin.check(&request, new, review).await;
            note(review);
            checked?;
        }
        Ok(())
    }

    /// Lets the plugins refuse a connection to a sub-resource. `options` is what the query says, as an object.
    pub(crate) async fn connect(
        &self,
        context: &Context<'_>,
        reader: &Reader,
        options: &Value,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        let Some(request) = request(context, Operation::Connect, &context.name, None, reader) else { return Ok(()) };
        for plugin in self.0.iter().filter(|plugin| plugin.handles(&request)) {
            let checked = plugin.check(&request, Some(options), review).await;
            note(review);
            checked?;
        }
        Ok(())
    }
}

/// Hands what a plugin has to say to the audit log, also when it refuses.
fn note(review: &mut Review) {
    for (key, value) in review.annotations.drain(..) {
        Trail::annotate_current(&key, value);
    }
}

/// None for the server itself, which no plugin judges.
fn request<'a>(
    context: &'a Context<'_>,
    operation: Operation,
    name: &'a str,
    old: Option<&'a Value>,
    reader: &'a Reader,
) -> Option<AdmissionRequest<'a>> {
    let (user, authorizer) = context.caller?;
    Some(AdmissionRequest {
        authorizer: Some(authorizer),
        operation,
        resource: context.resource,
        subresource: &context.subresource,
        namespace: &context.namespace,
        name,
        user,
        old,
        dry_run: context.options.dry_run,
        reader,
    })
}

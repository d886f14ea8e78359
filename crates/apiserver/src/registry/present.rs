//! Objects, lists and events in the representation that the client wants.

use super::{Context, context::api_version, list::Listed};
use crate::{
    http::{ResponseBody, accept, accept::Representation, query::Query, respond},
    object,
};
use ::http::{HeaderMap, Response};
use bytes::Bytes;
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    meta,
    status::ApiError,
    table::{self, IncludeObject},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Writes objects as one client wants them.
pub(crate) struct Presenter {
    resource: Arc<ResourceDescriptor>,
    representation: Representation,
    include: IncludeObject,
    /// Whether the next table has its headings; a watch sends them once.
    headings: bool,
}

impl Presenter {
    /// Reads the wishes of a client that reads.
    pub(crate) fn parse(
        resource: &Arc<ResourceDescriptor>,
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            resource: Arc::clone(resource),
            representation: accept::representation(headers)?,
            include: IncludeObject::parse(query.get("includeObject"))?,
            headings: true,
        })
    }

    fn table<'a>(&self, objects: impl IntoIterator<Item = &'a Value>, metadata: &Value) -> Value {
        table::render(&self.resource, objects, metadata, self.include, self.headings, object::now_seconds())
    }

    /// One object.
    pub(crate) fn object(&self, object: Value) -> Value {
        match self.representation {
            Representation::Object => object,
            Representation::Metadata => table::partial_object_metadata(&object),
            Representation::Table => {
                let metadata = json!({"resourceVersion": meta::resource_version(&object)});
                self.table([&object], &metadata)
            }
        }
    }

    /// A list.
    pub(crate) fn list(&self, listed: Listed) -> Value {
        let mut metadata = json!({"resourceVersion": listed.revision.0.to_string()});
        if !listed.continue_token.is_empty() {
            metadata["continue"] = listed.continue_token.into();
        }
        if let Some(remaining) = listed.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        match self.representation {
            Representation::Object => json!({
                "kind": format!("{}List", self.resource.kind), "apiVersion": api_version(&self.resource),
                "metadata": metadata, "items": listed.items,
            }),
            Representation::Metadata => table::partial_object_metadata_list(&listed.items, &metadata),
            Representation::Table => self.table(&listed.items, &metadata),
        }
    }

    /// A watch event, with its line end.
    pub(crate) fn event(&mut self, kind: &str, object: Value) -> Bytes {
        let shown = match self.representation {
            Representation::Object => object,
            Representation::Metadata => table::partial_object_metadata(&object),
            Representation::Table => {
                let metadata = json!({"resourceVersion": meta::resource_version(&object)});
                // A bookmark is no object: it has no row.
                let rows = (kind != "BOOKMARK").then_some(&object);
                let table = self.table(rows, &metadata);
                self.headings = false;
                table
            }
        };
        let mut line = json!({"type": kind, "object": shown}).to_string();
        line.push('\n');
        line.into()
    }
}

/// What a deletion answers: the object while it is still there (and for pods always), else a `Status`.
pub(super) fn deleted(context: &Context<'_>, object: &Value, removed: bool) -> Response<ResponseBody> {
    if !removed || context.is_core("pods") {
        return respond::json(200, object);
    }
    let mut details = json!({"name": meta::name(object), "kind": context.resource.plural, "uid": meta::uid(object)});
    if !context.resource.group.is_empty() {
        details["group"] = context.resource.group.into();
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    respond::json(200, &status)
}

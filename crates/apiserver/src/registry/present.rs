//! Objects, lists and events in the representation that the client wants.
//!
//! Objects that are wanted as they are stored go out as their bytes; only tables, metadata and other versions are decoded.
//! Single answers are made as JSON for all, and become protobuf where the answer leaves (`http::respond`); lists and events are
//! written as protobuf here (`protobuf`).

use super::{Context, list::Listed, protobuf};
use crate::{
    envelope::{self, Stored},
    http::{
        ResponseBody,
        body::{self, BoxError},
        query::Query,
        respond,
    },
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
use orrery_protobuf::{
    Json,
    accept::{self, Format, Representation},
};
use orrery_store::{Entry, Revision};
use serde_json::{Value, json};
use std::sync::Arc;

/// How many bytes of a list are made at a time.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// What stands before metadata that is all of an object that is wanted; see [`table::partial_object_metadata`].
const PARTIAL: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

/// Writes objects as one client wants them.
pub(crate) struct Presenter {
    resource: Arc<ResourceDescriptor>,
    format: Format,
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
        let (format, representation) = accept::accepted(headers, || protobuf::has_message(resource))?;
        Ok(Self {
            resource: Arc::clone(resource),
            format,
            representation,
            include: IncludeObject::parse(query.get("includeObject"))?,
            headings: true,
        })
    }

    fn table<'a>(&self, objects: impl IntoIterator<Item = &'a Value>, metadata: &Value) -> Value {
        table::render(&self.resource, objects, metadata, self.include, self.headings, object::now_seconds())
    }

    /// One object.
    ///
    /// # Errors
    /// When the entry is damaged or cannot be converted.
    pub(crate) fn object(&self, entry: &Entry) -> Result<Vec<u8>, ApiError> {
        let mut out = Vec::new();
        self.write(entry, entry.mod_revision, &mut out)?;
        Ok(out)
    }

    /// Appends the object as the client wants it.
    pub(super) fn write(&self, entry: &Entry, revision: Revision, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let stored = self.as_served(entry);
        let metadata = self.representation == Representation::Metadata;
        let stored = if metadata { stored.and_then(Stored::metadata) } else { stored };
        let Some(stored) = stored.filter(|_| self.representation != Representation::Table) else {
            put(out, &self.shown(envelope::decode_at(&self.resource, entry, revision)?));
            return Ok(());
        };
        out.reserve(stored.length() + PARTIAL.len());
        if metadata {
            out.extend_from_slice(PARTIAL.as_bytes());
        }
        stored.write(revision, out);
        if metadata {
            out.push(b'}');
        }
        Ok(())
    }

    fn as_served<'a>(&self, entry: &'a Entry) -> Option<Stored<'a>> {
        Stored::read(&entry.value).filter(|stored| stored.is_as_served(&self.resource))
    }

    /// An object as JSON, for answers that are not stored as they are shown.
    pub(crate) fn shown(&self, object: Value) -> Value {
        match self.representation {
            Representation::Object => object,
            Representation::Metadata => table::partial_object_metadata(&object),
            Representation::Table => {
                let metadata = json!({"resourceVersion": meta::resource_version(&object)});
                self.table([&object], &metadata)
            }
        }
    }

    /// A list. What is sent as it is stored is written bit by bit, as the client takes it.
    ///
    /// # Errors
    /// When an entry is damaged or cannot be converted.
    pub(crate) async fn list(self, listed: Listed) -> Result<Response<ResponseBody>, ApiError> {
        let mut metadata = json!({"resourceVersion": listed.revision.0.to_string()});
        if !listed.continue_token.is_empty() {
            metadata["continue"] = listed.continue_token.into();
        }
        if let Some(remaining) = listed.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        if self.representation == Representation::Object && self.format == Format::Protobuf {
            match protobuf::list(&self, &self.resource, &listed.entries, &metadata).await {
                Ok(body) => return Ok(respond::with_body(200, orrery_protobuf::MEDIA_TYPE, body)),
                Err(error) => tracing::warn!(error = error.message, "a list is sent as JSON, not as protobuf"),
            }
        }
        let written = self.representation != Representation::Table && self.format == Format::Json;
        if written && listed.entries.iter().all(|entry| self.as_served(entry).is_some()) {
            return Ok(respond::with_body(200, "application/json", self.stream(listed.entries, &metadata)));
        }
        let decode = |entry: &Arc<Entry>| envelope::decode(&self.resource, entry);
        let objects = listed.entries.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        Ok(respond::json(200, &self.objects(&objects, &metadata)))
    }

    /// A list of objects. `metadata` is the list's.
    pub(crate) fn objects(&self, objects: &[Value], metadata: &Value) -> Value {
        match self.representation {
            Representation::Object => {
                json!({"kind": self.resource.list_kind, "apiVersion": self.resource.api_version(), "metadata": metadata, "items": objects})
            }
            Representation::Metadata => table::partial_object_metadata_list(objects, metadata),
            Representation::Table => self.table(objects, metadata),
        }
    }

    /// A list whose entries are all as served.
    fn stream(self, entries: Vec<Arc<Entry>>, metadata: &Value) -> ResponseBody {
        let mut head = self.objects(&[], metadata);
        head.as_object_mut().map(|list| list.remove("items"));
        let mut first = serde_json::to_vec(&head).expect("a JSON value can be written");
        first.pop();
        first.extend_from_slice(b",\"items\":[");
        let rest = entries.into_iter().enumerate().peekable();
        let chunks = futures::stream::unfold(Some((first, rest)), move |state| {
            std::future::ready(state.map(|(mut out, mut rest)| {
                while out.len() < CHUNK_BYTES
                    && let Some((index, entry)) = rest.next()
                {
                    if index > 0 {
                        out.push(b',');
                    }
                    // Only what is not as served can fail.
                    let _ = self.write(&entry, entry.mod_revision, &mut out);
                }
                if rest.peek().is_some() {
                    return (Ok::<_, BoxError>(Bytes::from(out)), Some((Vec::with_capacity(CHUNK_BYTES + 4096), rest)));
                }
                out.extend_from_slice(b"]}");
                (Ok(Bytes::from(out)), None)
            }))
        });
        body::stream(chunks)
    }

    /// Whether it writes objects as JSON and as they are, as most clients want them.
    pub(crate) fn is_plain(&self) -> bool {
        self.representation == Representation::Object && self.format == Format::Json
    }

    /// The media type of a watch.
    pub(crate) fn watch_media(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Protobuf => orrery_protobuf::WATCH_MEDIA_TYPE,
        }
    }

    /// A watch event about the object of an entry, with its line end or length. `revision` is the event's.
    ///
    /// # Errors
    /// When the entry is damaged or cannot be converted.
    pub(crate) fn event(&mut self, kind: &str, entry: &Entry, revision: Revision) -> Result<Bytes, ApiError> {
        if self.representation == Representation::Table {
            let object = envelope::decode_at(&self.resource, entry, revision)?;
            return Ok(self.event_of(kind, &object));
        }
        if self.format == Format::Protobuf {
            let mut json = Vec::new();
            self.write(entry, revision, &mut json)?;
            let own = (&*self.resource.api_version(), &*self.resource.kind);
            let types = if self.representation == Representation::Object { own } else { table::PARTIAL_METADATA };
            return protobuf::event(kind, types, Json::Text(&json));
        }
        let mut line = Vec::with_capacity(entry.value.len() + 128);
        line.extend_from_slice(b"{\"type\":\"");
        line.extend_from_slice(kind.as_bytes());
        line.extend_from_slice(b"\",\"object\":");
        self.write(entry, revision, &mut line)?;
        line.extend_from_slice(b"}\n");
        Ok(line.into())
    }

    /// A watch event about an object or bookmark, with its line end or length.
    pub(crate) fn event_of(&mut self, kind: &str, object: &Value) -> Bytes {
        let shown = match self.representation {
            Representation::Object => object.clone(),
            Representation::Metadata => table::partial_object_metadata(object),
            Representation::Table => {
                let metadata = json!({"resourceVersion": meta::resource_version(object)});
                // A bookmark is no object: it has no row.
                let rows = (kind != "BOOKMARK").then_some(object);
                let table = self.table(rows, &metadata);
                self.headings = false;
                table
            }
        };
        self.framed(kind, &shown)
    }

    /// The event that ends a watch which failed.
    pub(crate) fn error_event(&self, error: &ApiError) -> Bytes {
        self.framed("ERROR", &error.to_status())
    }

    fn framed(&self, kind: &str, object: &Value) -> Bytes {
        if self.format == Format::Protobuf {
            let types = (object::text(object, "/apiVersion"), object::text(object, "/kind"));
            return protobuf::event(kind, types, Json::Tree(object)).unwrap_or_else(|error| self.error_event(&error));
        }
        let mut line = json!({"type": kind, "object": object}).to_string();
        line.push('\n');
        line.into()
    }
}

fn put(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a JSON value can be written to memory");
}

/// What a deletion answers: the object while it is still there (and for pods always), else a `Status`.
pub(super) fn deleted(context: &Context<'_>, object: &Value, removed: bool) -> Response<ResponseBody> {
    if !removed || context.is_core("pods") {
        return respond::json(200, object);
    }
    let mut details = json!({"name": meta::name(object), "kind": context.resource.plural, "uid": meta::uid(object)});
    if !context.resource.group.is_empty() {
        details["group"] = json!(context.resource.group);
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    respond::json(200, &status)
}

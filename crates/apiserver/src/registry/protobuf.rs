//! Lists and events in protobuf.

use super::present::{CHUNK_BYTES, Presenter};
use crate::http::{
    ResponseBody,
    body::{self, BoxError},
};
use bytes::Bytes;
use orrery_machinery::{descriptor::ResourceDescriptor, status::ApiError};
use orrery_protobuf::{EncodeError, Json, Kind};
use orrery_store::Entry;
use serde_json::Value;
use std::sync::Arc;

/// Whether the resource's objects can be written as protobuf: custom ones cannot.
pub(super) fn has_message(resource: &ResourceDescriptor) -> bool {
    Kind::find(&resource.api_version(), &resource.kind).is_some()
}

/// A list of the entries' objects. Its length stands before them, so all are written before the first is sent; other requests
/// have their turn between.
///
/// # Errors
/// When an entry is damaged, cannot be converted, or does not fit its message.
pub(super) async fn list(
    presenter: &Presenter,
    resource: &ResourceDescriptor,
    entries: &[Arc<Entry>],
    metadata: &Value,
) -> Result<ResponseBody, ApiError> {
    let api_version = resource.api_version();
    let kind = find(&api_version, &resource.kind)?;
    let (mut chunks, mut length) = (Vec::new(), 0);
    let (mut json, mut chunk) = (Vec::new(), Vec::new());
    for entry in entries {
        json.clear();
        presenter.write(entry, entry.mod_revision, &mut json)?;
        kind.item(Json::Text(&json), &mut chunk).map_err(|error| failed(&error))?;
        if chunk.len() >= CHUNK_BYTES {
            length += chunk.len();
            chunks.push(Bytes::from(std::mem::take(&mut chunk)));
            tokio::task::yield_now().await;
        }
    }
    length += chunk.len();
    chunk.extend_from_slice(orrery_protobuf::END);
    chunks.push(chunk.into());
    let head = kind.list_head(&resource.list_kind, metadata, length).map_err(|error| failed(&error))?;
    let all = std::iter::once(Bytes::from(head)).chain(chunks);
    Ok(body::stream(futures::stream::iter(all.map(Ok::<_, BoxError>))))
}

/// A watch event about an object of this apiVersion and kind, with its length.
///
/// # Errors
/// When the kind has no message, or the object does not fit it.
pub(super) fn event(event: &str, (api_version, kind): (&str, &str), object: Json<'_>) -> Result<Bytes, ApiError> {
    let mut frame = Vec::new();
    find(api_version, kind)?.event(event, object, &mut frame).map_err(|error| failed(&error))?;
    Ok(frame.into())
}

fn find<'a>(api_version: &'a str, kind: &'a str) -> Result<Kind<'a>, ApiError> {
    Kind::find(api_version, kind)
        .ok_or_else(|| ApiError::internal(format!("{api_version} {kind} has no form in protobuf; ask for JSON")))
}

fn failed(error: &EncodeError) -> ApiError {
    let why = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    ApiError::internal(format!("{error}{why}"))
}

//! What is sent: objects in their envelope, lists of them, and the events of a watch.
//!
//! An envelope is `k8s\0` and the message `runtime.Unknown`, which holds apiVersion and kind, the object's message, and two
//! texts that are empty. A watch is a sequence of frames: four bytes of length, big-endian, and a message of the event's type
//! and the object, which is in an envelope.

use crate::{
    table::{Message, table},
    wire,
    write::Object,
};
use serde::{Deserialize, de::DeserializeSeed};
use serde_json::Value;

/// Begins every body.
pub(crate) const MAGIC: &[u8] = b"k8s\0";

/// Why something cannot be written as protobuf.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It says nothing, or says a kind that has no message.
    #[error("{api_version} {kind} has no form in protobuf; ask for JSON")]
    UnknownKind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// A value is not what its field holds.
    #[error("the object does not fit its message; ask for JSON")]
    Json(#[from] serde_json::Error),
}

/// An object's JSON.
#[derive(Debug, Clone, Copy)]
pub enum Json<'a> {
    /// As text.
    Text(&'a [u8]),
    /// As a tree.
    Tree(&'a Value),
}

/// A kind that can be written as protobuf.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    api_version: &'a str,
    kind: &'a str,
    message: &'static Message,
}

impl<'a> Kind<'a> {
    /// The kind; none when it has no message: it is not one of Kubernetes' own.
    #[must_use]
    pub fn find(api_version: &'a str, kind: &'a str) -> Option<Self> {
        let id = table().of_kind(api_version, kind)?;
        Some(Self { api_version, kind, message: table().message(id) })
    }

    /// Appends an object of this kind in its envelope.
    ///
    /// # Errors
    /// When a value is not what its field holds; `out` then ends with a part of the object.
    pub fn object(&self, json: Json<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.enveloped(out, |out| fields(self.message, json, out))
    }

    /// Appends an object of this kind as an item of its list.
    ///
    /// # Errors
    /// As [`object`](Self::object).
    pub fn item(&self, json: Json<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        wire::put_nested(out, 2, |out| fields(self.message, json, out))
    }

    /// The beginning of a list of this kind: what stands before items of so many bytes, which [`item`](Self::item) gives.
    /// [`END`] ends it. `metadata` is the list's.
    ///
    /// # Errors
    /// As [`object`](Self::object).
    pub fn list_head(&self, list_kind: &str, metadata: &Value, items_bytes: usize) -> Result<Vec<u8>, EncodeError> {
        let mut head = Vec::new();
        if let Some(id) = table().by_name("meta.v1.ListMeta") {
            wire::put_nested(&mut head, 1, |out| fields(table().message(id), Json::Tree(metadata), out))?;
        }
        let mut out = MAGIC.to_vec();
        put_types(&mut out, self.api_version, list_kind);
        wire::put_length(&mut out, 2, head.len() + items_bytes);
        out.extend_from_slice(&head);
        Ok(out)
    }

    /// Appends a frame of a watch: an event about an object of this kind.
    ///
    /// # Errors
    /// As [`object`](Self::object), but `out` is then as it was.
    pub fn event(&self, event: &str, json: Json<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        wire::put_bytes(out, 1, event.as_bytes());
        let written = wire::put_nested(out, 2, |out| wire::put_nested(out, 1, |out| self.object(json, out)));
        if let Err(error) = written {
            out.truncate(start);
            return Err(error);
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn enveloped(
        &self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        out.extend_from_slice(MAGIC);
        put_types(out, self.api_version, self.kind);
        wire::put_nested(out, 2, write)?;
        out.extend_from_slice(END);
        Ok(())
    }
}

/// Ends an envelope: the encoding and the type of the content, both empty.
pub const END: &[u8] = &[3 << 3 | 2, 0, 4 << 3 | 2, 0];

/// An object's JSON, which says its apiVersion and kind, in its envelope.
///
/// # Errors
/// When it says no kind that has a message, or a value is not what its field holds.
pub fn encode(json: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let types: Types<'_> = serde_json::from_slice(json)?;
    let (api_version, kind) = (types.api_version.as_deref().unwrap_or(""), types.kind.as_deref().unwrap_or(""));
    let found = Kind::find(api_version, kind)
        .ok_or_else(|| EncodeError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() })?;
    let mut out = Vec::with_capacity(json.len());
    found.object(Json::Text(json), &mut out)?;
    Ok(out)
}

#[derive(Deserialize)]
struct Types<'a> {
    #[serde(rename = "apiVersion", borrow, default)]
    api_version: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<std::borrow::Cow<'a, str>>,
}

fn put_types(out: &mut Vec<u8>, api_version: &str, kind: &str) {
    let mut types = Vec::with_capacity(64);
    wire::put_bytes(&mut types, 1, api_version.as_bytes());
    wire::put_bytes(&mut types, 2, kind.as_bytes());
    wire::put_bytes(out, 1, &types);
}

fn fields(message: &'static Message, json: Json<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match json {
        Json::Text(text) => {
            let mut deserializer = serde_json::Deserializer::from_slice(text);
            Object { message, out }.deserialize(&mut deserializer)?;
            deserializer.end()?;
        }
        Json::Tree(tree) => Object { message, out }.deserialize(tree)?,
    }
    Ok(())
}

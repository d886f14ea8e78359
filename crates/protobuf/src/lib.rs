//! Bodies in Kubernetes' protobuf encoding, as controllers, `kubectl create` and `helm` speak it: read into the JSON form, and
//! written from it.
//!
//! * `table`: which fields a message has, by number and by JSON name. Made by `cargo xtask protobuf`.
//! * `wire`: protobuf's fields and numbers.
//! * `read`: from bytes to a tree ([`decode`]). `write` and `scalar`: from JSON, text or tree, to bytes in one pass.
//! * [`accept`]: which form of an answer a client accepts, JSON or protobuf.
//! * `envelope`: what is sent: an object ([`encode`], [`Kind::object`]), a list, an event of a watch.
//! * `openapi`: the OpenAPI document in gnostic's messages, which are other ones.
//!
//! What it is not: it knows the built-in kinds and nothing else, which upstream's API server does not either: custom resources
//! have no messages. It checks no object; what a message does not know is left out.
//!
//! Start reading at [`decode`] and [`encode`].
#![forbid(unsafe_code)]

pub mod accept;
mod envelope;
mod openapi;
mod read;
mod scalar;
mod table;
mod wire;
mod write;

pub use envelope::{END, EncodeError, Json, Kind, encode};
pub use openapi::{OPENAPI_V2_ASKED_AS, OPENAPI_V2_MEDIA_TYPE, openapi_v2};
pub use read::decode;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// The media type of a watch.
pub const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

#[cfg(test)]
mod tests;

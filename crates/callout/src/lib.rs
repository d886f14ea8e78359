//! HTTPS to programs that objects name by a URL or by a Service: webhooks, and API servers behind this one.
//!
//! ```text
//! clientConfig ──Target::read──► URL or Service ──resolve──► what to dial, whose certificate it has to show ──Clients──► answer
//! ```
//!
//! Of a Service, an endpoint that is ready is dialed directly, each in turn, or the name that the Service stands for
//! (`ExternalName`). A program is trusted by the authority that the object names; the system's trust store plays no part.
//!
//! Tasks: those that keep connections for the next request. What objects there are, [`Services`] tells. Start reading at
//! [`Target`], then [`Clients`].
#![forbid(unsafe_code)]

mod client;
mod headers;
mod plain;
mod target;

pub use client::{Body, Clients, Trust};
pub use headers::{forwarded, without_connection};
pub use plain::send_plain;
pub use target::{Address, Services, Target};

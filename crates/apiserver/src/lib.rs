//! The Kubernetes API machinery over HTTP: authentication, authorization, admission, watch, and a registry of resources.
//!
//! The crate knows no resource by itself: each one is registered by a
//! [`ResourceDescriptor`](orrery_machinery::descriptor::ResourceDescriptor). The crate `kinds` holds those of Kubernetes; the
//! manager's inventory is served by the same code with other descriptors. Objects live in a
//! [`Store`](orrery_store::Store) as JSON without their resource version, which is the store's revision of the last write.
//!
//! What happens to a request:
//!
//! 1. The crate `serving` accepts it over TLS (`http::connection`); `http::dispatch` limits, logs and counts it.
//! 2. The crate `auth` says who calls (client certificate, bearer token, or the typed user of [`InProcess`]), whom they act
//!    as, and whether they may; what is done is written down (`http::audit`).
//! 3. `registry` carries out the verb: decode, default, admit, validate, then one transaction of the store.
//!    `subresource` has what is not a plain object: binding, finalize, and the streams that go on to a node's kubelet.
//!
//! Tasks: one for each connection, those of the crate `auth` that follow roles, pods and volumes, one that writes the rules
//! that roles gather (`auth::roles`), one for each relayed upgrade. A watch has no task: the response's body pulls from the store's bounded channel, and a reader that is too slow is told so
//! with 410.
//!
//! Bodies may be JSON, YAML or Kubernetes' protobuf (the crate `protobuf`); answers are JSON, or protobuf for who prefers it.
//!
//! What it is not: it calls no webhooks by itself ([`Plugin`], [`Converter`]), and forwards no ports (501).
//!
//! Start reading at [`ApiServer`], then `http/dispatch.rs` and `registry/mod.rs`.
#![forbid(unsafe_code)]

mod admission;
mod aggregate;
mod auth;
mod config;
mod custom;
mod discovery;
mod http;
mod metrics;
mod object;
mod registry;
mod server;
mod subresource;

use orrery_envelope as envelope;

pub use admission::{AdmissionRequest, Mark, Marks, Operation, Plugin, Reader, Review};
pub use aggregate::Aggregator;
pub use auth::{Attributes, AuthorizeError, Authorizer, User};
pub use config::{
    Config, ConfigError, ExtraHandler, ExtraRequest, ExtraRoute, KubeletAccess, Limits, MetricSource, ReviewHandler,
    TokenConfig, VersionInfo,
};
pub use custom::convert::Converter;
pub use http::{InProcess, ResponseBody};
pub use server::{ApiServer, ServeError};

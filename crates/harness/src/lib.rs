//! What tests are written with: a thin layer over HTTP in which a test reads like the description it answers to.
//!
//! * [`Context`]: what a test is given; names, namespaces, removal.
//! * [`Objects`]: the verbs on the objects of one resource; [`Api`] and [`Answer`] where the wire matters.
//! * [`Watch`]: events, one at a time. [`until`] and [`retry`]: asking again.
//! * [`expect_within`], [`condition`], [`version`] and more: looking into objects.
//! * [`Failure`], [`ensure!`](crate::ensure), [`same!`](crate::same): saying what is wrong.
//! * [`Kubectl`]: a real kubectl on the same server. [`WebhookServer`]: an HTTPS server that the API server calls.
//!
//! * [`Test`]: a test and the codename it answers to; [`run!`](crate::run) makes its body.
//!
//! What it is not: it knows no test and no list of them; these are in the crates `conformance` and `conformance-pods`.
//!
//! Start reading at [`Context`].
#![forbid(unsafe_code)]

mod client;
mod context;
mod failure;
mod kubectl;
mod objects;
pub mod resource;
mod test;
mod until;
mod values;
mod watch;
mod webhook;

pub use client::{Answer, Api, Form};
pub use context::{Context, DEFAULT_POD_IMAGE, RUN_LABEL, Run};
pub use failure::{During, Failure, Outcome};
pub use kubectl::{Kubectl, Said};
pub use objects::{Objects, Query, with_query};
pub use resource::Resource;
pub use test::{Body, Test, test};
pub use until::{retry, until};
pub use values::{compare_versions, condition, expect_newer, expect_within, names, version, within};
pub use watch::{EVENT_TIMEOUT, Event, QUIET, Watch};
pub use webhook::{Asked, WebhookServer, allow, deny, patch_with};

//! Schemas of custom resources, and CEL, pure: no runtime, no clock, no socket.
//!
//! Everything that Kubernetes decides about a custom resource from its definition's schema, and everything that it asks
//! of CEL for custom resources and admission, is decided here, as `k8s.io/apiextensions-apiserver` and `k8s.io/apiserver/pkg/cel` do it and
//! with their texts. The API server calls these functions with objects as [`serde_json::Value`]s.
//!
//! * [`structural`]: a definition's schema as a typed tree; whether it may be one at all.
//! * [`resource`]: what happens to an object with its schema, in order: pruning, defaulting, coercion, validation.
//! * [`metadata`]: `apiVersion`, `kind` and `metadata` of whole objects.
//! * [`validate`]: values against a schema, with ratcheting on updates.
//! * [`jsonpath`], [`columns`]: printer columns, selectable fields, scale paths.
//! * [`publish`]: schemas as OpenAPI v3 and v2 documents have them.
//! * [`rules`] are `x-kubernetes-validations`.
//! * [`custom`]: what follows from a definition: its own rules, the resources it defines, who has which names.
//! * [`admission`]: expressions of admission policies and of webhooks' match conditions.
//!
//! A schema and an expression come from people, and so does every value. None of them can make this crate panic, recurse
//! without bound, or compute for long: schemas are nested to [`structural::MAX_DEPTH`] levels, expressions to
//! [`cel::MAX_DEPTH`], a regular expression has a size, and evaluation stops when its budget is used up.
//!
//! Start reading at [`structural::Structural`] and [`resource::Schema`].
#![forbid(unsafe_code)]

pub use orrery_cel as cel;

pub mod admission;
pub mod columns;
pub mod custom;
mod decl;
mod defaulting;
pub mod jsonpath;
pub mod metadata;
mod path;
mod prune;
pub mod publish;
pub mod resource;
pub mod rules;
pub mod structural;
pub mod validate;

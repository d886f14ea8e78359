//! Namespaces.

use crate::{Meta, Projected, Term};
use k8s_openapi::api::core::v1;

/// A namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    /// Its metadata.
    pub meta: Meta,
    /// What must be done before it can go (`spec.finalizers`).
    pub finalizers: Vec<String>,
}

impl Projected for Namespace {
    type Object = v1::Namespace;
    const PLURAL: &'static str = "namespaces";

    fn project(mut object: v1::Namespace) -> Option<Self> {
        let finalizers = object.spec.take().and_then(|spec| spec.finalizers).unwrap_or_default();
        Some(Self { meta: Meta::take(&mut object.metadata), finalizers })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

//! A request, as far as matching is concerned.

use orrery_apiserver::{AdmissionRequest, Operation};
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    status::{ApiError, Target},
};
use serde_json::Value;

/// A version of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form<'a> {
    /// API group; empty for the core group.
    pub(crate) group: &'a str,
    /// Such as `v1`.
    pub(crate) version: &'a str,
    /// Such as `pods`.
    pub(crate) plural: &'a str,
    /// Such as `Pod`.
    pub(crate) kind: &'a str,
}

impl<'a> Form<'a> {
    fn served(resource: &'a ResourceDescriptor) -> Self {
        let (group, version) = (&resource.group, &resource.version);
        Self { group, version, plural: &resource.plural, kind: &resource.kind }
    }

    fn stored(resource: &'a ResourceDescriptor) -> Option<Self> {
        let stored = &resource.stored;
        let form = Self { group: &stored.group, version: &stored.version, plural: &stored.plural, kind: &stored.kind };
        (!resource.is_stored_as_served()).then_some(form)
    }
}

/// A request, as far as matching is concerned.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) operation: Operation,
    /// The requested form.
    pub(crate) served: Form<'a>,
    /// The stored form, when it is another.
    pub(crate) stored: Option<Form<'a>>,
    pub(crate) subresource: &'a str,
    /// Whether the object lies in a namespace.
    pub(crate) is_namespaced: bool,
    pub(crate) name: &'a str,
    /// The object that is to be, or the options of a connection.
    pub(crate) object: Option<&'a Value>,
    /// The object that was.
    pub(crate) old: Option<&'a Value>,
    /// The namespace whose labels count: the object's, or the object itself.
    pub(crate) namespace: Option<&'a Value>,
}

impl<'a> Subject<'a> {
    /// Of a request; `namespace` is what [`namespace_of`] gave.
    pub(crate) fn new(
        request: &'a AdmissionRequest<'_>,
        object: Option<&'a Value>,
        namespace: Option<&'a Value>,
    ) -> Self {
        let namespace = if is_namespace(request) { object.or(request.old) } else { namespace };
        Self {
            operation: request.operation,
            served: Form::served(request.resource),
            stored: Form::stored(request.resource),
            subresource: request.subresource,
            is_namespaced: !request.namespace.is_empty() && !is_namespace(request),
            name: request.name,
            object,
            old: request.old,
            namespace,
        }
    }
}

/// Whether the request is for a namespace or a part of one.
pub(crate) fn is_namespace(request: &AdmissionRequest<'_>) -> bool {
    request.resource.is("", "namespaces")
}

/// The namespace in which the object lies; none when it lies in none.
pub(crate) async fn namespace_of(request: &AdmissionRequest<'_>) -> Result<Option<Value>, ApiError> {
    if request.namespace.is_empty() || is_namespace(request) {
        return Ok(None);
    }
    let found = request.reader.get("", "namespaces", "", request.namespace).await?;
    let target = Target { group: "", resource: "namespaces", name: request.namespace };
    found.map(Some).ok_or_else(|| ApiError::not_found(target))
}

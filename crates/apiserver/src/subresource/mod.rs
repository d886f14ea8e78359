//! What hangs below an object and is no plain part of it: binding, and the streams that go on to a node's kubelet.

mod binding;
mod container;
pub(crate) mod kubelet;
mod stream;
mod upgrade;

use crate::{
    auth::Verb,
    http::{ResponseBody, dispatch::ResourceRequest},
    server::ApiServer,
};
use ::http::Response;
use orrery_machinery::{descriptor::ResourceDescriptor, discovery::SubresourceInfo, status::ApiError};
use std::sync::Arc;

/// The sub-resources served beyond `status`.
pub(crate) const SERVED: &[SubresourceInfo] = &[
    core("namespaces", "finalize", "Namespace", &["update"]),
    core("pods", "attach", "PodAttachOptions", &["create", "get"]),
    core("pods", "binding", "Binding", &["create"]),
    core("pods", "exec", "PodExecOptions", &["create", "get"]),
    core("pods", "log", "Pod", &["get"]),
];

const fn core(
    plural: &'static str,
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> SubresourceInfo {
    SubresourceInfo { group: "", plural, name, kind, kind_group: "", kind_version: "v1", verbs }
}

/// The name of a sub-resource, if any resource has it: for labels that clients cannot make up.
pub(crate) fn known(name: &str) -> &'static str {
    if name == "status" {
        return "status";
    }
    SERVED.iter().find(|served| served.name == name).map_or("", |served| served.name)
}

/// Answers a request for a sub-resource, once it is authorized.
pub(crate) async fn serve(
    server: &Arc<ApiServer>,
    resource: &Arc<ResourceDescriptor>,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let pods = resource.group.is_empty() && resource.plural == "pods";
    match (request.path.subresource.as_str(), request.verb) {
        ("binding", Verb::Create) if pods => binding::bind(server, resource, request).await,
        ("log", Verb::Get) if pods => stream::logs(server, resource, request).await,
        ("exec" | "attach", Verb::Get | Verb::Create) if pods => upgrade::relay(server, request).await,
        ("portforward", Verb::Get | Verb::Create) if pods => Err(ApiError {
            code: 501,
            reason: "NotImplemented",
            message: "this server does not forward ports of pods; reach the pod by its address or through a Service"
                .into(),
            details: None,
        }),
        ("binding" | "log" | "exec" | "attach", _) if pods => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::no_such_path()),
    }
}

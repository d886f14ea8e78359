//! What hangs below an object and is no plain part of it: scale, binding, and the streams that go on to a node's kubelet.

mod binding;
mod container;
pub(crate) mod kubelet;
mod scale;
mod stream;
mod upgrade;

use crate::{
    auth::Verb,
    http::{ResponseBody, dispatch::ResourceRequest},
    server::ApiServer,
};
use ::http::Response;
use orrery_machinery::{
    descriptor::{Does, ResourceDescriptor},
    status::ApiError,
};
use std::sync::Arc;

/// Answers a request for a sub-resource, once it is authorized.
pub(crate) async fn serve(
    server: &Arc<ApiServer>,
    resource: &Arc<ResourceDescriptor>,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let pods = resource.is("", "pods");
    if let Some(Does::Scale(paths)) = resource.subresource(&request.path.subresource).map(|found| &found.does) {
        return scale::serve(server, resource, paths, request).await;
    }
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

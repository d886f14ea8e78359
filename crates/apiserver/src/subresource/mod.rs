//! What hangs below an object and is no plain part of it: scale, binding, tokens, and the streams that go on to a node's kubelet.

mod binding;
mod container;
mod eviction;
pub(crate) mod kubelet;
mod proxy;
mod scale;
mod stream;
mod token;
pub(crate) mod upgrade;

use crate::{
    admission::Review,
    auth::{User, Verb},
    http::{ResponseBody, dispatch::ResourceRequest, path::ResourcePath, query::Query},
    registry::{Context, WriteOptions},
    server::ApiServer,
};
use ::http::Response;
use orrery_machinery::{
    descriptor::{Does, ResourceDescriptor},
    status::ApiError,
};
use serde_json::{Value, json};
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
        ("token", Verb::Create) if resource.is("", "serviceaccounts") => token::create(server, resource, request).await,
        ("binding", Verb::Create) if pods => binding::bind(server, resource, request).await,
        ("eviction", Verb::Create) if pods => eviction::evict(server, resource, request).await,
        ("log", Verb::Get) if pods => stream::logs(server, resource, request).await,
        ("exec" | "attach" | "portforward", Verb::Get | Verb::Create) if pods => {
            let ResourceRequest { user, path, query, .. } = &request;
            let asked = (user.clone(), path.clone(), query.clone());
            admit_stream(server, resource, asked).await?;
            upgrade::relay(server, request).await
        }
        ("proxy", _) if ["pods", "services", "nodes"].iter().any(|plural| resource.is("", plural)) => {
            let options = json!({"apiVersion": "v1", "path": request.parts.uri.path()});
            let (user, path) = (request.user.clone(), request.path.clone());
            connect(server, resource, (&user, path), options).await?;
            proxy::serve(server, resource, request).await
        }
        ("binding" | "eviction" | "log" | "exec" | "attach" | "portforward", _) if pods => {
            Err(ApiError::method_not_allowed())
        }
        _ => Err(ApiError::no_such_path()),
    }
}

/// Asks admission whether a stream may be opened.
async fn admit_stream(
    server: &ApiServer,
    resource: &ResourceDescriptor,
    (user, path, query): (User, ResourcePath, Query),
) -> Result<(), ApiError> {
    let mut options = json!({"apiVersion": "v1"});
    if path.subresource == "portforward" {
        let ports = query.all("ports").flat_map(|ports| ports.split(',')).filter_map(|port| port.parse::<u16>().ok());
        options["ports"] = ports.collect();
    } else {
        options["container"] = query.get("container").into();
        for flag in ["stdin", "stdout", "stderr", "tty"] {
            options[flag] = query.flag(flag)?.into();
        }
        options["command"] = query.all("command").collect();
    }
    connect(server, resource, (&user, path), options).await
}

/// Asks admission about a connection with these options.
async fn connect(
    server: &ApiServer,
    resource: &ResourceDescriptor,
    (user, path): (&User, ResourcePath),
    mut options: Value,
) -> Result<(), ApiError> {
    let kind = resource.subresource(&path.subresource).map(|found| found.kind.clone()).unwrap_or_default();
    options["kind"] = kind.into();
    let context = Context {
        caller: Some((user, &server.authorizer)),
        resource,
        namespace: path.namespace,
        name: path.name,
        subresource: path.subresource,
        options: WriteOptions::default(),
    };
    let registry = &server.registry;
    registry.admission.connect(&context, &registry.reader, &options, &mut Review::default()).await
}

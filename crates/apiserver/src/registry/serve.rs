//! From a request for a resource to the verb that answers it.

use super::{
    Context, Written, decode, list,
    options::{DeleteOptions, ListOptions, WriteOptions},
    patch::Patch,
    present::{self, Presenter},
    protobuf,
    watch::{self, WatchSettings},
};
use crate::{
    auth::Verb,
    http::{
        ResponseBody,
        body::{self, RequestBody},
        dispatch::ResourceRequest,
        respond,
    },
    metrics::Counted,
    server::ApiServer,
    subresource,
};
use ::http::{Response, request::Parts};
use bytes::Bytes;
use orrery_machinery::{
    descriptor::{Does, ResourceDescriptor, Storage, Subresource},
    status::ApiError,
};
use orrery_protobuf::accept;
use serde_json::Value;
use std::sync::Arc;

/// Answers a request for a resource, once it is authorized.
pub(crate) async fn serve(
    server: &Arc<ApiServer>,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let path = &request.path;
    let resource = server.registry.resource(&path.group, &path.version, &path.plural);
    let resource = resource.ok_or_else(ApiError::no_such_path)?;
    check_path(&request, &resource)?;
    if !is_object(&request, &resource) {
        return subresource::serve(server, &resource, request).await;
    }
    let ResourceRequest { user, verb, path, query, parts, body, .. } = request;
    if verb.writes() {
        accept::check_writer(&parts.headers, || protobuf::has_message(&resource))?;
    }
    let context = Context {
        caller: Some((&user, &server.authorizer)),
        resource: &resource,
        namespace: if resource.namespaced { path.namespace } else { String::new() },
        name: path.name,
        subresource: path.subresource,
        options: WriteOptions::parse(&query, &parts.headers)?,
    };
    let request = Call { server, context, resource: &resource, query, parts };
    match verb {
        _ if resource.storage == Storage::Review => request.review(verb, body).await,
        Verb::Get | Verb::List | Verb::Watch => request.read(verb).await,
        Verb::Create => request.create(body).await,
        Verb::Update | Verb::Patch => request.change(verb, body).await,
        Verb::Delete | Verb::DeleteCollection => request.delete(verb, body).await,
    }
}

/// Objects in namespaces are named in one; those without never are.
fn check_path(request: &ResourceRequest, resource: &ResourceDescriptor) -> Result<(), ApiError> {
    let path = &request.path;
    let has_namespace = !path.namespace.is_empty();
    let own = path.group.is_empty() && path.plural == "namespaces";
    if (!resource.namespaced && has_namespace && !own)
        || (resource.namespaced && !path.name.is_empty() && !has_namespace)
    {
        return Err(ApiError::no_such_path());
    }
    Ok(())
}

/// Whether the request is for an object as it is stored: itself or a part of it, such as its status.
fn is_object(request: &ResourceRequest, resource: &ResourceDescriptor) -> bool {
    let name = request.path.subresource.as_str();
    let of_object = |subresource: &Subresource| {
        matches!(subresource.does, Does::Part(_)) && subresource.verbs.contains(&request.verb.as_str())
    };
    name.is_empty() || resource.subresource(name).is_some_and(of_object)
}

/// A request whose body has not been read yet.
struct Call<'a> {
    server: &'a ApiServer,
    context: Context<'a>,
    resource: &'a Arc<ResourceDescriptor>,
    query: crate::http::query::Query,
    parts: Parts,
}

impl Call<'_> {
    async fn bytes(&self, body: RequestBody) -> Result<Bytes, ApiError> {
        body::read(body, &self.server.limits).await
    }

    fn list_options(&self, watch: bool) -> Result<ListOptions, ApiError> {
        ListOptions::parse(&self.query, self.resource, watch)
    }

    async fn review(&self, verb: Verb, body: RequestBody) -> Result<Response<ResponseBody>, ApiError> {
        let key = (self.resource.group.to_string(), self.resource.plural.to_string());
        let (Verb::Create, Some(handler)) = (verb, self.server.reviews.get(&key)) else {
            return Err(ApiError::method_not_allowed());
        };
        let Some((user, _)) = self.context.caller else { return Err(ApiError::unauthorized()) };
        if !accept::takes_object(&self.parts.headers) {
            return Err(ApiError::not_acceptable("application/json"));
        }
        let (mut review, duplicates) = decode::parse(&self.parts.headers, &self.bytes(body).await?)?;
        let warnings = decode::check(&self.context, &mut review, &duplicates)?;
        if self.resource.namespaced {
            crate::object::set_meta(&mut review, "namespace", Some(self.context.namespace.clone().into()));
        }
        self.resource.rules.default(&mut review);
        let errors = self.resource.rules.validate(&review, None);
        if !errors.is_empty() {
            return Err(ApiError::invalid(&self.resource.kind, self.context.target(""), &errors));
        }
        let answer = handler.review(user, review).await?;
        let mut response = respond::json(201, &answer);
        respond::warn(&mut response, &warnings);
        Ok(response)
    }

    async fn read(self, verb: Verb) -> Result<Response<ResponseBody>, ApiError> {
        let presenter = Presenter::parse(self.resource, &self.parts.headers, &self.query)?;
        let registry = &self.server.registry;
        match verb {
            Verb::Get => {
                let entry = registry.entry(&self.context, &self.context.name).await?;
                Ok(respond::typed(200, "application/json", presenter.object(&entry)?))
            }
            Verb::Watch if !self.context.name.is_empty() => {
                Err(watch::refuse_name(self.context.target(&self.context.name)))
            }
            Verb::Watch => {
                let settings = WatchSettings {
                    bookmark_interval: self.server.limits.bookmark_interval,
                    stopping: self.server.stopping.clone(),
                    counted: Counted::one(&self.server.metrics.watchers),
                };
                let options = self.list_options(true)?;
                let resource = Arc::clone(self.resource);
                let media = presenter.watch_media();
                let stream = registry.watch(&self.context, resource, options, presenter, settings).await?;
                Ok(respond::with_body(200, media, stream))
            }
            Verb::List | Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection => {
                match registry.list(&self.context, &self.list_options(false)?).await {
                    Ok(listed) => presenter.list(listed).await,
                    Err(error) => match list::expired_status(&error) {
                        Some(status) => Ok(respond::json(error.code, &status)),
                        None => Err(error),
                    },
                }
            }
        }
    }

    async fn create(self, body: RequestBody) -> Result<Response<ResponseBody>, ApiError> {
        // Objects in namespaces are created in one, and none under a name.
        if !self.context.name.is_empty() || (self.resource.namespaced && self.context.namespace.is_empty()) {
            return Err(ApiError::method_not_allowed());
        }
        let (object, duplicates) = decode::parse(&self.parts.headers, &self.bytes(body).await?)?;
        let written = self.server.registry.create(&self.context, object, &duplicates).await?;
        Ok(answer(201, &written))
    }

    async fn change(self, verb: Verb, body: RequestBody) -> Result<Response<ResponseBody>, ApiError> {
        if self.context.name.is_empty() {
            return Err(ApiError::method_not_allowed());
        }
        let registry = &self.server.registry;
        let headers = &self.parts.headers;
        let written = if verb == Verb::Patch {
            // The kind is looked at before the body is waited for.
            let patch = Patch::parse(headers, &self.bytes(body).await?)?;
            self.context.options.check_patch(patch.is_apply())?;
            if patch.is_apply() {
                let (created, written) = registry.apply(&self.context, &patch).await?;
                return Ok(answer(if created { 201 } else { 200 }, &written));
            }
            registry.patch(&self.context, &patch).await?
        } else {
            let (object, duplicates) = decode::parse(headers, &self.bytes(body).await?)?;
            registry.update(&self.context, &object, &duplicates).await?
        };
        Ok(answer(200, &written))
    }

    async fn delete(self, verb: Verb, body: RequestBody) -> Result<Response<ResponseBody>, ApiError> {
        let bytes = self.bytes(body).await?;
        let body = if bytes.is_empty() { None } else { Some(self.delete_body(&bytes)?) };
        let options = DeleteOptions::parse(body.as_ref(), &self.query)?;
        let registry = &self.server.registry;
        if verb == Verb::Delete {
            let written = registry.delete(&self.context, &options).await?;
            return Ok(present::deleted(&self.context, &written.object, written.removed));
        }
        if self.resource.namespaced && self.context.namespace.is_empty() {
            return Err(ApiError::method_not_allowed());
        }
        let presenter = Presenter::parse(self.resource, &self.parts.headers, &self.query)?;
        let (revision, deleted) =
            registry.delete_collection(&self.context, &self.list_options(false)?, &options).await?;
        let metadata = serde_json::json!({"resourceVersion": revision.0.to_string()});
        Ok(respond::json(200, &presenter.objects(&deleted, &metadata)))
    }

    fn delete_body(&self, bytes: &[u8]) -> Result<Value, ApiError> {
        let (body, _) = decode::parse(&self.parts.headers, bytes)?;
        match body["kind"].as_str() {
            None | Some("" | "DeleteOptions") => Ok(body),
            Some(other) => Err(ApiError::bad_request(format!("the body is a {other}, not DeleteOptions"))),
        }
    }
}

fn answer(status: u16, written: &Written) -> Response<ResponseBody> {
    let mut response = respond::json(status, &written.object);
    respond::warn(&mut response, &written.warnings);
    response
}

//! The way of a request: limits, who calls, whether they may, and who answers.

use super::{
    body::{self, RequestBody, ResponseBody},
    compress,
    path::{self, Path, ResourcePath},
    query::Query,
    respond,
};
use crate::{
    auth::{Attributes, User, Verb},
    config::{ExtraRequest, ExtraRoute},
    metrics::{Counted, RequestLabels},
    server::ApiServer,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use orrery_machinery::{descriptor::Text, status::ApiError};
use std::{sync::Arc, time::Instant};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Paths that need no certificate.
const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz"];
/// Sub-resources whose answer is a stream.
const STREAMS: &[&str] = &["log", "exec", "attach", "portforward"];
/// Those of them that do more than read.
const INTERACTIVE: &[&str] = &["exec", "attach", "portforward"];

/// Who calls, and over what.
#[derive(Clone)]
pub(crate) struct Caller {
    /// None without a certificate.
    pub(crate) user: Option<User>,
    /// Whether the connection can be upgraded.
    pub(crate) upgrades: bool,
}

/// A request for a resource, from a known user.
pub(crate) struct ResourceRequest {
    pub(crate) user: User,
    pub(crate) verb: Verb,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) parts: Parts,
    pub(crate) body: RequestBody,
    pub(crate) upgrades: bool,
}

/// Answers any request; never fails.
pub(crate) async fn handle(
    server: Arc<ApiServer>,
    caller: Caller,
    request: Request<RequestBody>,
) -> Response<ResponseBody> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let audit = audit_id(&parts.headers);
    let method = parts.method.clone();
    let uri_path = parts.uri.path().to_owned();
    let query = Query::parse(parts.uri.query());
    let parsed = path::parse(&uri_path);
    let verb = verb_of(&method, &parsed, &query);
    let long = is_long(verb, &parsed);
    let gzips = !long && compress::is_wanted(&parts.headers);
    let who = caller.user.as_ref().map_or("system:anonymous", User::name).to_owned();
    let routed = route(&server, caller, Incoming { parts, body, query, path: parsed.clone(), verb, long });
    let routed: futures::future::BoxFuture<'_, _> = Box::pin(routed);
    let result = if long {
        routed.await
    } else {
        match tokio::time::timeout(server.limits.request_timeout, routed).await {
            Ok(result) => result,
            Err(_) => {
                Err(ApiError::timeout("the request took too long and was abandoned; it may have been carried out"))
            }
        }
    };
    let mut response = result.unwrap_or_else(|error| {
        if error.code >= 500 {
            tracing::warn!(audit, path = uri_path, code = error.code, error = error.message, "a request failed");
        }
        respond::error(&error)
    });
    if gzips && response.status() == ::http::StatusCode::OK {
        response = compress::gzip(response);
    }
    if let Ok(value) = HeaderValue::from_str(&audit) {
        response.headers_mut().insert(AUDIT_ID, value);
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let code = response.status().as_u16();
    let took = started.elapsed();
    let labels = labels(&server, verb, &method, &parsed, code);
    server.metrics.answered(&labels, (!long).then_some(took));
    let verb = labels.verb;
    let ms = took.as_millis();
    tracing::debug!(audit, user = who, verb, path = uri_path, code, ms, "answered");
    response
}

struct Incoming {
    parts: Parts,
    body: RequestBody,
    query: Query,
    path: Path,
    verb: Option<Verb>,
    long: bool,
}

fn audit_id(headers: &HeaderMap) -> String {
    let given = headers.get(AUDIT_ID).and_then(|value| value.to_str().ok());
    given.filter(|id| !id.is_empty() && id.len() <= 64).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// The verb of a resource request. None for other paths, and for methods that no resource has.
fn verb_of(method: &Method, path: &Path, query: &Query) -> Option<Verb> {
    let Path::Resource(path) = path else { return None };
    let named = !path.name.is_empty();
    // A sub-resource such as `log` has no watch; its `watch` parameter means nothing.
    let watches = path.subresource.is_empty() && query.flag("watch").unwrap_or(false);
    match *method {
        Method::GET | Method::HEAD if watches => Some(Verb::Watch),
        Method::GET | Method::HEAD if named => Some(Verb::Get),
        Method::GET | Method::HEAD => Some(Verb::List),
        Method::POST => Some(Verb::Create),
        Method::PUT => Some(Verb::Update),
        Method::PATCH => Some(Verb::Patch),
        Method::DELETE if named => Some(Verb::Delete),
        Method::DELETE => Some(Verb::DeleteCollection),
        _ => None,
    }
}

fn is_long(verb: Option<Verb>, path: &Path) -> bool {
    let stream = matches!(path, Path::Resource(path) if STREAMS.contains(&path.subresource.as_str()));
    stream || verb == Some(Verb::Watch)
}

/// Labels that a client cannot make up: unknown resources and paths are counted together.
fn labels(server: &ApiServer, verb: Option<Verb>, method: &Method, path: &Path, code: u16) -> RequestLabels {
    let known = match path {
        Path::Resource(path) => server.registry.resource(&path.group, &path.version, &path.plural).map(|r| (path, r)),
        Path::Other => None,
    };
    let plain = match *method {
        Method::GET => "get",
        Method::POST => "post",
        _ => "other",
    };
    let (group, resource, subresource) = match known {
        Some((path, resource)) => {
            let subresource =
                resource.subresource(&path.subresource).map_or(Text::default(), |found| found.name.clone());
            (resource.group.clone(), resource.plural.clone(), subresource)
        }
        None => Default::default(),
    };
    RequestLabels {
        verb: if resource.is_empty() { plain } else { verb.map_or(plain, Verb::as_str) },
        group: group.into_owned(),
        resource: resource.into_owned(),
        subresource: subresource.into_owned(),
        code,
    }
}

async fn route(server: &Arc<ApiServer>, caller: Caller, request: Incoming) -> Result<Response<ResponseBody>, ApiError> {
    let path = request.parts.uri.path().to_owned();
    if request.parts.headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Err(ApiError::bad_request(
            "this server does not impersonate users; leave out the Impersonate-* headers (kubectl --as)",
        ));
    }
    if HEALTH.iter().any(|health| path.strip_prefix(health).is_some_and(|rest| rest.is_empty() || rest == "/")) {
        return crate::discovery::health(server, &path, &request.query).await;
    }
    if let Some(route) = server.extra.iter().find(|route| path.starts_with(route.prefix)) {
        return extra(server, route, caller.user, request).await;
    }
    let Some(user) = caller.user else { return Err(ApiError::unauthorized()) };
    let Path::Resource(resource) = request.path else {
        let verb = request.parts.method.as_str().to_ascii_lowercase();
        server.authorizer.require(&Attributes::path(user, &verb, &path)).await?;
        let _counted = Counted::one(&server.metrics.in_flight);
        return crate::discovery::answer(server, &request.parts, &path);
    };
    let Some(verb) = request.verb else { return Err(ApiError::method_not_allowed()) };
    let mut asked = Attributes::resource(
        user.clone(),
        verb.as_str(),
        &resource.group,
        &resource.plural,
        &resource.namespace,
        &resource.name,
    );
    asked.subresource.clone_from(&resource.subresource);
    asked.field_selector = request.query.get("fieldSelector").to_owned();
    let _slot = if request.long { None } else { Some(slot(server, verb.writes())?) };
    server.authorizer.require(&asked).await?;
    if verb == Verb::Get && INTERACTIVE.contains(&resource.subresource.as_str()) {
        // A WebSocket begins as GET, but whoever may only read may not run commands.
        asked.verb = Verb::Create.as_str().to_owned();
        server.authorizer.require(&asked).await?;
    }
    let request = ResourceRequest {
        user,
        verb,
        path: resource,
        query: request.query,
        parts: request.parts,
        body: request.body,
        upgrades: caller.upgrades,
    };
    crate::registry::serve(server, request).await
}

/// A place among the requests under way, given back when dropped.
struct Slot<'a> {
    _permit: tokio::sync::SemaphorePermit<'a>,
    _counted: Counted,
}

fn slot(server: &ApiServer, writes: bool) -> Result<Slot<'_>, ApiError> {
    let slots = if writes { &server.writes } else { &server.reads };
    match slots.try_acquire() {
        Ok(permit) => Ok(Slot { _permit: permit, _counted: Counted::one(&server.metrics.in_flight) }),
        Err(_) => Err(ApiError::too_many_requests("too many requests are under way, please try again later", 1)),
    }
}

async fn extra(
    server: &ApiServer,
    route: &ExtraRoute,
    user: Option<User>,
    request: Incoming,
) -> Result<Response<ResponseBody>, ApiError> {
    if user.is_none() && !route.anonymous {
        return Err(ApiError::unauthorized());
    }
    let _slot = slot(server, request.parts.method != Method::GET)?;
    let body = body::read(request.body, &server.limits).await?;
    let path = request.parts.uri.path().to_owned();
    let answer = route.handler.handle(ExtraRequest { method: request.parts.method, path, user, body }).await?;
    Ok(respond::json(200, &answer))
}

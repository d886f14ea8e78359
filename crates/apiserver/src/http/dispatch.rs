//! The way of a request: limits, who calls, whether they may, and who answers.

use super::{
    audit::{Audited, Facts, Trail},
    body::{self, RequestBody, ResponseBody},
    identity,
    path::{self, Path, ResourcePath},
    query::Query,
    respond,
};
use crate::{
    aggregate,
    auth::{Attributes, User, Verb},
    config::{ExtraRequest, ExtraRoute},
    metrics::{Counted, RequestLabels},
    server::ApiServer,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header, request::Parts};
use futures::FutureExt;
use orrery_machinery::{descriptor::Text, status::ApiError};
use orrery_protobuf::accept;
use orrery_serving::compress;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Paths that need no certificate.
const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz"];
/// Sub-resources whose answer is a stream.
const STREAMS: &[&str] = &["log", "exec", "attach", "portforward", "proxy"];
/// Those of them that do more than read.
const INTERACTIVE: &[&str] = &["exec", "attach", "portforward"];

/// Who calls, and over what.
#[derive(Clone)]
pub(crate) struct Caller {
    /// None without a certificate.
    pub(crate) user: Option<User>,
    /// Whether it is a client within the process, who is `user` and nobody else.
    pub(crate) typed: bool,
    /// From where; none within the process.
    pub(crate) peer: Option<std::net::IpAddr>,
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
    /// Where to note what the audit log should tell.
    pub(crate) trail: Trail,
}

/// Answers any request; never fails.
pub(crate) async fn handle(
    server: Arc<ApiServer>,
    caller: Caller,
    request: Request<RequestBody>,
) -> Response<ResponseBody> {
    let started = Instant::now();
    let received = jiff::Timestamp::now();
    let (mut parts, body) = request.into_parts();
    let audit = audit_id(&parts.headers);
    let method = parts.method.clone();
    let version = parts.version;
    let uri_path = parts.uri.path().to_owned();
    let query = Query::parse(parts.uri.query());
    let parsed = path::parse(&uri_path);
    let verb = verb_of(&method, &parsed, &query);
    let long = is_long(verb, &parsed);
    let gzips = !long && compress::is_wanted(&parts.headers);
    let protobuf = accept::prefers_protobuf(&parts.headers);
    let trail = Trail::default();
    let known = identity::authenticate(&server, &caller, &mut parts.headers, &trail).await;
    let user = known.as_ref().ok().cloned().flatten().unwrap_or_else(User::anonymous);
    let who = user.name().to_owned();
    let plain_verb = method.as_str().to_ascii_lowercase();
    let facts = Facts {
        id: &audit,
        parts: &parts,
        path: &parsed,
        verb: match verb {
            Some(verb) => verb.as_str(),
            None => &plain_verb,
        },
        caller: &caller,
        user,
        long,
        received,
    };
    let mut audited = Audited::begin(&server, facts, &trail).await;
    let body = match &mut audited {
        Some(audited) => audited.request(&parts.headers, body),
        None => body,
    };
    let incoming = Incoming { parts, body, query, path: parsed.clone(), verb, long, trail };
    let answered = answer(&server, caller, known, incoming).await;
    let panicked = answered.is_err();
    let result = answered.unwrap_or_else(|_| {
        Err(ApiError::internal("the server failed badly on this request (a panic); its log says where"))
    });
    let error = result.as_ref().err().cloned();
    let mut response = written(result, &audit, &uri_path);
    let code = response.status().as_u16();
    if code == 413 && version < Version::HTTP_2 {
        // The rest of the body is not read: the client must not use the connection again.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let took = started.elapsed();
    let labels = labels(&server, verb, &method, &parsed, code);
    server.metrics.answered(&labels, (!long).then_some(took));
    let verb = labels.verb;
    let ms = took.as_millis();
    tracing::debug!(audit, user = who, verb, path = uri_path, code, ms, "answered");
    let response = match audited {
        Some(audited) if panicked => {
            audited.panicked().await;
            response
        }
        Some(audited) => audited.answered(response, error.as_ref()).await,
        None => response,
    };
    let response = if protobuf { respond::in_protobuf(response).await } else { response };
    if gzips && response.status() == ::http::StatusCode::OK { compress::gzip(response) } else { response }
}

/// What came of a request as a response, with the headers that all have.
fn written(result: Result<Response<ResponseBody>, ApiError>, audit: &str, path: &str) -> Response<ResponseBody> {
    let mut response = result.unwrap_or_else(|error| {
        if error.code >= 500 {
            tracing::warn!(audit, path, code = error.code, error = error.message, "a request failed");
        }
        respond::error(&error)
    });
    if let Ok(value) = HeaderValue::from_str(audit) {
        response.headers_mut().insert(AUDIT_ID, value);
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

/// Answers within the time that a request may take. An error is a panic.
async fn answer(
    server: &Arc<ApiServer>,
    caller: Caller,
    known: Result<Option<User>, ApiError>,
    incoming: Incoming,
) -> std::thread::Result<Result<Response<ResponseBody>, ApiError>> {
    let long = incoming.long;
    let limit = server.limits.request_timeout;
    let trail = incoming.trail.clone();
    let routed: futures::future::BoxFuture<'_, _> = Box::pin(trail.follow(route(server, caller, known, incoming)));
    let routed = AssertUnwindSafe(routed).catch_unwind();
    if long {
        return routed.await;
    }
    tokio::time::timeout(limit, routed).await.unwrap_or_else(|_| {
        Ok(Err(ApiError::timeout("the request took too long and was abandoned; it may have been carried out")))
    })
}

struct Incoming {
    parts: Parts,
    body: RequestBody,
    query: Query,
    path: Path,
    verb: Option<Verb>,
    long: bool,
    trail: Trail,
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

async fn route(
    server: &Arc<ApiServer>,
    caller: Caller,
    known: Result<Option<User>, ApiError>,
    mut request: Incoming,
) -> Result<Response<ResponseBody>, ApiError> {
    let path = request.parts.uri.path().to_owned();
    if HEALTH.iter().any(|health| path.strip_prefix(health).is_some_and(|rest| rest.is_empty() || rest == "/")) {
        return crate::discovery::health(server, &path, &request.query).await;
    }
    let trail = request.trail.clone();
    let user = match known? {
        Some(user) => Some(identity::act_as(server, &caller, user, &mut request.parts.headers, &trail).await?),
        None => None,
    };
    if let Some(route) = server.extra.iter().find(|route| path.starts_with(route.prefix)) {
        return extra(server, route, user, request).await;
    }
    let Some(user) = user else { return Err(ApiError::unauthorized()) };
    let Path::Resource(resource) = request.path else {
        let verb = request.parts.method.as_str().to_ascii_lowercase();
        let asker = user.clone();
        require(server, &Attributes::path(user, &verb, &path), &trail).await?;
        let _counted = Counted::one(&server.metrics.in_flight);
        if let Some(version) = aggregate::version_of(&path) {
            match aggregate::forward(server, version, &asker, (request.parts, request.body)).await {
                Ok(answered) => return answered,
                Err((parts, _)) => return crate::discovery::answer(server, &parts, &path),
            }
        }
        return crate::discovery::answer(server, &request.parts, &path);
    };
    let Some(verb) = request.verb else { return Err(ApiError::method_not_allowed()) };
    let mut asked = attributes(&user, verb, &resource, &request.query);
    let _slot = if request.long { None } else { Some(slot(server, verb.writes())?) };
    require(server, &asked, &trail).await?;
    if verb == Verb::Get && INTERACTIVE.contains(&resource.subresource.as_str()) {
        // A WebSocket begins as GET, but whoever may only read may not run commands.
        asked.verb = Verb::Create.as_str().to_owned();
        server.authorizer.require(&asked).await?;
    }
    let version = (resource.group.as_str(), resource.version.as_str());
    let (parts, body) = match aggregate::forward(server, version, &user, (request.parts, request.body)).await {
        Ok(answered) => return answered,
        Err(own) => own,
    };
    let request = ResourceRequest {
        user,
        verb,
        path: resource,
        query: request.query,
        parts,
        body,
        upgrades: caller.upgrades,
        trail,
    };
    crate::registry::serve(server, request).await
}

/// What the authorizer is asked about a request for a resource.
fn attributes(user: &User, verb: Verb, path: &ResourcePath, query: &Query) -> Attributes {
    let mut asked =
        Attributes::resource(user.clone(), verb.as_str(), &path.group, &path.plural, &path.namespace, &path.name);
    asked.subresource.clone_from(&path.subresource);
    if matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
        asked.fields = orrery_auth::field_terms(query.get("fieldSelector"));
        // A collection of one object is that object: rules that name it hold.
        let named = asked.fields.iter().find(|term| term.equal && term.field == "metadata.name");
        if let (true, Some(term)) = (asked.name.is_empty(), named) {
            asked.name = term.value.clone();
        }
    }
    asked
}

/// Asks the authorizer, and notes what it said.
async fn require(server: &ApiServer, asked: &Attributes, trail: &Trail) -> Result<(), ApiError> {
    let decided = server.authorizer.require(asked).await;
    let (decision, reason) = match &decided {
        Ok(why) => ("allow", why.clone()),
        Err(error) => ("forbid", error.message.clone()),
    };
    trail.annotate("authorization.k8s.io/decision", decision);
    trail.annotate("authorization.k8s.io/reason", reason);
    decided.map(drop)
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

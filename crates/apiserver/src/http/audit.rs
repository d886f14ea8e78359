//! What is written down about a request, as it goes its way.

use super::{
    body::{BoxError, RequestBody, ResponseBody},
    dispatch::Caller,
    path::{Path, ResourcePath},
};
use crate::{auth::User, registry::parse_body, server::ApiServer};
use ::http::{HeaderMap, Response, header, request::Parts};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use orrery_auth::audit::{Asked, AuditLog, Decided, Event, Level, ObjectRef, Stage};
use orrery_machinery::status::ApiError;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// Most bytes of an object that are written down; a longer one is left out.
const MAX_OBJECT: usize = 256 * 1024;

tokio::task_local! {
    /// The trail of the request that this task answers.
    static CURRENT: Trail;
}

/// What those who deal with a request note down about it. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Trail(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    annotations: BTreeMap<String, String>,
    impersonated: Option<User>,
}

impl Trail {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something, such as `authorization.k8s.io/reason`. What was noted first stays.
    pub(crate) fn annotate(&self, key: &str, value: impl Into<String>) {
        self.notes().annotations.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    /// Notes something about the request that this task answers, from where it is not at hand; nothing outside of one.
    pub(crate) fn annotate_current(key: &str, value: impl Into<String>) {
        let _ = CURRENT.try_with(|trail| trail.annotate(key, value));
    }

    /// Answers a request whose trail this is.
    pub(super) async fn follow<F: Future>(self, answering: F) -> F::Output {
        CURRENT.scope(self, answering).await
    }

    pub(super) fn impersonated(&self, user: User) {
        self.notes().impersonated = Some(user);
    }
}

/// Bytes of a body that went by, as far as they are wanted.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn add(&self, data: &Bytes) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One byte more tells that it was too long.
        let room = (MAX_OBJECT + 1).saturating_sub(seen.len());
        seen.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn object(&self, headers: &HeaderMap) -> Option<Value> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_empty() || seen.len() > MAX_OBJECT {
            return None;
        }
        parse_body(headers, &seen).ok()
    }
}

/// A request that is written down.
pub(super) struct Audited {
    log: AuditLog,
    decided: Decided,
    event: Event,
    trail: Trail,
    request: Option<(Seen, HeaderMap)>,
    /// Whether the answer goes on, as a watch does.
    long: bool,
}

/// What is known of a request when it is known who asks.
pub(super) struct Facts<'a> {
    pub(super) id: &'a str,
    pub(super) parts: &'a Parts,
    pub(super) path: &'a Path,
    pub(super) verb: &'a str,
    pub(super) caller: &'a Caller,
    pub(super) user: User,
    pub(super) long: bool,
    pub(super) received: jiff::Timestamp,
}

impl Audited {
    /// Begins to write a request down; none when the policy says that it is not.
    pub(super) async fn begin(server: &ApiServer, facts: Facts<'_>, trail: &Trail) -> Option<Self> {
        let log = server.audit.clone()?;
        let Facts { id, parts, path, verb, caller, user, long, received } = facts;
        let object = match path {
            Path::Resource(path) => Some(path),
            Path::Other => None,
        };
        let resource = object.map(|p| {
            [p.group.as_str(), p.plural.as_str(), p.subresource.as_str(), p.namespace.as_str(), p.name.as_str()]
        });
        let asked = Asked { user: &user, verb, resource, path: parts.uri.path() };
        let decided = log.policy().decide(&asked);
        if decided.level == Level::None {
            return None;
        }
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let event = Event {
            level: decided.level,
            id: id.to_owned(),
            stage: Stage::RequestReceived,
            uri: parts.uri.path_and_query().map_or("", |uri| uri.as_str()).to_owned(),
            verb: verb.to_owned(),
            user,
            impersonated: None,
            source: caller.peer,
            user_agent: agent.chars().take(1024).collect(),
            object: object.map(object_ref),
            status: None,
            request: None,
            response: None,
            received,
            at: received,
            annotations: BTreeMap::new(),
        };
        let audited = Self { log, decided, event, trail: trail.clone(), request: None, long };
        if audited.decided.writes(Stage::RequestReceived) {
            audited.log.write(audited.event.clone()).await;
        }
        Some(audited)
    }

    /// The request's body, looked at as it goes by when it is wanted.
    pub(super) fn request(&mut self, headers: &HeaderMap, body: RequestBody) -> RequestBody {
        if self.decided.level < Level::Request || self.long {
            return body;
        }
        let seen = Seen::default();
        let mut kept = HeaderMap::new();
        if let Some(kind) = headers.get(header::CONTENT_TYPE) {
            // A patch is JSON, too; of an unknown type nothing is written down.
            let json = kind.to_str().is_ok_and(|kind| kind.contains("json"));
            kept.insert(
                header::CONTENT_TYPE,
                if json { header::HeaderValue::from_static("application/json") } else { kind.clone() },
            );
        }
        self.request = Some((seen.clone(), kept));
        body.map_frame(move |frame| {
            if let Some(data) = frame.data_ref() {
                seen.add(data);
            }
            frame
        })
        .boxed_unsync()
    }

    /// The answer, whose end is written down too.
    pub(super) async fn answered(
        mut self,
        response: Response<ResponseBody>,
        error: Option<&ApiError>,
    ) -> Response<ResponseBody> {
        let code = response.status().as_u16();
        self.event.status = Some(match error {
            Some(error) => (error.code, error.reason.to_owned(), error.message.clone()),
            None => (code, String::new(), String::new()),
        });
        let goes_on = self.long && code < 400;
        if goes_on && self.decided.writes(Stage::ResponseStarted) {
            let event = self.at(Stage::ResponseStarted);
            self.log.write(event).await;
        }
        let wanted = self.decided.level >= Level::RequestResponse && !goes_on;
        let (parts, body) = response.into_parts();
        let mut headers = HeaderMap::new();
        if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, kind.clone());
        }
        let seen = wanted.then(|| (Seen::default(), headers));
        Response::from_parts(parts, Ending { body, seen, audited: Some(self) }.boxed_unsync())
    }

    /// The server failed badly.
    pub(super) async fn panicked(mut self) {
        self.event.status = Some((500, "InternalError".to_owned(), "APIServer panic'd".to_owned()));
        if self.decided.writes(Stage::Panic) {
            let event = self.at(Stage::Panic);
            self.log.write(event).await;
        }
    }

    /// What is known now.
    fn at(&self, stage: Stage) -> Event {
        let mut event = self.event.clone();
        event.stage = stage;
        event.at = jiff::Timestamp::now();
        let notes = self.trail.notes();
        event.annotations.clone_from(&notes.annotations);
        event.impersonated.clone_from(&notes.impersonated);
        drop(notes);
        event.request = self.request.as_ref().and_then(|(seen, headers)| self.shown(seen.object(headers)));
        event
    }

    /// An object as it is written down.
    fn shown(&self, object: Option<Value>) -> Option<Value> {
        let mut object = object?;
        if self.decided.omit_managed_fields {
            let strip = |object: &mut Value| {
                if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("managedFields");
                }
            };
            strip(&mut object);
            object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(strip);
        }
        Some(object)
    }
}

fn object_ref(path: &ResourcePath) -> ObjectRef {
    ObjectRef {
        group: path.group.clone(),
        version: path.version.clone(),
        resource: path.plural.clone(),
        subresource: path.subresource.clone(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
    }
}

/// The body of an answer, whose end or loss is written down.
struct Ending {
    body: ResponseBody,
    seen: Option<(Seen, HeaderMap)>,
    audited: Option<Audited>,
}

impl Body for Ending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some((seen, _))) = (&polled, &self.seen)
            && let Some(data) = frame.data_ref()
        {
            seen.add(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(audited) = self.audited.take() else { return };
        if audited.decided.writes(Stage::ResponseComplete) {
            let mut event = audited.at(Stage::ResponseComplete);
            event.response = self.seen.as_ref().and_then(|(seen, headers)| audited.shown(seen.object(headers)));
            audited.log.offer(event);
        }
    }
}

//! An API server in memory, behind a real client: objects by path, merge patches, and one watch of pods.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::sync::broadcast;

/// The objects, and all that was asked.
#[derive(Clone)]
pub(crate) struct ApiFake {
    pub(crate) objects: Arc<Mutex<BTreeMap<String, Value>>>,
    pub(crate) requests: Arc<Mutex<Vec<(Method, String, Value)>>>,
    pub(crate) events: broadcast::Sender<Value>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl ApiFake {
    pub(crate) fn start() -> (Self, kube::Client) {
        let (events, _) = broadcast::channel(64);
        let fake = Self { objects: Arc::default(), requests: Arc::default(), events };
        let serving = fake.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = serving.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        (fake, kube::Client::new(service, "default"))
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap().get(path).cloned()
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.uri.path().trim_end_matches("/status").to_owned();
        self.requests.lock().unwrap().push((head.method.clone(), head.uri.to_string(), body.clone()));
        let watched = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        if watched {
            return self.watch();
        }
        let mut objects = self.objects.lock().unwrap();
        match head.method {
            Method::GET if path.ends_with("/pods") || path.ends_with("/services") => {
                let of = format!("/{}/", path.rsplit('/').next().unwrap_or_default());
                let items: Vec<_> = objects.iter().filter(|(key, _)| key.contains(&of)).map(|(_, it)| it).collect();
                reply(StatusCode::OK, &json!({ "metadata": { "resourceVersion": "1" }, "items": items }))
            }
            Method::POST => {
                let mut object = body;
                object["metadata"]["uid"] = json!("0f8fad5b-d9cb-469f-a165-70867728950f");
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                objects.insert(format!("{path}/{name}"), object.clone());
                reply(StatusCode::CREATED, &object)
            }
            method => match objects.get_mut(&path) {
                None => missing(),
                Some(object) if method == Method::PATCH => {
                    merge(object, &body);
                    reply(StatusCode::OK, object)
                }
                Some(_) if method == Method::DELETE => reply(StatusCode::OK, &objects.remove(&path).unwrap()),
                Some(object) => reply(StatusCode::OK, object),
            },
        }
    }

    fn watch(&self) -> Answer {
        let events = futures::stream::unfold(self.events.subscribe(), |mut events| async {
            let event = events.recv().await.ok()?;
            Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), events))
        });
        Response::new(StreamBody::new(events).boxed_unsync())
    }
}

fn reply(status: StatusCode, value: &Value) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

fn missing() -> Answer {
    let status =
        json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404 });
    reply(StatusCode::NOT_FOUND, &status)
}

/// A JSON merge patch.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

//! Watches, read one event at a time.

use super::{Api, Failure, Form, Outcome};
use http::Method;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long to wait for an event that has to come.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to listen for an event that must not come.
pub const QUIET: Duration = Duration::from_secs(2);

/// An event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    /// The object as it is after the event.
    pub object: Value,
}

impl Event {
    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or("")
    }

    /// The object's resource version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.object["metadata"]["resourceVersion"].as_str().unwrap_or("")
    }
}

/// An open watch.
pub struct Watch {
    path: String,
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    /// Opens a watch.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn open(api: &Api, path: &str) -> Outcome<Self> {
        let opened = tokio::time::timeout(EVENT_TIMEOUT, api.open(Method::GET, path, Form::Json, Vec::new())).await;
        let response = opened.map_err(|_| Failure::wrong(format!("GET {path}: the watch was not opened")))??;
        if response.status().as_u16() != 200 {
            let status = response.status();
            let bytes = response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            return Err(Failure::wrong(format!("GET {path}: the watch was answered {status}: {text:.300}")));
        }
        Ok(Self { path: path.to_owned(), body: response.into_body(), rest: Vec::new() })
    }

    /// The next event; none when the server has ended the watch or nothing comes until `end`.
    async fn next_until(&mut self, end: Instant) -> Outcome<Option<Event>> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                let mut event: Value = serde_json::from_slice(&line)?;
                let kind = event["type"].as_str().unwrap_or_default().to_owned();
                return Ok(Some(Event { kind, object: event["object"].take() }));
            }
            match timeout_at(end, self.body.frame()).await {
                Err(_) | Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Failure::wrong(format!("watch {}: {error}", self.path))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// The next event that is no bookmark.
    ///
    /// # Errors
    /// When none comes in time, the watch ends or says an error.
    pub async fn next(&mut self) -> Outcome<Event> {
        let end = Instant::now() + EVENT_TIMEOUT;
        loop {
            match self.next_until(end).await? {
                Some(event) if event.kind == "BOOKMARK" => {}
                Some(event) if event.kind == "ERROR" => {
                    return Err(Failure::wrong(format!("watch {}: {}", self.path, event.object)));
                }
                Some(event) => return Ok(event),
                None => return Err(Failure::wrong(format!("watch {}: no event came, or it ended", self.path))),
            }
        }
    }

    /// The next event, which has to be of this type and of the object of this name.
    ///
    /// # Errors
    /// When it is another, or none comes.
    pub async fn expect(&mut self, kind: &str, name: &str) -> Outcome<Event> {
        let event = self.next().await.map_err(|failure| failure.during(format!("waiting for {kind} {name}")))?;
        if event.kind == kind && event.name() == name {
            return Ok(event);
        }
        let found = format!("{} {}", event.kind, event.name());
        Err(Failure::wrong(format!("watch {}: found {found}, wanted {kind} {name}", self.path)))
    }

    /// The first event that is as `wanted` says; others are passed over.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn find(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Event) -> bool) -> Outcome<Event> {
        let end = Instant::now() + limit;
        let mut seen = Vec::new();
        while let Some(event) = self.next_until(end).await? {
            if wanted(&event) {
                return Ok(event);
            }
            seen.push(format!("{} {}", event.kind, event.name()));
        }
        let seen = seen.join(", ");
        Err(Failure::wrong(format!("watch {}: {what} did not come; came: {seen:.300}", self.path)))
    }

    /// Sees that nothing but bookmarks comes for a while.
    ///
    /// # Errors
    /// When something comes.
    pub async fn quiet(&mut self) -> Outcome {
        let end = Instant::now() + QUIET;
        while let Some(event) = self.next_until(end).await? {
            if event.kind != "BOOKMARK" {
                let found = format!("{} {}", event.kind, event.name());
                return Err(Failure::wrong(format!("watch {}: {found} came, wanted nothing", self.path)));
            }
        }
        Ok(())
    }
}

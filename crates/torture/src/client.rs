//! A client that retries, and notes what it sees.

use http::Method;
use orrery_harness::{Api, Form};
use serde_json::Value;
use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long it waits before it tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// What clients saw, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Writes that were acknowledged.
    pub written: u64,
    /// Connections that broke or could not be had.
    pub broken: u64,
    /// Answers that say "later".
    pub later: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} writes, {} broken connections, {} told to come later", self.written, self.broken, self.later)
    }
}

/// An answer that nothing explains.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{asked}: {status}: {body}")]
pub struct Violation {
    /// Such as `PUT /api/v1/...`.
    pub asked: String,
    /// The answer's status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// A client.
pub(crate) struct Client {
    api: Api,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    seen: Seen,
    violation: Option<Violation>,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Whether one before it may have been carried out although its answer got lost.
    pub(crate) retried: bool,
}

impl Client {
    pub(crate) fn new(api: Api) -> Self {
        Self { api, notes: Mutex::default() }
    }

    fn notes<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn seen(&self) -> Seen {
        self.notes(|notes| notes.seen)
    }

    /// The first answer that nothing explains.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.notes(|notes| notes.violation.clone())
    }

    /// Asks until there is an answer that does not say "later".
    pub(crate) async fn ask(&self, method: Method, path: &str, form: Form, body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let mut retried = false;
        loop {
            match self.api.send(method.clone(), path, form, bytes.clone()).await {
                Err(_) => self.notes(|notes| notes.seen.broken += 1),
                Ok(answer) if matches!(answer.status, 429 | 503 | 504) => self.notes(|notes| notes.seen.later += 1),
                Ok(answer) => return Answer { status: answer.status, body: answer.body, retried },
            }
            retried = true;
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Form::Json, None).await
    }

    /// Writes: `expected` are the answers that are good, `after_retry` those that are when an answer got lost before.
    ///
    /// # Errors
    /// When the answer is another one.
    pub(crate) async fn write(
        &self,
        (method, path): (Method, &str),
        body: Option<&Value>,
        expected: &[u16],
        after_retry: &[u16],
    ) -> Result<Answer, Violation> {
        let form = if method == Method::PATCH { Form::MergePatch } else { Form::Json };
        let answer = self.ask(method.clone(), path, form, body).await;
        if expected.contains(&answer.status) || (answer.retried && after_retry.contains(&answer.status)) {
            self.notes(|notes| notes.seen.written += 1);
            return Ok(answer);
        }
        let violation =
            Violation { asked: format!("{method} {path}"), status: answer.status, body: answer.body.to_string() };
        self.notes(|notes| notes.violation.get_or_insert(violation.clone()).clone());
        Err(violation)
    }
}

//! Requests to the server under test, and its answers.

use super::{Failure, Outcome};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long one request may take; a watch is opened within it and then goes on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The form of a request's body or of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// RFC 7386
    MergePatch,
    /// RFC 6902
    JsonPatch,
    /// Kubernetes' strategic merge patch
    StrategicPatch,
    /// Server-side apply
    Apply,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::MergePatch => "application/merge-patch+json",
            Self::JsonPatch => "application/json-patch+json",
            Self::StrategicPatch => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// Who a request is made as and what is said about its form.
#[derive(Debug, Clone, Default)]
struct Headers(Vec<(String, String)>);

/// The server under test, as one user.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    headers: Headers,
    last: Arc<Mutex<String>>,
}

impl Api {
    /// The server that `client` talks to.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self { client, headers: Headers::default(), last: Arc::default() }
    }

    /// kube's own client of the same server.
    #[must_use]
    pub fn kube(&self) -> kube::Client {
        self.client.clone()
    }

    /// The same with notes of its own of what it asked last, for a test that shares the connection.
    #[must_use]
    pub fn for_test(&self) -> Self {
        Self { last: Arc::default(), ..self.clone() }
    }

    /// The same with one more header in each request, such as `Accept` or `Impersonate-User`.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut more = self.clone();
        more.headers.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name) || name.starts_with("Impersonate"));
        more.headers.0.push((name.to_owned(), value.to_owned()));
        more
    }

    /// What was asked last, such as `GET /api/v1/pods`.
    #[must_use]
    pub fn last_request(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One request whose answer is read whole.
    ///
    /// # Errors
    /// When there is no answer; a refusal is an answer.
    pub async fn send(&self, method: Method, path: &str, form: Form, body: Vec<u8>) -> Outcome<Answer> {
        let asked = format!("{method} {path}");
        let exchange = async {
            let response = self.open(method, path, form, body).await?;
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.map_err(|e| Failure::wrong(format!("{asked}: {}", chain(&e))))?.to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            Ok(Answer { asked: asked.clone(), status: parts.status.as_u16(), headers: parts.headers, bytes, body })
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::wrong(format!("{asked}: no answer within {REQUEST_TIMEOUT:?}"))),
        }
    }

    /// One request whose answer may go on.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn open(&self, method: Method, path: &str, form: Form, body: Vec<u8>) -> Outcome<Response<Body>> {
        let asked = format!("{method} {path}");
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&asked);
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, form.content_type());
        }
        if !self.headers.0.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            request = request.header(header::ACCEPT, "application/json");
        }
        for (name, value) in &self.headers.0 {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body)).map_err(|e| Failure::wrong(format!("{asked}: {e}")))?;
        self.client.send(request).await.map_err(|e| Failure::wrong(format!("{asked}: {}", chain(&e))))
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Outcome<Answer> {
        self.send(Method::GET, path, Form::Json, Vec::new()).await
    }

    /// `POST path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.send(Method::POST, path, Form::Json, serde_json::to_vec(body)?).await
    }

    /// `PUT path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn put(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.send(Method::PUT, path, Form::Json, serde_json::to_vec(body)?).await
    }

    /// `PATCH path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn patch(&self, path: &str, form: Form, body: &Value) -> Outcome<Answer> {
        self.send(Method::PATCH, path, form, serde_json::to_vec(body)?).await
    }

    /// `DELETE path`; `options` are a `DeleteOptions`, or null for none.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, path: &str, options: &Value) -> Outcome<Answer> {
        let body = if options.is_null() { Vec::new() } else { serde_json::to_vec(options)? };
        self.send(Method::DELETE, path, Form::Json, body).await
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

/// The text of a warning such as `299 - "unknown field \"a\""`.
fn warning(header: &str) -> String {
    let quoted = header.strip_prefix("299 - ").unwrap_or(header);
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    inner.replace("\\\"", "\"").replace("\\\\", "\\")
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked, such as `GET /api/v1/pods`.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub bytes: bytes::Bytes,
    /// The body as JSON; null when it is something else.
    pub body: Value,
}

impl Answer {
    /// The body of an answer of this status.
    ///
    /// # Errors
    /// When the status is another.
    pub fn expect(self, status: u16) -> Outcome<Value> {
        if self.status == status { Ok(self.body) } else { Err(self.unexpected(&format!("{status}"))) }
    }

    /// The body of an answer that is a success.
    ///
    /// # Errors
    /// When it is a refusal.
    pub fn success(self) -> Outcome<Value> {
        if self.is_success() { Ok(self.body) } else { Err(self.unexpected("success")) }
    }

    /// The `Status` of a refusal with this code and reason.
    ///
    /// # Errors
    /// When it is a success or refused otherwise.
    pub fn refused(self, status: u16, reason: &str) -> Outcome<Value> {
        if self.status == status && self.body["reason"] == reason && self.body["kind"] == "Status" {
            return Ok(self.body);
        }
        Err(self.unexpected(&format!("{status} {reason}")))
    }

    /// The message of a refusal, whatever its code.
    ///
    /// # Errors
    /// When it is a success.
    pub fn refusal(self) -> Outcome<String> {
        if self.is_success() { Err(self.unexpected("a refusal")) } else { Ok(self.message()) }
    }

    /// Whether it is a success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The message of a `Status`, or the body's beginning when it is none.
    #[must_use]
    pub fn message(&self) -> String {
        match self.body["message"].as_str() {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(300)]).into_owned(),
        }
    }

    /// A header's text; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The texts of the `Warning` headers (RFC 7234, code 299), unquoted.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let texts = self.headers.get_all(header::WARNING).iter().filter_map(|value| value.to_str().ok());
        texts.map(warning).collect()
    }

    /// The failure that says that something else was wanted.
    #[must_use]
    pub fn unexpected(&self, wanted: &str) -> Failure {
        let reason = self.body["reason"].as_str().unwrap_or("");
        let message = if self.is_success() { String::new() } else { self.message() };
        Failure::wrong(format!("{}: answered {} {reason} {message}, wanted {wanted}", self.asked, self.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_loses_its_code_and_its_quotes() {
        let header = r#"299 - "unknown field \"spec.a\"""#;
        assert_eq!(warning(header), r#"unknown field "spec.a""#);
    }
}

//! Requests over HTTPS, one connection each.

use crate::{
    support::{Answer, Listening},
    wire::connect,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use orrery_identity::Credentials;
use serde_json::Value;

/// A client of a listening server, with a certificate, a token, or neither.
pub(crate) struct Remote<'a> {
    pub(crate) listening: &'a Listening,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) headers: Vec<(String, String)>,
}

impl<'a> Remote<'a> {
    pub(crate) fn certified(listening: &'a Listening, name: &str, group: Option<&str>) -> Self {
        let credentials = Some(listening.authorities.client(name, group));
        Self { listening, credentials, headers: Vec::new() }
    }

    pub(crate) fn admin(listening: &'a Listening) -> Self {
        Self::certified(listening, "root", Some("system:masters"))
    }

    pub(crate) fn bearer(listening: &'a Listening, token: &str) -> Self {
        let headers = vec![("authorization".to_owned(), format!("Bearer {token}"))];
        Self { listening, credentials: None, headers }
    }

    /// The same client with one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let stream = connect(self.listening, self.credentials.as_ref()).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "api");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let request = request.header("content-type", kind).body(Full::new(Bytes::from(bytes))).unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        task.abort();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    /// Who the server says that this is.
    pub(crate) async fn who(&self) -> Answer {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        self.post(path, &serde_json::json!({})).await
    }
}

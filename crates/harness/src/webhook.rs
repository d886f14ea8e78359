//! An HTTPS server in this process that the API server calls: admission and conversion webhooks.
//!
//! It listens on a free port of the loopback address with an authority of its own, so the server under test has to run on
//! this machine. Where the answer comes from is one function of the path and the request's body.

use super::{Context, Failure, Outcome};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioExecutor, rt::TokioIo, server::conn::auto};
use orrery_identity::{Authority, Credentials, Profile, Usage, tls};
use serde_json::{Value, json};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// A request that the server under test has made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Such as `POST`.
    pub method: http::Method,
    /// The path, without parameters.
    pub path: String,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// Answers one request with a status and JSON.
type Handler = Arc<dyn Fn(Asked) -> BoxFuture<'static, (u16, Value)> + Send + Sync>;

/// A running server; it ends when this is dropped.
pub struct WebhookServer {
    address: SocketAddr,
    authority_pem: String,
    task: JoinHandle<()>,
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WebhookServer {
    /// Starts a server that answers with what `handler` makes of path and body; null is 404.
    ///
    /// # Errors
    /// When there is no port or no certificate to be had.
    pub async fn start<F>(
        context: &Context,
        handler: impl Fn(String, Value) -> F + Send + Sync + 'static,
    ) -> Outcome<Self>
    where
        F: Future<Output = Value> + Send + 'static,
    {
        let names = vec!["127.0.0.1".to_owned()];
        Self::start_named(context, names, None, move |asked: Asked| {
            let answered = handler(asked.path, asked.body);
            async move {
                let body = answered.await;
                (if body.is_null() { 404 } else { 200 }, body)
            }
        })
        .await
    }

    /// Starts a server whose certificate is for `names`, and that answers with what `handler` makes of a request. Clients may
    /// show a certificate of the authority `clients_ca_pem`, or of the server's own.
    ///
    /// # Errors
    /// When there is no port or no certificate to be had.
    pub async fn start_named<F>(
        context: &Context,
        names: Vec<String>,
        clients_ca_pem: Option<&str>,
        handler: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Outcome<Self>
    where
        F: Future<Output = (u16, Value)> + Send + 'static,
    {
        let directory = context.directory().join(context.name("webhook"));
        let (authority_pem, credentials) = certificates(&directory, names).map_err(Failure::wrong)?;
        let clients = tls::Clients::Optional(clients_ca_pem.unwrap_or(&authority_pem));
        let config = tls::server(&credentials, clients, &["h2", "http/1.1"]).map_err(Failure::wrong)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let handler: Handler = Arc::new(move |asked| Box::pin(handler(asked)));
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(config), handler));
        Ok(Self { address, authority_pem, task })
    }

    /// The certificate of the server's authority, as base64 of PEM.
    #[must_use]
    pub fn ca_bundle(&self) -> String {
        BASE64_STANDARD.encode(&self.authority_pem)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `clientConfig` with which the API server finds a path of this server.
    #[must_use]
    pub fn client_config(&self, path: &str) -> Value {
        json!({"url": self.url(path), "caBundle": self.ca_bundle()})
    }

    /// The URL of a path of this server.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

fn certificates(
    directory: &std::path::Path,
    names: Vec<String>,
) -> Result<(String, Credentials), orrery_identity::IdentityError> {
    let _ = std::fs::create_dir_all(directory);
    let authority = Authority::load_or_create(directory, "webhook")?;
    let profile = Profile {
        common_name: "webhook".to_owned(),
        organization: None,
        alternative_names: names,
        usage: Usage::Server,
        lifetime: Duration::from_secs(24 * 3600),
    };
    Ok((authority.certificate_pem().to_owned(), authority.issue(&profile)?))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, handler: Handler) {
    // Connections end with the server: the set aborts its tasks when it is dropped.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, Arc::clone(&handler)));
            let builder = auto::Builder::new(TokioExecutor::new());
            // A client that goes away in the middle is its own business.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, handler: Handler) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null),
        Err(_) => Value::Null,
    };
    let path = parts.uri.path().to_owned();
    let (status, answered) = handler(Asked { method: parts.method, path, headers: parts.headers, body }).await;
    let mut response = Response::new(Full::new(Bytes::from(answered.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn review(asked: &Value, mut response: Value) -> Value {
    response["uid"] = asked["request"]["uid"].clone();
    json!({"apiVersion": asked["apiVersion"], "kind": asked["kind"], "response": response})
}

/// An `AdmissionReview` that lets the request pass.
#[must_use]
pub fn allow(asked: &Value) -> Value {
    review(asked, json!({"allowed": true}))
}

/// An `AdmissionReview` that refuses the request.
#[must_use]
pub fn deny(asked: &Value, message: &str) -> Value {
    review(asked, json!({"allowed": false, "status": {"message": message}}))
}

/// An `AdmissionReview` that lets the request pass with a JSON patch of the object.
#[must_use]
pub fn patch_with(asked: &Value, patch: &Value) -> Value {
    let patch = BASE64_STANDARD.encode(patch.to_string());
    review(asked, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

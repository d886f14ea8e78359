//! What a server says of itself: discovery, OpenAPI, version, health, metrics.

use crate::{
    http::{ResponseBody, query::Query, respond},
    server::ApiServer,
};
use ::http::{HeaderMap, Method, Response, request::Parts};
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    discovery::Discovery,
    openapi::{self, Document},
    status::ApiError,
};
use orrery_protobuf::accept;
use serde_json::{Value, json};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The media type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// How long the store may take to show that it is alive.
const HEALTH_DEADLINE: Duration = Duration::from_secs(2);

/// The documents that are made once from the resources.
pub(crate) struct Documents {
    openapi: Vec<Document>,
    openapi_index: Value,
    /// Made when first asked for: it is large, and few clients want it.
    openapi_v2: OnceLock<Value>,
}

impl Documents {
    pub(crate) fn new(resources: &[Arc<ResourceDescriptor>]) -> Self {
        let openapi = openapi::documents(resources);
        Self { openapi_index: openapi::v3_index(&openapi), openapi, openapi_v2: OnceLock::new() }
    }
}

impl Documents {
    fn v2(&self) -> &Value {
        self.openapi_v2.get_or_init(|| openapi::v2_document(&self.openapi))
    }
}

/// Answers a path that is no resource and no health check.
pub(crate) fn answer(server: &ApiServer, parts: &Parts, path: &str) -> Result<Response<ResponseBody>, ApiError> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let table = server.registry.table();
    let registered = server.registered();
    let discovery = Discovery { descriptors: table.all(), registered: &registered };
    let document = match segments.as_slice() {
        ["version"] => Some(version(server)),
        ["metrics"] => {
            let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            return Ok(respond::typed(200, media, server.metrics.encode().into_bytes()));
        }
        ["api" | "apis"] if wants_aggregated(&parts.headers) => {
            let document = discovery.aggregated(segments == ["api"]);
            let bytes = serde_json::to_vec(&document).map_err(|error| ApiError::internal(error.to_string()))?;
            return Ok(respond::typed(200, AGGREGATED, bytes));
        }
        ["api"] => Some(discovery.api_versions(&host(&parts.headers))),
        ["apis"] => Some(discovery.group_list()),
        ["api", version] => discovery.resource_list("", version),
        ["apis", group] => discovery.group(group),
        ["apis", group, version] => discovery.resource_list(group, version),
        ["openapi", "v2"] if wants_protobuf(&parts.headers) => {
            let bytes = orrery_protobuf::openapi_v2(table.documents().v2());
            return Ok(respond::typed(200, orrery_protobuf::OPENAPI_V2_MEDIA_TYPE, bytes));
        }
        ["openapi", "v2"] => Some(table.documents().v2().clone()),
        ["openapi", "v3"] => Some(registered.openapi_index(&table.documents().openapi_index)),
        ["openapi", "v3", rest @ ..] => {
            let path = rest.join("/");
            let found = table.documents().openapi.iter().find(|document| document.path == path);
            found.map(|document| document.content.clone())
        }
        [".well-known", "openid-configuration"] => {
            return issuer(server, "application/json", |found| &found.configuration);
        }
        ["openid", "v1", "jwks"] => return issuer(server, "application/jwk-set+json", |found| &found.keys),
        [] => Some(json!({"paths": [
            "/.well-known/openid-configuration", "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2",
            "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version",
        ]})),
        _ => None,
    };
    document.map(|document| respond::json(200, &document)).ok_or_else(ApiError::no_such_path)
}

/// A document by which others verify tokens of service accounts; they may keep it for an hour.
fn issuer(
    server: &ApiServer,
    media: &'static str,
    document: impl FnOnce(&orrery_auth::token::Discovery) -> &Vec<u8>,
) -> Result<Response<ResponseBody>, ApiError> {
    let found = server.token_discovery.as_ref().ok_or_else(ApiError::no_such_path)?;
    let mut response = respond::typed(200, media, document(found).clone());
    let cache = ::http::HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(::http::header::CACHE_CONTROL, cache);
    Ok(response)
}

/// Whether the client asks for aggregated discovery before plain JSON.
fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accepted = accept::media(headers);
    let first = accepted.iter().find(|media| {
        media.name == "application/json"
            && match media.parameter("g") {
                "" => true,
                group => group == "apidiscovery.k8s.io" && media.parameter("v") == "v2",
            }
    });
    first.is_some_and(|media| media.parameter("as") == "APIGroupDiscoveryList")
}

/// Whether the client asks for the OpenAPI document in protobuf before JSON.
fn wants_protobuf(headers: &HeaderMap) -> bool {
    let protobuf = [orrery_protobuf::OPENAPI_V2_ASKED_AS, orrery_protobuf::OPENAPI_V2_MEDIA_TYPE];
    let accepted = accept::media(headers);
    let first = accepted.iter().find(|media| media.is_json() || protobuf.contains(&media.name));
    first.is_some_and(|media| protobuf.contains(&media.name))
}

fn host(headers: &HeaderMap) -> String {
    headers.get(::http::header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

fn version(server: &ApiServer) -> Value {
    let version = &server.version;
    json!({
        "major": version.major, "minor": version.minor, "gitVersion": version.git_version,
        "gitCommit": version.git_commit, "gitTreeState": "", "buildDate": version.build_date, "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// Health: alive means that the process answers, ready also that the store does and that serving is not about to end.
pub(crate) async fn health(server: &ApiServer, path: &str, query: &Query) -> Result<Response<ResponseBody>, ApiError> {
    let name = path.trim_matches('/');
    let mut checks = vec![("ping", Ok(()))];
    if name != "livez" {
        let store = tokio::time::timeout(HEALTH_DEADLINE, server.registry.store.current_revision()).await;
        let store = match store {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("the store fails"),
            Err(_) => Err("the store does not answer"),
        };
        checks.push(("store", store));
    }
    if name == "readyz" {
        let stopping = server.draining.is_cancelled();
        checks.push(("shutdown", if stopping { Err("the server is shutting down") } else { Ok(()) }));
    }
    let healthy = checks.iter().all(|(_, result)| result.is_ok());
    if healthy && !query.flag("verbose")? {
        return Ok(respond::text(200, "ok"));
    }
    let mut text = String::new();
    for (check, result) in checks {
        match result {
            Ok(()) => text.push_str(&format!("[+]{check} ok\n")),
            Err(why) => text.push_str(&format!("[-]{check} failed: {why}\n")),
        }
    }
    text.push_str(&format!("{name} check {}\n", if healthy { "passed" } else { "failed" }));
    Ok(respond::text(if healthy { 200 } else { 500 }, text))
}

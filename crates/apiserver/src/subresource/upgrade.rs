//! `pods/exec` and `pods/attach`: a WebSocket, or the SPDY of a kubelet that speaks it, relayed to the kubelet byte by byte after both sides have agreed to it.

use super::{container, kubelet};
use crate::{
    http::{ResponseBody, body, dispatch::ResourceRequest},
    server::ApiServer,
};
use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use orrery_machinery::status::ApiError;
use std::sync::Arc;

/// Agrees on the protocol with the kubelet and then with the client, and relays until either side is done.
pub(super) async fn relay(
    server: &Arc<ApiServer>,
    mut request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let kubelets = kubelet::required(server.kubelets.as_ref())?;
    check_upgrade(&request.parts.headers, request.upgrades)?;
    let (namespace, pod) = (&request.path.namespace, &request.path.name);
    let uri_query = stream_query(&request)?;
    let place = container::find(&server.registry, namespace, pod, request.query.get("container")).await?;
    let uri = format!("/{}/{namespace}/{pod}/{}?{uri_query}", request.path.subresource, place.container);
    let forward = forward(&request.parts, &uri)?;
    let mut response = kubelets.send(&place, forward).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(kubelet::refusal(response).await);
    }
    let client = on_upgrade(&mut request.parts)
        .ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded; use HTTP/1.1"))?;
    let upstream = hyper::upgrade::on(&mut response);
    let mut answer = Response::new(body::full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in response.headers() {
        if is_passed(name.as_str()) {
            answer.headers_mut().append(name.clone(), value.clone());
        }
    }
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    tokio::spawn(run(Arc::clone(server), client, upstream));
    Ok(answer)
}

/// Relays until one side closes, fails, or the server stops.
pub(crate) async fn run(server: Arc<ApiServer>, client: OnUpgrade, upstream: OnUpgrade) {
    let both = async {
        let (client, upstream) = futures::try_join!(client, upstream).map_err(std::io::Error::other)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await
    };
    // Dropping both connections half-way is what an end of the server means for a stream.
    match server.stopping.run_until_cancelled(both).await {
        None => tracing::debug!("a relayed stream was ended because the server stops"),
        Some(Ok((sent, received))) => tracing::debug!(sent, received, "a relayed stream has ended"),
        Some(Err(error)) => tracing::debug!(%error, "a relayed stream broke off"),
    }
}

/// The connection of a request, once it is upgraded; none when it cannot be.
pub(crate) fn on_upgrade(parts: &mut Parts) -> Option<OnUpgrade> {
    parts.extensions.remove::<OnUpgrade>()
}

fn check_upgrade(headers: &HeaderMap, upgrades: bool) -> Result<(), ApiError> {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !upgrades {
        return Err(ApiError::bad_request("clients within the server's process cannot upgrade connections"));
    }
    let upgrade = upgrade.to_ascii_lowercase();
    // A kubelet that does not speak SPDY refuses it after it has told what else is wrong: a client whose WebSocket was refused
    // tries SPDY, and shows only what is answered to that.
    if upgrade == "websocket" || upgrade.starts_with("spdy/") {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "you must request an upgrade: use a client that streams over WebSocket, such as kubectl 1.31 or later",
    ))
}

fn is_passed(header: &str) -> bool {
    header.starts_with("sec-websocket-") || header == "upgrade" || header == "x-stream-protocol-version"
}

/// The client's request as the kubelet gets it: only what the protocol needs, nothing of the client's identity.
fn forward(parts: &Parts, uri: &str) -> Result<Request<body::RequestBody>, ApiError> {
    let mut forward =
        Request::get(uri).body(body::full("")).map_err(|error| ApiError::bad_request(error.to_string()))?;
    for (name, value) in &parts.headers {
        if is_passed(name.as_str()) {
            forward.headers_mut().append(name.clone(), value.clone());
        }
    }
    forward.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    Ok(forward)
}

/// The query for the kubelet, which names the streams `input`, `output` and `error`.
fn stream_query(request: &ResourceRequest) -> Result<String, ApiError> {
    let query = &request.query;
    let (tty, stdin) = (query.flag("tty")?, query.flag("stdin")?);
    let (stdout, stderr) = (query.flag("stdout")?, query.flag("stderr")?);
    if tty && stderr {
        return Err(ApiError::bad_request("tty and stderr cannot both be true"));
    }
    if !stdin && !stdout && !stderr {
        return Err(ApiError::bad_request("at least one of stdin, stdout, stderr must be set"));
    }
    let mut out = form_urlencoded::Serializer::new(String::new());
    let mut commands = 0;
    if request.path.subresource == "exec" {
        for command in query.all("command") {
            out.append_pair("command", command);
            commands += 1;
        }
        if commands == 0 {
            return Err(ApiError::bad_request("you must specify at least one command for the container"));
        }
    }
    for (name, set) in [("input", stdin), ("output", stdout), ("error", stderr), ("tty", tty)] {
        if set {
            out.append_pair(name, "1");
        }
    }
    Ok(out.finish())
}

//! `/exec` and `/attach`: from a request to a WebSocket that is joined with a process in a guest.

use super::channel::Protocol;
use super::reply::{Body, body, text};
use super::route::{Place, StreamOptions};
use super::stream::{Wishes, relay};
use crate::{
    host::{CallError, ProcessStream, Shim},
    node::chain,
    pods::{Directory, Known},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use orrery_wire::guest::ProcessSpec;
use orrery_wire::shim::MachineStatus;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;

/// The longest message of a client, in bytes. kubectl sends 32 KiB at most.
const LONGEST_MESSAGE: usize = 1024 * 1024;

type Refusal = (StatusCode, String);

/// Runs a process in a container.
pub(super) async fn exec(
    request: Request<Incoming>,
    directory: &Directory,
    place: &Place,
    options: StreamOptions,
    ends: CancellationToken,
) -> Response<Body> {
    let process = ProcessSpec {
        argv: options.command.clone(),
        env: Vec::new(),
        working_directory: String::new(),
        user: String::new(),
        supplementary_groups: Vec::new(),
        tty: options.tty,
        stdin: options.stdin,
    };
    let prepared = async {
        // First what is wrong with the container: it is what a client shows, whichever protocol it tries last.
        let shim = running(directory, place)?;
        let handshake = Handshake::read(request.headers())?;
        let process = shim.exec(&place.container, process).await;
        Ok((handshake, process))
    };
    answer(prepared.await, request, &options, ends)
}

/// Connects to the first process of a container.
pub(super) async fn attach(
    request: Request<Incoming>,
    directory: &Directory,
    place: &Place,
    mut options: StreamOptions,
    ends: CancellationToken,
) -> Response<Body> {
    let prepared = async {
        // First what is wrong with the container: it is what a client shows, whichever protocol it tries last.
        let shim = running(directory, place)?;
        let handshake = Handshake::read(request.headers())?;
        let facts = known(directory, place)?;
        let container = facts.containers.iter().find(|container| container.name == place.container);
        // Input goes only to a container that has one.
        options.stdin &= container.is_some_and(|container| container.stdin);
        let process = shim.attach(&place.container, options.stdin).await;
        Ok((handshake, process))
    };
    answer(prepared.await, request, &options, ends)
}

fn known(directory: &Directory, place: &Place) -> Result<Known, Refusal> {
    let facts = directory.facts(&place.namespace, &place.pod);
    let facts = facts.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod {:?} is not on this node", place.pod)))?;
    Ok(facts.borrow().clone())
}

/// The shim of the pod, when the container runs in it.
fn running(directory: &Directory, place: &Place) -> Result<Shim, Refusal> {
    let known = known(directory, place)?;
    let container = &place.container;
    if !known.containers.iter().any(|known| &known.name == container) {
        return Err((StatusCode::NOT_FOUND, format!("container {container:?} is not in pod {:?}", place.pod)));
    }
    let runs = |status: &MachineStatus| status.containers.iter().any(|c| &c.name == container && c.exit.is_none());
    match (known.shim_socket, known.status) {
        (Some(socket), Some(status)) if runs(&status) => Ok(Shim::new(socket)),
        _ => Err((StatusCode::BAD_REQUEST, format!("container {container:?} of pod {:?} is not running", place.pod))),
    }
}

/// What a client's request for a WebSocket says.
struct Handshake {
    protocol: Protocol,
    accept: HeaderValue,
}

impl Handshake {
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let bad = |message: &str| (StatusCode::BAD_REQUEST, message.to_owned());
        let names = |name: header::HeaderName, word: &str| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
        };
        if !names(header::CONNECTION, "upgrade") || !names(header::UPGRADE, "websocket") {
            return Err(bad(
                "streams are served over WebSocket only, not SPDY: use a client such as kubectl 1.31 or later",
            ));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err((StatusCode::UPGRADE_REQUIRED, "the WebSocket version must be 13".to_owned()));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| bad("Sec-WebSocket-Key is missing"))?;
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|v| v.to_str().ok());
        let offered = offered.collect::<Vec<_>>().join(",");
        let protocol = Protocol::choose(&offered)
            .ok_or_else(|| bad("no common subprotocol; this port speaks v5.channel.k8s.io and v4.channel.k8s.io"))?;
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::from_str(&accept).map_err(|_| bad("Sec-WebSocket-Key is malformed"))?;
        Ok(Self { protocol, accept })
    }

    fn response(self) -> Response<Body> {
        let mut response = Response::new(body(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.protocol.name()));
        response
    }
}

/// Switches to the WebSocket and joins it with the process. A process that could not be started is told of on the error
/// channel, as clients expect it.
fn answer(
    prepared: Result<(Handshake, Result<ProcessStream, CallError>), Refusal>,
    mut request: Request<Incoming>,
    options: &StreamOptions,
    ends: CancellationToken,
) -> Response<Body> {
    let (handshake, process) = match prepared {
        Ok(prepared) => prepared,
        Err((status, message)) => return text(status, message),
    };
    let protocol = handshake.protocol;
    let wishes = Wishes { protocol, stdin: options.stdin, stdout: options.stdout, stderr: options.stderr };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let socket = match upgrade.await {
            Ok(socket) => TokioIo::new(socket),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "a client went before its stream began");
                return;
            }
        };
        let config =
            WebSocketConfig::default().max_message_size(Some(LONGEST_MESSAGE)).max_frame_size(Some(LONGEST_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
        tokio::select! {
            () = ends.cancelled() => {}
            () = relay(socket, process, wishes) => {}
        }
    });
    handshake.response()
}

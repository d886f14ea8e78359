//! `/exec` and `/attach`: from a request to a WebSocket, or a session of SPDY, that is joined with a process in a guest.

use super::channel::Protocol;
use super::handshake::{Agreed, Carrier, Refusal, Spoken};
use super::reply::{Body, text};
use super::route::{Place, StreamOptions};
use super::{
    spdy,
    stream::{self, Wishes},
};
use crate::{
    host::{CallError, ProcessStream, Shim},
    node::chain,
    pods::{Directory, Known},
};
use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use orrery_wire::guest::{Confinement, ProcessSpec};
use orrery_wire::shim::MachineStatus;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};
use tokio_util::sync::CancellationToken;

const SPOKEN: Spoken = Spoken { websocket: Protocol::NAMES, spdy: &["v4.channel.k8s.io"] };
/// The longest message of a client, in bytes. kubectl sends 32 KiB at most.
const LONGEST_MESSAGE: usize = 1024 * 1024;

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
        confinement: Confinement::default(),
    };
    let prepared = async {
        // First what is wrong with the container: it is what a client shows, whichever protocol it tries last.
        let shim = running(directory, place)?;
        let agreed = Agreed::read(request.headers(), SPOKEN)?;
        let process = shim.exec(&place.container, process).await;
        Ok((agreed, process))
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
        let agreed = Agreed::read(request.headers(), SPOKEN)?;
        let facts = known(directory, &place.namespace, &place.pod)?;
        let container = facts.containers.iter().find(|container| container.name == place.container);
        // Input goes only to a container that has one.
        options.stdin &= container.is_some_and(|container| container.stdin);
        let process = shim.attach(&place.container, options.stdin).await;
        Ok((agreed, process))
    };
    answer(prepared.await, request, &options, ends)
}

/// What is known of a pod's machine.
pub(super) fn known(directory: &Directory, namespace: &str, pod: &str) -> Result<Known, Refusal> {
    let facts = directory.facts(namespace, pod);
    let facts = facts.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod {pod:?} is not on this node")))?;
    Ok(facts.borrow().clone())
}

/// The shim of the pod, when the container runs in it.
fn running(directory: &Directory, place: &Place) -> Result<Shim, Refusal> {
    let known = known(directory, &place.namespace, &place.pod)?;
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

/// Leaves HTTP and joins the client with the process. A process that could not be started is told of on the error channel, as
/// clients expect it.
fn answer(
    prepared: Result<(Agreed, Result<ProcessStream, CallError>), Refusal>,
    mut request: Request<Incoming>,
    options: &StreamOptions,
    ends: CancellationToken,
) -> Response<Body> {
    let (agreed, process) = match prepared {
        Ok(prepared) => prepared,
        Err((status, message)) => return text(status, message),
    };
    let StreamOptions { stdin, stdout, stderr, tty, .. } = *options;
    let wishes = Wishes { stdin, stdout, stderr, tty };
    let response = agreed.response();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(ends.run_until_cancelled_owned(async move {
        let Some(connection) = upgraded(upgrade).await else { return };
        match agreed.carrier {
            Carrier::WebSocket(_) => {
                let protocol = Protocol::of(agreed.protocol);
                stream::relay(websocket(connection).await, protocol, process, wishes).await;
            }
            Carrier::Spdy => spdy::relay(connection, process, wishes).await,
        }
    }));
    response
}

/// The connection, once both sides have left HTTP; none when the client has gone before.
pub(super) async fn upgraded(upgrade: OnUpgrade) -> Option<TokioIo<Upgraded>> {
    match upgrade.await {
        Ok(connection) => Some(TokioIo::new(connection)),
        Err(error) => {
            tracing::debug!(error = %chain(&error), "a client went before its stream began");
            None
        }
    }
}

/// A WebSocket on a connection.
pub(super) async fn websocket(connection: TokioIo<Upgraded>) -> WebSocketStream<TokioIo<Upgraded>> {
    let config =
        WebSocketConfig::default().max_message_size(Some(LONGEST_MESSAGE)).max_frame_size(Some(LONGEST_MESSAGE));
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}

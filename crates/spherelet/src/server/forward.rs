//! `/portForward`: connections to ports on a pod's loopback.
//!
//! Three ways lead here, as clients have them:
//!
//! * a SPDY session; each connection is a pair of streams, one for data and one on which a failure is told;
//! * the same session within a WebSocket, whose messages are its bytes (kubectl from 1.31 on);
//! * a WebSocket with two channels for each port that the request names (client libraries).

use super::channel;
use super::handshake::{Agreed, Carrier, Refusal, Spoken};
use super::reply::{Body, text};
use super::upgrade::{known, upgraded, websocket};
use crate::{
    host::{ProcessInput, ProcessOutput, ProcessStream, Shim},
    node::chain,
    pods::Directory,
};
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use orrery_spdy::{Session, Stream as SpdyStream};
use orrery_wire::shim::{MachinePhase, StreamKind, StreamMessage};
use std::{collections::HashMap, io};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::{
    io::{CopyToBytes, SinkWriter, StreamReader},
    sync::CancellationToken,
};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const SPOKEN: Spoken = Spoken { websocket: &[TUNNEL, "v4.channel.k8s.io"], spdy: &["portforward.k8s.io"] };
/// Messages of all ports that may wait to be sent on a WebSocket.
const QUEUE: usize = 16;

/// The pod whose ports are meant.
#[derive(Debug, Clone)]
struct Target {
    shim: Shim,
    pod: String,
}

/// Joins a client with ports of a pod.
pub(super) async fn forward(
    mut request: Request<Incoming>,
    directory: &Directory,
    (namespace, pod): (&str, &str),
    ports: Vec<u16>,
    ends: CancellationToken,
) -> Response<Body> {
    let prepared = target(directory, namespace, pod)
        .and_then(|target| Ok((target, Agreed::read(request.headers(), SPOKEN)?)))
        .and_then(|(target, agreed)| check(&agreed, &ports).map(|()| (target, agreed)));
    let (target, agreed) = match prepared {
        Ok(prepared) => prepared,
        Err((status, message)) => return text(status, message),
    };
    let response = agreed.response();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(ends.run_until_cancelled_owned(async move {
        let Some(connection) = upgraded(upgrade).await else { return };
        match agreed.carrier {
            Carrier::Spdy => sessions(connection, target).await,
            Carrier::WebSocket(_) if agreed.protocol == TUNNEL => {
                sessions(tunnel(websocket(connection).await), target).await;
            }
            Carrier::WebSocket(_) => channels(websocket(connection).await, target, ports).await,
        }
    }));
    response
}

/// Channels are numbered from the ports that are named.
fn check(agreed: &Agreed, ports: &[u16]) -> Result<(), Refusal> {
    let counted = matches!(agreed.carrier, Carrier::WebSocket(_)) && agreed.protocol != TUNNEL;
    if counted && !(1..=127).contains(&ports.len()) {
        return Err((StatusCode::BAD_REQUEST, "name 1 to 127 ports with the query parameter ports".to_owned()));
    }
    Ok(())
}

fn target(directory: &Directory, namespace: &str, pod: &str) -> Result<Target, Refusal> {
    let known = known(directory, namespace, pod)?;
    match (known.shim_socket, known.status) {
        (Some(socket), Some(status)) if status.phase == MachinePhase::Running => {
            Ok(Target { shim: Shim::new(socket), pod: format!("{namespace}/{pod}") })
        }
        _ => Err((StatusCode::BAD_REQUEST, format!("pod {pod:?} is not running"))),
    }
}

/// A WebSocket whose messages are bytes of one stream.
fn tunnel<S>(socket: S) -> impl AsyncRead + AsyncWrite
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error>,
{
    let (sink, stream) = socket.split();
    let bytes = stream.filter_map(async |message| match message {
        Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(io::Error::other(error))),
    });
    let sink =
        sink.sink_map_err(io::Error::other).with(async |bytes: Bytes| Ok::<_, io::Error>(Message::Binary(bytes)));
    tokio::io::join(StreamReader::new(Box::pin(bytes)), SinkWriter::new(CopyToBytes::new(Box::pin(sink))))
}

/// Serves the pairs of streams of one session.
async fn sessions(connection: impl AsyncRead + AsyncWrite, target: Target) {
    let (mut session, carried) = Session::run(connection);
    let pairs = async {
        let mut halves: HashMap<String, SpdyStream> = HashMap::new();
        let mut connections = JoinSet::new();
        while let Some(stream) = session.accept().await {
            while connections.try_join_next().is_some() {}
            let Some(id) = stream.headers.get("requestid").cloned() else { continue };
            let Some(other) = halves.remove(&id) else {
                halves.insert(id, stream);
                continue;
            };
            let is_data = |stream: &SpdyStream| stream.headers.get("streamtype").is_some_and(|kind| kind == "data");
            let (data, error) = if is_data(&stream) { (stream, other) } else { (other, stream) };
            connections.spawn(pair(target.clone(), data, error));
        }
        // The client opens no more; what is open goes on until it ends the session.
        while connections.join_next().await.is_some() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = carried => {
            if let Err(error) = ended {
                tracing::debug!(error = %chain(&error), "a session that forwards ports ended badly");
            }
        }
        () = pairs => {}
    }
}

/// One connection to a port.
async fn pair(target: Target, data: SpdyStream, error: SpdyStream) {
    let port = data.headers.get("port").and_then(|port| port.parse().ok());
    match connect(&target, port).await {
        Ok(ProcessStream { mut output, mut input }) => {
            let SpdyStream { input: mut from_client, output: to_client, .. } = data;
            let outgoing = async {
                while let Some(bytes) = received(&mut output).await {
                    if !to_client.send(bytes).await {
                        break;
                    }
                }
            };
            let incoming = async {
                while let Some(bytes) = from_client.next().await {
                    if input.send(StreamKind::Stdin, &bytes).await.is_err() {
                        break;
                    }
                }
                let _ = input.send(StreamKind::StdinEnd, &[]).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                // What the port sends decides over the end.
                () = outgoing => {}
                () = incoming => {}
            }
            to_client.finish().await;
        }
        Err(message) => {
            error.output.send(message.into()).await;
            data.output.finish().await;
        }
    }
    error.output.finish().await;
}

async fn connect(target: &Target, port: Option<u16>) -> Result<ProcessStream, String> {
    let port = port.filter(|port| *port != 0).ok_or("a stream names no port")?;
    let connected = target.shim.forward(port).await;
    connected.map_err(|error| format!("error forwarding port {port} to pod {}: {}", target.pod, chain(&error)))
}

/// The next bytes of a port; none once it has closed the connection.
async fn received(output: &mut ProcessOutput) -> Option<Bytes> {
    loop {
        match output.next().await {
            Ok(Some(StreamMessage { kind: StreamKind::Stdout, payload })) => return Some(payload.into()),
            Ok(Some(StreamMessage { kind: StreamKind::Exit, .. }) | None) | Err(_) => return None,
            Ok(Some(_)) => {}
        }
    }
}

/// Serves ports as channels of a WebSocket: for the first port 0 (data) and 1 (failures), for the next 2 and 3.
async fn channels<S>(socket: S, target: Target, ports: Vec<u16>)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let (messages, mut queued) = mpsc::channel::<Message>(QUEUE);
    let mut connections = JoinSet::new();
    let mut inputs: Vec<Option<ProcessInput>> = Vec::new();
    // Each channel begins with its port.
    for (channel, port) in (0..).step_by(2).zip(&ports) {
        for number in [channel, channel + 1] {
            let message = Message::binary(channel::message(number, &port.to_le_bytes()));
            if sink.send(message).await.is_err() {
                return;
            }
        }
    }
    for (channel, port) in (0..).step_by(2).zip(ports) {
        match connect(&target, Some(port)).await {
            Ok(ProcessStream { mut output, input }) => {
                inputs.push(Some(input));
                let messages = messages.clone();
                connections.spawn(async move {
                    while let Some(bytes) = received(&mut output).await {
                        if messages.send(Message::binary(channel::message(channel, &bytes))).await.is_err() {
                            break;
                        }
                    }
                });
            }
            Err(text) => {
                inputs.push(None);
                let message = Message::binary(channel::message(channel + 1, text.as_bytes()));
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        }
    }
    drop(messages);
    let outgoing = async {
        while let Some(message) = queued.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        // All ports have closed.
        let _ = sink.close().await;
    };
    let incoming = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(bytes) = message else { continue };
            let Some((&number, bytes)) = bytes.split_first() else { continue };
            if let Some(Some(input)) = inputs.get_mut(usize::from(number / 2)).filter(|_| number % 2 == 0) {
                // A port that has closed takes nothing more, and others go on.
                let _ = input.send(StreamKind::Stdin, bytes).await;
            }
        }
    };
    tokio::select! {
        // Either side's end is the end of all.
        () = outgoing => {}
        () = incoming => {}
    }
}

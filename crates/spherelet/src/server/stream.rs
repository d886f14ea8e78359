//! Joins a WebSocket with a process in a guest.
//!
//! ```text
//!   client --WebSocket--> read messages  --frames--> shim --> process
//!   client <--WebSocket-- write messages <--frames-- shim <-- process
//! ```
//!
//! Each direction waits for its slower side and holds one message: a client that does not read stops the process's output,
//! a process that does not read stops the client's input.

use super::channel::{self, FromClient, Protocol};
use crate::host::{CallError, ProcessInput, ProcessOutput, ProcessStream};
use crate::node::chain;
use futures::{Sink, SinkExt, Stream, StreamExt};
use orrery_wire::shim::{StreamKind, StreamMessage};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// What the client asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

/// Relays until the process ends or the client goes.
pub(super) async fn relay<S>(
    socket: WebSocketStream<S>,
    protocol: Protocol,
    process: Result<ProcessStream, CallError>,
    wishes: Wishes,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_client, mut from_client) = socket.split();
    let end = match process {
        Err(error) => Some(channel::failure_status(&chain(&error))),
        Ok(ProcessStream { mut output, mut input }) => {
            tokio::select! {
                // Whichever ends first ends the whole; the other's half-read message is of no use then.
                end = forward(&mut output, &mut to_client, wishes) => end,
                () = feed(&mut from_client, &mut input, protocol, wishes) => None,
            }
        }
    };
    let Some(status) = end else { return };
    let bytes = channel::message(channel::ERROR, status.to_string().as_bytes());
    if to_client.send(Message::binary(bytes)).await.is_ok() {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // The client may have gone; there is nobody left to tell.
        let _ = to_client.send(Message::Close(Some(frame))).await;
        while let Some(Ok(_)) = from_client.next().await {}
    }
}

/// From the process to the client. Gives what is to be told at the end, or none when the client is gone.
async fn forward<W>(output: &mut ProcessOutput, client: &mut W, wishes: Wishes) -> Option<Value>
where
    W: Sink<Message, Error = Error> + Unpin,
{
    loop {
        let StreamMessage { kind, payload } = match output.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return Some(channel::failure_status("the machine ended before the process did")),
            Err(error) => {
                return Some(channel::failure_status(&format!("the connection to the machine broke: {error}")));
            }
        };
        let channel = match kind {
            StreamKind::Stdout if wishes.stdout => channel::STDOUT,
            StreamKind::Stderr if wishes.stderr => channel::STDERR,
            StreamKind::Exit => return Some(channel::end_status(&payload)),
            StreamKind::Stdout | StreamKind::Stderr | StreamKind::Stdin | StreamKind::StdinEnd | StreamKind::Resize => {
                continue;
            }
        };
        client.send(Message::binary(channel::message(channel, &payload))).await.ok()?;
    }
}

/// From the client to the process. Returns when the client is gone.
async fn feed<R>(client: &mut R, input: &mut ProcessInput, protocol: Protocol, wishes: Wishes)
where
    R: Stream<Item = Result<Message, Error>> + Unpin,
{
    // A process that has closed its input or ended still has output to be told.
    let mut open = true;
    while let Some(Ok(message)) = client.next().await {
        let bytes = match &message {
            Message::Binary(bytes) => bytes.as_ref(),
            Message::Text(text) => text.as_bytes(),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        let sent = match channel::read(protocol, bytes) {
            FromClient::Stdin(bytes) if open && wishes.stdin => input.send(StreamKind::Stdin, bytes).await,
            FromClient::StdinEnd if open && wishes.stdin => input.send(StreamKind::StdinEnd, &[]).await,
            FromClient::Resize(size) if open => {
                let json = serde_json::to_vec(&size).unwrap_or_default();
                input.send(StreamKind::Resize, &json).await
            }
            FromClient::Stdin(_) | FromClient::StdinEnd | FromClient::Resize(_) | FromClient::Nothing => Ok(()),
        };
        open &= sent.is_ok();
    }
}

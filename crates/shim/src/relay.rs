//! Connections that have become the streams of a process: exec and attach.
//!
//! * **Exec**: the connection is the only consumer of the process's output. Credit goes back to the guest only once the
//!   connection has taken the bytes, so a slow connection slows its process and nothing else. When the connection goes
//!   away the process gets the end of its input, and a hang-up if it has a terminal; it may run on, unheard, unless it was asked for
//!   as bound to its connection.
//! * **Forward**: the same with a connection to a port of the machine in the place of a process. It ends with its client: what
//!   listens at the port may never close a connection by itself.
//! * **Attach**: the log is the consumer of a container's output, connections only listen. One that lags is dropped.

use crate::{
    connection::{ConnectionError, Reader, Writer},
    container::{ContainerHandle, GuestHandle, Live, Reporter},
    cri::Source,
    failure::Failure,
    link::{Input, Link, Output, QUICK, Read, START, StreamEnds},
    record::killed,
};
use orrery_wire::{
    guest::{ExecSpec, GuestRequest, ProcessExit, ProcessSpec, reason as guest_reason},
    shim::{ShimReply, StreamKind, StreamMessage, TerminalSize},
};
use tokio::sync::{OwnedMutexGuard, broadcast, watch};

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Runs a process and relays it to the connection until it ends or the connection does.
pub(crate) async fn exec(
    reader: Reader,
    writer: Writer,
    container: ContainerHandle,
    process: ProcessSpec,
    bound: bool,
) -> Result<(), ConnectionError> {
    let hang_up = if bound { Some(SIGKILL) } else { process.tty.then_some(SIGHUP) };
    let request = |stream| GuestRequest::Exec(ExecSpec { stream, container: container.stream, process });
    let started = start(&container.link, &container.reporter, request).await;
    relay(reader, writer, container.link, started, hang_up).await
}

/// Connects to a port and relays the connection until either side ends.
pub(crate) async fn forward(
    reader: Reader,
    writer: Writer,
    guest: GuestHandle,
    port: u16,
) -> Result<(), ConnectionError> {
    let started = start(&guest.link, &guest.reporter, |stream| GuestRequest::Forward { stream, port }).await;
    relay(reader, writer, guest.link, started, Some(SIGTERM)).await
}

/// Relays what has started; `hang_up` is the signal that it gets when the connection goes away.
async fn relay(
    mut reader: Reader,
    mut writer: Writer,
    link: Link,
    started: Result<StreamEnds, Failure>,
    hang_up: Option<i32>,
) -> Result<(), ConnectionError> {
    let StreamEnds { number, mut output, input } = match started {
        Ok(ends) => ends,
        Err(failure) => return writer.message(&ShimReply::from(failure)).await,
    };
    let relayed = async {
        writer.message(&ShimReply::Streaming).await?;
        tokio::select! {
            // Whichever comes first, the other is not needed any more, so nothing is lost by dropping it.
            relayed = relay_output(&mut writer, &mut output) => relayed,
            heard = relay_input(&mut reader, Some(&input), &link, number) => heard.map(|()| None),
        }
    }
    .await;
    match relayed {
        Ok(Some(exit)) => send_exit(&mut writer, &exit).await,
        Ok(None) | Err(_) => {
            input.end().await;
            if let Some(signal) = hang_up {
                let hang_up = GuestRequest::Signal { stream: number, signal, all: false };
                // It may have ended in the meantime.
                let _ = link.request(hang_up, QUICK).await;
            }
            discard(output).await;
            relayed.map(drop)
        }
    }
}

async fn start(
    link: &Link,
    reporter: &Reporter,
    request: impl FnOnce(u32) -> GuestRequest,
) -> Result<StreamEnds, Failure> {
    let ends = link.open()?;
    match link.request(request(ends.number), START).await {
        Ok(_pid) => Ok(ends),
        Err(failure) => {
            link.forget(ends.number);
            reporter.tell_if_silent(&failure).await;
            Err(failure)
        }
    }
}

/// Until the process ends; none never comes back from here but keeps both sides of the `select!` alike.
async fn relay_output(writer: &mut Writer, output: &mut Output) -> Result<Option<ProcessExit>, ConnectionError> {
    loop {
        match output.next().await {
            Read::Bytes(source, bytes) => {
                writer.stream(kind_of(source), &bytes).await?;
                output.consumed(bytes.len()).await;
            }
            Read::Exited(exit) => return Ok(Some(exit)),
            Read::Broken => return Ok(Some(killed(crate::clock::now()))),
        }
    }
}

/// Until the connection ends. Without `input` its bytes are ignored.
async fn relay_input(
    reader: &mut Reader,
    input: Option<&Input>,
    link: &Link,
    stream: u32,
) -> Result<(), ConnectionError> {
    while let Some(StreamMessage { kind, payload }) = reader.stream_message().await? {
        match kind {
            StreamKind::Stdin => {
                if let Some(input) = input {
                    input.send(&payload).await;
                }
            }
            StreamKind::StdinEnd => {
                if let Some(input) = input {
                    input.end().await;
                }
            }
            StreamKind::Resize => {
                let Ok(TerminalSize { rows, columns }) = serde_json::from_slice(&payload) else { continue };
                if let Err(failure) = link.request(GuestRequest::Resize { stream, rows, columns }, QUICK).await {
                    tracing::debug!(%failure, "a terminal was not resized");
                }
            }
            // These come from processes only.
            StreamKind::Stdout | StreamKind::Stderr | StreamKind::Exit => {}
        }
    }
    Ok(())
}

/// Lets a process that nobody listens to run on.
async fn discard(mut output: Output) {
    while let Read::Bytes(_, bytes) = output.next().await {
        output.consumed(bytes.len()).await;
    }
}

/// Relays a container's first process to the connection until one of them ends.
pub(crate) async fn attach(
    mut reader: Reader,
    mut writer: Writer,
    container: ContainerHandle,
    stdin: bool,
) -> Result<(), ConnectionError> {
    let (live, input) = match listen(&container, stdin) {
        Ok(listening) => listening,
        Err(failure) => return writer.message(&ShimReply::from(failure)).await,
    };
    writer.message(&ShimReply::Streaming).await?;
    tokio::select! {
        // As for exec: what is dropped is not needed any more.
        relayed = relay_live(&mut writer, live, &container.exit) => relayed,
        heard = relay_input(&mut reader, input.as_deref(), &container.link, container.stream) => heard,
    }
}

type Listening = (broadcast::Receiver<Live>, Option<OwnedMutexGuard<Input>>);

fn listen(container: &ContainerHandle, stdin: bool) -> Result<Listening, Failure> {
    let ended = || Failure::new(guest_reason::NOT_FOUND, "the container has just ended");
    let live = container.live.upgrade().ok_or_else(ended)?.subscribe();
    if !stdin {
        return Ok((live, None));
    }
    let input = std::sync::Arc::clone(&container.input).try_lock_owned().map_err(|_held| {
        Failure::new(guest_reason::BAD_STATE, "another connection is attached to the container's input")
    })?;
    Ok((live, Some(input)))
}

async fn relay_live(
    writer: &mut Writer,
    mut live: broadcast::Receiver<Live>,
    exit: &watch::Receiver<Option<ProcessExit>>,
) -> Result<(), ConnectionError> {
    loop {
        match live.recv().await {
            Ok(piece) => writer.stream(kind_of(piece.0), &piece.1).await?,
            Err(broadcast::error::RecvError::Lagged(pieces)) => {
                tracing::info!(pieces, "an attached connection was too slow and is dropped");
                return Ok(());
            }
            Err(broadcast::error::RecvError::Closed) => {
                let exit = exit.borrow().clone();
                return match exit {
                    Some(exit) => send_exit(writer, &exit).await,
                    None => Ok(()),
                };
            }
        }
    }
}

async fn send_exit(writer: &mut Writer, exit: &ProcessExit) -> Result<(), ConnectionError> {
    let payload = serde_json::to_vec(exit).expect("an exit is plain data");
    writer.stream(StreamKind::Exit, &payload).await
}

fn kind_of(source: Source) -> StreamKind {
    match source {
        Source::Stdout => StreamKind::Stdout,
        Source::Stderr => StreamKind::Stderr,
    }
}

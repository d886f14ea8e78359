//! Joins a process in a guest with the streams of a SPDY session, as kubectl before 1.31 asks for it: one stream for each of
//! standard input, output and error, one for the terminal's size, and one on which the end is told.

use super::channel;
use super::stream::Wishes;
use crate::host::{CallError, ProcessInput, ProcessOutput, ProcessStream};
use crate::node::chain;
use bytes::Bytes;
use orrery_spdy::{Input, Output, Session, Stream};
use orrery_wire::shim::{StreamKind, StreamMessage};
use serde_json::Value;
use std::{collections::HashMap, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a client may take to open its streams, and to take what is said last.
const PATIENCE: Duration = Duration::from_secs(30);

/// Relays until the process ends or the client goes.
pub(super) async fn relay<C>(connection: C, process: Result<ProcessStream, CallError>, wishes: Wishes)
where
    C: AsyncRead + AsyncWrite,
{
    let (session, carried) = Session::run(connection);
    tokio::pin!(carried);
    tokio::select! {
        // The client is gone, and what was under way has nobody to go to.
        ended = &mut carried => {
            if let Err(error) = ended {
                tracing::debug!(error = %chain(&error), "a SPDY session ended badly");
            }
            return;
        }
        () = join(session, process, wishes) => {}
    }
    // What was said last goes out, unless the client does not take it.
    let _ = tokio::time::timeout(PATIENCE, carried).await;
}

async fn join(mut session: Session, process: Result<ProcessStream, CallError>, wishes: Wishes) {
    let Ok(mut streams) = tokio::time::timeout(PATIENCE, gather(&mut session, wishes)).await else {
        tracing::debug!("a client did not open the streams that it had asked for");
        return;
    };
    let Some(error) = streams.remove("error") else { return };
    let mut output = |name: &str| streams.remove(name).map(|stream| (stream.input, stream.output));
    let (stdout, stderr) = (output("stdout"), output("stderr"));
    let (stdin, resize) = (output("stdin"), output("resize"));
    let status = match process {
        Err(error) => channel::failure_status(&chain(&error)),
        Ok(ProcessStream { output, input }) => tokio::select! {
            // The end of the output is the end; input that is half-read then is of no use.
            status = forward(output, sink(stdout.as_ref()), sink(stderr.as_ref())) => status,
            never = feed(source(stdin), source(resize), input) => never,
        },
    };
    error.output.send(Bytes::from(status.to_string())).await;
    for (_, output) in [stdout, stderr].into_iter().flatten() {
        output.finish().await;
    }
    error.output.finish().await;
    session.close().await;
}

type Ends = (Input, Output);

fn sink(ends: Option<&Ends>) -> Option<&Output> {
    ends.map(|(_, output)| output)
}

fn source(ends: Option<Ends>) -> Option<Input> {
    ends.map(|(input, _)| input)
}

/// The streams that the client asked for, by name.
async fn gather(session: &mut Session, wishes: Wishes) -> HashMap<String, Stream> {
    let wanted =
        [true, wishes.stdin, wishes.stdout, wishes.stderr, wishes.tty].into_iter().filter(|wish| *wish).count();
    let mut streams = HashMap::new();
    while streams.len() < wanted {
        let Some(stream) = session.accept().await else { break };
        let name = stream.headers.get("streamtype").cloned().unwrap_or_default();
        streams.insert(name, stream);
    }
    streams
}

/// From the process to the client. Gives what is to be told at the end.
async fn forward(mut output: ProcessOutput, stdout: Option<&Output>, stderr: Option<&Output>) -> Value {
    loop {
        let StreamMessage { kind, payload } = match output.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return channel::failure_status("the machine ended before the process did"),
            Err(error) => return channel::failure_status(&format!("the connection to the machine broke: {error}")),
        };
        let to = match kind {
            StreamKind::Stdout => stdout,
            StreamKind::Stderr => stderr,
            StreamKind::Exit => return channel::end_status(&payload),
            StreamKind::Stdin | StreamKind::StdinEnd | StreamKind::Resize => None,
        };
        if let Some(to) = to {
            // The end of the session is noticed where it is carried.
            to.send(payload.into()).await;
        }
    }
}

/// From the client to the process, without end.
async fn feed(mut stdin: Option<Input>, mut resize: Option<Input>, mut process: ProcessInput) -> Value {
    loop {
        // A process that has closed its input or ended still has output to be told.
        let _ = tokio::select! {
            bytes = next(&mut stdin) => match bytes {
                Some(bytes) => process.send(StreamKind::Stdin, &bytes).await,
                None => {
                    stdin = None;
                    process.send(StreamKind::StdinEnd, &[]).await
                }
            },
            bytes = next(&mut resize) => match bytes.map(|bytes| channel::size(&bytes)) {
                Some(Some(size)) => {
                    process.send(StreamKind::Resize, &serde_json::to_vec(&size).unwrap_or_default()).await
                }
                Some(None) => Ok(()),
                None => {
                    resize = None;
                    Ok(())
                }
            },
        };
    }
}

/// What comes next, or never anything where there is nothing. Cancel-safe.
async fn next(input: &mut Option<Input>) -> Option<Bytes> {
    match input {
        Some(input) => input.next().await,
        None => std::future::pending().await,
    }
}

//! Questions to the shim of one machine.

use super::link::{CallError, Link, LinkError, call};
use orrery_wire::{
    guest::{ContainerSpec, Identity, ProcessSpec},
    shim::{MachineStatus, STREAM_HEADER_LENGTH, ShimReply, ShimRequest, StreamKind, StreamMessage, VERSIONS},
    stats::MachineStats,
    volume::VolumeRequest,
};
use std::{io, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

const SHORT: Duration = Duration::from_secs(10);
/// A guest under emulation boots in tens of seconds on a busy host.
const BOOT: Duration = Duration::from_secs(180);
const START: Duration = Duration::from_secs(60);

/// The way to a machine's shim. Each question has a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Shim {
    socket: PathBuf,
}

impl Shim {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    async fn ask(
        &self,
        request: &ShimRequest,
        doing: &'static str,
        timeout: Duration,
    ) -> Result<(ShimReply, Link), CallError> {
        match call(&self.socket, VERSIONS, request, doing, timeout).await? {
            (ShimReply::Failed { reason, message }, _) => Err(CallError::Failed { doing, reason, message }),
            other => Ok(other),
        }
    }

    async fn tell(&self, request: &ShimRequest, doing: &'static str, timeout: Duration) -> Result<(), CallError> {
        match self.ask(request, doing, timeout).await?.0 {
            ShimReply::Done => Ok(()),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn status(&self) -> Result<MachineStatus, CallError> {
        let doing = "ask the shim how the machine stands";
        match self.ask(&ShimRequest::Status, doing, SHORT).await?.0 {
            ShimReply::Status(status) => Ok(*status),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn watch(&self) -> Result<ShimWatch, CallError> {
        let doing = "watch the machine";
        match self.ask(&ShimRequest::Watch, doing, SHORT).await? {
            (ShimReply::Watching, link) => Ok(ShimWatch { link }),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn stats(&self) -> Result<MachineStats, CallError> {
        let doing = "ask the shim what the machine uses";
        match self.ask(&ShimRequest::Stats, doing, SHORT).await?.0 {
            ShimReply::Stats(stats) => Ok(*stats),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn power_on(&self, identity: Identity) -> Result<(), CallError> {
        self.tell(&ShimRequest::PowerOn { identity: Box::new(identity) }, "boot the machine", BOOT).await
    }

    pub(crate) async fn power_off(&self, grace_seconds: u32) -> Result<(), CallError> {
        let timeout = SHORT + Duration::from_secs(grace_seconds.into());
        self.tell(&ShimRequest::PowerOff { grace_seconds }, "power the machine off", timeout).await
    }

    pub(crate) async fn volume(&self, request: VolumeRequest) -> Result<(), CallError> {
        self.tell(&ShimRequest::Volume(request), "make the pod's volume", START).await
    }

    pub(crate) async fn start(&self, spec: ContainerSpec, attempt: u32) -> Result<(), CallError> {
        let request = ShimRequest::StartContainer { spec: Box::new(spec), attempt };
        self.tell(&request, "start the container", START).await
    }

    pub(crate) async fn signal(&self, container: &str, signal: i32, all: bool) -> Result<(), CallError> {
        let request = ShimRequest::SignalContainer { name: container.to_owned(), signal, all };
        self.tell(&request, "signal the container", SHORT).await
    }

    pub(crate) async fn exec(&self, container: &str, process: ProcessSpec) -> Result<ProcessStream, CallError> {
        self.run(container, process, false).await
    }

    /// Runs a process that is killed when the stream is dropped.
    pub(crate) async fn exec_bound(&self, container: &str, process: ProcessSpec) -> Result<ProcessStream, CallError> {
        self.run(container, process, true).await
    }

    async fn run(&self, container: &str, process: ProcessSpec, bound: bool) -> Result<ProcessStream, CallError> {
        let request = ShimRequest::Exec { container: container.to_owned(), process: Box::new(process), bound };
        self.stream(&request, "run a process in the container").await
    }

    pub(crate) async fn attach(&self, container: &str, stdin: bool) -> Result<ProcessStream, CallError> {
        let request = ShimRequest::Attach { container: container.to_owned(), stdin };
        self.stream(&request, "attach to the container").await
    }

    /// Connects to a port on the machine's loopback.
    pub(crate) async fn forward(&self, port: u16) -> Result<ProcessStream, CallError> {
        self.stream(&ShimRequest::Forward { port }, "connect to the pod's port").await
    }

    async fn stream(&self, request: &ShimRequest, doing: &'static str) -> Result<ProcessStream, CallError> {
        match self.ask(request, doing, START).await? {
            (ShimReply::Streaming, link) => Ok(ProcessStream::new(link)),
            _ => Err(CallError::Unexpected { doing }),
        }
    }
}

/// Statuses of a machine as they change.
#[derive(Debug)]
pub(crate) struct ShimWatch {
    link: Link,
}

impl ShimWatch {
    /// The next status. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<MachineStatus, LinkError> {
        self.link.receive().await
    }
}

/// The streams of one process in a guest.
#[derive(Debug)]
pub(crate) struct ProcessStream {
    pub(crate) output: ProcessOutput,
    pub(crate) input: ProcessInput,
}

/// What comes from a process.
#[derive(Debug)]
pub(crate) struct ProcessOutput {
    early: io::Cursor<Vec<u8>>,
    socket: OwnedReadHalf,
}

/// What goes to a process.
#[derive(Debug)]
pub(crate) struct ProcessInput {
    socket: OwnedWriteHalf,
}

impl ProcessStream {
    fn new(link: Link) -> Self {
        let (stream, early) = link.into_parts();
        let (read, write) = stream.into_split();
        Self {
            output: ProcessOutput { early: io::Cursor::new(early), socket: read },
            input: ProcessInput { socket: write },
        }
    }
}

impl ProcessOutput {
    /// The next message, or none when the shim has closed. Not cancel-safe: it has one reader that sees it through.
    pub(crate) async fn next(&mut self) -> io::Result<Option<StreamMessage>> {
        let mut source = (&mut self.early).chain(&mut self.socket);
        let mut header = [0; STREAM_HEADER_LENGTH];
        match source.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (kind, length) = StreamMessage::decode_header(header).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        source.read_exact(&mut payload).await?;
        Ok(Some(StreamMessage { kind, payload }))
    }
}

impl ProcessInput {
    /// Sends `payload`, cut into messages of the permitted length.
    pub(crate) async fn send(&mut self, kind: StreamKind, payload: &[u8]) -> io::Result<()> {
        let pieces = payload.chunks(orrery_wire::frame::MAX_PAYLOAD);
        for piece in pieces.chain(payload.is_empty().then_some(payload)) {
            self.socket.write_all(&StreamMessage { kind, payload: piece.to_vec() }.encode()).await?;
        }
        Ok(())
    }
}

//! A thin client for QEMU's monitor (QMP): JSON lines over a socket.
//!
//! One task owns the socket. Commands go to it over a bounded channel, each with its own answer; they may overlap, QEMU
//! answers them by id. Events are logged; the reason of a shutdown is kept for the report of the guest's end.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest},
    net::UnixStream,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, oneshot, watch},
};

/// The longest line that is accepted. QEMU is not trusted once a guest has broken into it.
const MAX_LINE: u64 = 1024 * 1024;
const QUEUE: usize = 8;
/// How long any one command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why QEMU's monitor gave no result.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket failed.
    #[error("the monitor's socket failed")]
    Socket(#[source] io::Error),
    /// The monitor closed its socket.
    #[error("the monitor closed its socket")]
    Closed,
    /// A line is not what QMP allows.
    #[error("the monitor sent what is not QMP: {0}")]
    Protocol(String),
    /// QEMU refused the command.
    #[error("QEMU refused the command: {0}")]
    Refused(String),
    /// QEMU took too long.
    #[error("the monitor did not answer in time")]
    TimedOut,
}

/// A cheap handle on the monitor.
#[derive(Debug, Clone)]
pub(crate) struct Qmp {
    commands: mpsc::Sender<Command>,
    shutdown_reason: watch::Receiver<Option<String>>,
    /// How often the guest has begun to run.
    resumed: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Command {
    name: &'static str,
    arguments: Value,
    /// Given to QEMU with the command.
    file: Option<OwnedFd>,
    answer: oneshot::Sender<Result<Value, QmpError>>,
}

impl Qmp {
    /// Takes the greeting, turns the monitor on and starts its task.
    pub(crate) async fn connect(stream: UnixStream) -> Result<Self, QmpError> {
        let (read, write) = stream.into_split();
        let mut lines = Lines::new(read);
        let greeting = tokio::time::timeout(PATIENCE, lines.next()).await.map_err(|_elapsed| QmpError::TimedOut)??;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Protocol("there is no greeting".into()));
        }
        let (commands, receiver) = mpsc::channel(QUEUE);
        let (reason, shutdown_reason) = watch::channel(None);
        let (resumes, resumed) = watch::channel(0);
        tokio::spawn(Task { write, waiting: HashMap::new(), next_id: 0, reason, resumes }.run(lines, receiver));
        let qmp = Self { commands, shutdown_reason, resumed };
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Carries out one command and gives its result.
    pub(crate) async fn execute(&self, name: &'static str, arguments: Value) -> Result<Value, QmpError> {
        self.execute_with(name, arguments, None).await
    }

    /// The same for a command that takes a file.
    pub(crate) async fn execute_with(
        &self,
        name: &'static str,
        arguments: Value,
        file: Option<OwnedFd>,
    ) -> Result<Value, QmpError> {
        let exchange = async {
            let (answer, result) = oneshot::channel();
            let command = Command { name, arguments, file, answer };
            self.commands.send(command).await.map_err(|_closed| QmpError::Closed)?;
            result.await.map_err(|_dropped| QmpError::Closed)?
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_elapsed| QmpError::TimedOut)?
    }

    /// What [`Qmp::running`] waits with; to be taken before what makes the guest run.
    pub(crate) fn run_state(&self) -> watch::Receiver<u64> {
        let mut resumed = self.resumed.clone();
        resumed.mark_unchanged();
        resumed
    }

    /// Waits until the guest has begun to run since `changes` was taken.
    pub(crate) async fn running(&self, changes: &mut watch::Receiver<u64>) -> Result<(), QmpError> {
        let changed = tokio::time::timeout(PATIENCE, changes.changed()).await.map_err(|_elapsed| QmpError::TimedOut)?;
        changed.map_err(|_gone| QmpError::Closed)
    }

    /// Why the guest went down, when QEMU has said so: `guest-shutdown`, `guest-panic`, `host-qmp-quit` ...
    pub(crate) fn shutdown_reason(&self) -> Option<String> {
        self.shutdown_reason.borrow().clone()
    }
}

struct Task {
    write: OwnedWriteHalf,
    waiting: HashMap<u64, oneshot::Sender<Result<Value, QmpError>>>,
    next_id: u64,
    reason: watch::Sender<Option<String>>,
    resumes: watch::Sender<u64>,
}

impl Task {
    async fn run(mut self, mut lines: Lines, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                // Cancel-safe: a line that was read in part is kept in `lines`.
                line = lines.next() => match line {
                    Ok(message) => self.take(message),
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "the monitor is gone");
                        return;
                    }
                },
                // Cancel-safe: `recv` loses nothing.
                command = commands.recv() => match command {
                    Some(command) => self.send(command).await,
                    // Nobody will ask any more, but events still tell why the guest goes down.
                    None => while let Ok(message) = lines.next().await { self.take(message) },
                },
            }
        }
    }

    async fn send(&mut self, command: Command) {
        self.next_id += 1;
        self.waiting.retain(|_, answer| !answer.is_closed());
        let line = json!({"execute": command.name, "arguments": command.arguments, "id": self.next_id});
        let line = format!("{line}\n");
        let written = match command.file {
            None => self.write.write_all(line.as_bytes()).await,
            Some(file) => write_with(&mut self.write, line.as_bytes(), file.as_fd()).await,
        };
        match written {
            Ok(()) => drop(self.waiting.insert(self.next_id, command.answer)),
            Err(error) => drop(command.answer.send(Err(QmpError::Socket(error)))),
        }
    }

    fn take(&mut self, mut message: Value) {
        if let Some(event) = message.get("event").and_then(Value::as_str) {
            tracing::debug!(event, "QEMU event");
            if event == "SHUTDOWN" {
                let reason = message["data"]["reason"].as_str().unwrap_or("unknown").to_owned();
                self.reason.send_replace(Some(reason));
            } else if event == "RESUME" {
                self.resumes.send_modify(|times| *times += 1);
            }
            return;
        }
        let Some(answer) = message["id"].as_u64().and_then(|id| self.waiting.remove(&id)) else { return };
        let result = match message.get("error") {
            Some(error) => Err(QmpError::Refused(error["desc"].as_str().unwrap_or("no description").to_owned())),
            None => Ok(message["return"].take()),
        };
        // Who asked may have given up.
        let _ = answer.send(result);
    }
}

/// Writes `bytes` with `file` beside the first of them.
async fn write_with(write: &mut OwnedWriteHalf, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let stream: &UnixStream = write.as_ref();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let files = [file];
            if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
                return Err(io::Error::other("the file does not fit the message"));
            }
            Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
        })
        .await?;
    write.write_all(&bytes[sent..]).await
}

/// The monitor's lines as JSON.
struct Lines {
    reader: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

impl Lines {
    fn new(read: OwnedReadHalf) -> Self {
        Self { reader: BufReader::new(read), line: Vec::new() }
    }

    /// The next line. Cancel-safe: what was read stays in `line`.
    async fn next(&mut self) -> Result<Value, QmpError> {
        let room = MAX_LINE.saturating_sub(self.line.len() as u64);
        let mut limited = (&mut self.reader).take(room);
        limited.read_until(b'\n', &mut self.line).await.map_err(QmpError::Socket)?;
        if self.line.last() != Some(&b'\n') {
            let full = self.line.len() as u64 >= MAX_LINE;
            return Err(if full { QmpError::Protocol("a line is too long".into()) } else { QmpError::Closed });
        }
        let value = serde_json::from_slice(&self.line).map_err(|error| QmpError::Protocol(error.to_string()));
        self.line.clear();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A monitor that sends `script` line by line, each after it has read one line.
    async fn monitor(mut stream: UnixStream, script: &'static [&'static str]) {
        stream.write_all(b"{\"QMP\": {\"version\": {}}}\r\n").await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        for answer in script {
            lines.next_line().await.unwrap();
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    async fn connected(script: &'static [&'static str]) -> Result<Qmp, QmpError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(monitor(theirs, script));
        Qmp::connect(ours).await
    }

    #[tokio::test]
    async fn answers_are_matched_past_events_and_the_shutdown_reason_is_kept() {
        let qmp = connected(&[
            "{\"return\": {}, \"id\": 1}\n",
            "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-panic\"}}\n{\"return\": {\"a\": 1}, \"id\": 2}\n",
        ])
        .await
        .unwrap();
        assert_eq!(qmp.execute("query-status", json!({})).await.unwrap(), json!({"a": 1}));
        assert_eq!(qmp.shutdown_reason().as_deref(), Some("guest-panic"));
    }

    #[tokio::test]
    async fn a_refusal_carries_qemus_words() {
        let qmp = connected(&[
            "{\"return\": {}, \"id\": 1}\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 2}\n",
        ])
        .await
        .unwrap();
        assert!(matches!(qmp.execute("cont", json!({})).await, Err(QmpError::Refused(text)) if text == "no"));
        assert!(matches!(qmp.execute("cont", json!({})).await, Err(QmpError::Closed | QmpError::Socket(_))));
    }

    #[tokio::test]
    async fn what_is_not_qmp_is_refused() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"hello\n").await.unwrap();
        assert!(matches!(Qmp::connect(ours).await, Err(QmpError::Protocol(_))));
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(Qmp::connect(ours).await, Err(QmpError::Closed)));
    }
}

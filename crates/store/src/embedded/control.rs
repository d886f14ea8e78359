//! The socket beside a store's file, by which an administrator reaches the process that has the store open.
//!
//! One line of JSON for a request and one for its answer. The socket can be opened only by whom the file can be read by.

use super::Inner;
use super::log::beside;
use super::maintain::{self, CopyReport, MaintenanceError, Stats};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

/// The longest request.
const LONGEST: u64 = 64 << 10;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Request {
    Stats,
    Backup { target: PathBuf },
    Compact,
}

/// The socket's end in the process that has the store open. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Listening {
    task: AbortHandle,
    socket: PathBuf,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        // One that stays is replaced when the store is opened again.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Listens beside the store at `path`. A store without the socket works all the same.
pub(super) fn listen(path: &Path, store: &Arc<Inner>) -> Option<Listening> {
    let socket = beside(path, ".sock");
    // Whoever could listen there would hold the store's lock.
    let _ = std::fs::remove_file(&socket);
    let bound = UnixListener::bind(&socket).and_then(|listener| {
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => {
            let task = tokio::spawn(accept(listener, Arc::downgrade(store), path.to_owned())).abort_handle();
            Some(Listening { task, socket })
        }
        Err(error) => {
            tracing::warn!(path = %socket.display(), %error, "the store cannot be reached by orrery store while it runs");
            None
        }
    }
}

async fn accept(listener: UnixListener, store: Weak<Inner>, path: PathBuf) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, store.clone(), path.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection of orrery store");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, store: Weak<Inner>, path: PathBuf) {
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    let mut from = BufReader::new(from.take(LONGEST));
    let read = tokio::time::timeout(PATIENCE, from.read_line(&mut line)).await;
    if !matches!(read, Ok(Ok(_))) {
        return;
    }
    let answer = match serde_json::from_str(&line) {
        Ok(request) => answer(request, store, path).await,
        Err(error) => Err(format!("the request is not understood: {error}")),
    };
    let mut answer = serde_json::to_vec(&answer).expect("an answer is JSON");
    answer.push(b'\n');
    // Who does not wait for the answer does not want it.
    let _ = to.write_all(&answer).await;
}

async fn answer(request: Request, store: Weak<Inner>, path: PathBuf) -> Result<serde_json::Value, String> {
    let Some(store) = store.upgrade() else { return Err("the store is shutting down".to_owned()) };
    let done = tokio::task::spawn_blocking(move || {
        let answer = match request {
            Request::Stats => serde_json::to_value(store.stats(&path)),
            Request::Backup { target } => serde_json::to_value(store.backup(&target).map_err(|error| chain(&error))?),
            Request::Compact => {
                let current = store.shared.index().current();
                store.shared.compact(current).map_err(|error| chain(&error))?;
                serde_json::to_value(current.0)
            }
        };
        answer.map_err(|error| chain(&error))
    });
    done.await.unwrap_or_else(|_| Err("it failed unexpectedly; see the log of that process".to_owned()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl Inner {
    /// What is in the store now.
    fn stats(&self, path: &Path) -> Stats {
        let index = self.shared.index();
        let (tree, revision, history) = (index.tree(), index.current(), index.history());
        let (compacted, changes, bytes) = (history.compacted(), history.len(), history.bytes());
        drop(index);
        let stats = maintain::stats_of(path, revision, tree.iter_from(b""));
        Stats { compacted: compacted.0, history_changes: changes, history_bytes: bytes, ..stats }
    }

    /// Copies the present state, while writes go on.
    fn backup(&self, target: &Path) -> Result<CopyReport, MaintenanceError> {
        let (tree, revision) = {
            let index = self.shared.index();
            (index.tree(), index.current())
        };
        maintain::copy(target, revision, tree.iter_from(b""))
    }
}

/// A connection to the process that has a store open.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
    stream: UnixStream,
}

impl Control {
    /// Reaches the process that has the store at `path` open; none when no process has.
    ///
    /// # Errors
    /// When the socket is there and cannot be used.
    pub async fn connect(path: &Path) -> Result<Option<Self>, MaintenanceError> {
        let socket = beside(path, ".sock");
        match UnixStream::connect(&socket).await {
            Ok(stream) => Ok(Some(Self { socket, stream })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(source) => Err(MaintenanceError::Connection { path: socket, source }),
        }
    }

    /// Counts what is in the store.
    ///
    /// # Errors
    /// When the process does not answer.
    pub async fn stats(self) -> Result<Stats, MaintenanceError> {
        self.ask(&Request::Stats).await
    }

    /// Copies the store as it is at this moment to `target`, a path that is absolute or begins where that process runs.
    ///
    /// # Errors
    /// When the process does not answer or cannot write the copy.
    pub async fn backup(self, target: &Path) -> Result<CopyReport, MaintenanceError> {
        self.ask(&Request::Backup { target: target.to_owned() }).await
    }

    /// Forgets history up to the present revision, which is returned: watches and pages from before have to begin anew.
    ///
    /// # Errors
    /// When the process does not answer.
    pub async fn compact(self) -> Result<u64, MaintenanceError> {
        self.ask(&Request::Compact).await
    }

    async fn ask<T: DeserializeOwned>(mut self, request: &Request) -> Result<T, MaintenanceError> {
        let failed = |source| MaintenanceError::Connection { path: self.socket.clone(), source };
        let mut line = serde_json::to_vec(request).expect("a request is JSON");
        line.push(b'\n');
        self.stream.write_all(&line).await.map_err(failed)?;
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).await.map_err(failed)?;
        let answer: Result<T, String> = serde_json::from_slice(&answer).map_err(|error| failed(error.into()))?;
        answer.map_err(MaintenanceError::Remote)
    }
}

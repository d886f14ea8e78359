//! One connection to a process of this host: agreement on a version, then messages.

use orrery_wire::{
    hello::{Hello, Welcome},
    message::{self, MessageError},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, path::Path, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Why a connection is of no (more) use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nobody answers at the socket.
    #[error("cannot connect to {path}")]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// The other side closed.
    #[error("the other side closed the connection")]
    Closed,
    /// What came is no message.
    #[error("a message was malformed")]
    Message(#[source] MessageError),
    /// There is no version in common.
    #[error("the other side speaks versions {versions:?}: {message}")]
    Refused { versions: Vec<u32>, message: String },
}

/// Why a request to a process of this host did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The connection failed.
    #[error("cannot {doing}")]
    Link {
        doing: &'static str,
        #[source]
        source: LinkError,
    },
    /// No answer in time.
    #[error("cannot {doing}: no answer within {seconds} s")]
    Timeout { doing: &'static str, seconds: u64 },
    /// The other side refused or failed. `reason` is one CamelCase word, or empty.
    #[error("cannot {doing}: {message}")]
    Failed { doing: &'static str, reason: String, message: String },
    /// An answer to another question.
    #[error("cannot {doing}: the answer is of another kind")]
    Unexpected { doing: &'static str },
}

/// An open connection on which a version was agreed.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Link {
    pub(crate) async fn connect(path: &Path, versions: &[u32]) -> Result<Self, LinkError> {
        let stream =
            UnixStream::connect(path).await.map_err(|source| LinkError::Connect { path: path.to_owned(), source })?;
        let mut link = Self { stream, buffer: Vec::new() };
        let build = env!("CARGO_PKG_VERSION").to_owned();
        link.send(&Hello { versions: versions.to_vec(), role: "spherelet".to_owned(), build }).await?;
        match link.receive().await? {
            Welcome::Agreed { .. } => Ok(link),
            Welcome::Refused { versions, message } => Err(LinkError::Refused { versions, message }),
        }
    }

    pub(crate) async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), LinkError> {
        let bytes = message::encode(message).map_err(LinkError::Message)?;
        self.stream.write_all(&bytes).await.map_err(LinkError::Io)
    }

    /// The next message. Cancel-safe: what was read stays in the buffer.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        loop {
            if let Some(message) = message::decode(&mut self.buffer).map_err(LinkError::Message)? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.buffer).await.map_err(LinkError::Io)? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    /// The socket, and what was read of it beyond the last message.
    pub(crate) fn into_parts(self) -> (UnixStream, Vec<u8>) {
        (self.stream, self.buffer)
    }
}

/// One question on a connection of its own, answered within `timeout`.
pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
    path: &Path,
    versions: &[u32],
    request: &Q,
    doing: &'static str,
    timeout: Duration,
) -> Result<(A, Link), CallError> {
    let exchange = async {
        let mut link = Link::connect(path, versions).await?;
        link.send(request).await?;
        let answer = link.receive().await?;
        Ok((answer, link))
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result.map_err(|source| CallError::Link { doing, source }),
        Err(_) => Err(CallError::Timeout { doing, seconds: timeout.as_secs() }),
    }
}

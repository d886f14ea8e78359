//! Length-prefixed messages over a Unix socket, for either side.

use orrery_wire::{
    hello::{Hello, Welcome, agree},
    message::{MessageError, decode, encode},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, path::Path};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// What we are called towards others.
pub(crate) const ROLE: &str = "hostd";
/// Our build.
pub(crate) const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("the other side sent something else than a message")]
    Message(#[from] MessageError),
    #[error("the other side closed the connection")]
    Closed,
    #[error("there is no common version of the protocol: {0}")]
    Version(String),
}

/// A connection with its read buffer.
pub(crate) struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Connects and agrees on a version.
    pub(crate) async fn open(path: &Path, versions: &[u32]) -> Result<Self, ConnectionError> {
        let mut connection = Self::new(UnixStream::connect(path).await?);
        connection.send(&Hello { versions: versions.to_vec(), role: ROLE.into(), build: BUILD.into() }).await?;
        match connection.receive().await? {
            Some(Welcome::Agreed { .. }) => Ok(connection),
            Some(Welcome::Refused { message, .. }) => Err(ConnectionError::Version(message)),
            None => Err(ConnectionError::Closed),
        }
    }

    /// The other end of [`Connection::open`]; none when the peer speaks no version of ours and was told so.
    pub(crate) async fn accept(&mut self, versions: &[u32]) -> Result<Option<Hello>, ConnectionError> {
        let hello: Hello = self.receive().await?.ok_or(ConnectionError::Closed)?;
        if let Some(version) = agree(versions, &hello.versions) {
            self.send(&Welcome::Agreed { version, build: BUILD.into() }).await?;
            return Ok(Some(hello));
        }
        let message = "upgrade the older of both sides so that their versions are at most two apart".into();
        self.send(&Welcome::Refused { versions: versions.to_vec(), message }).await?;
        Ok(None)
    }

    pub(crate) async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), ConnectionError> {
        Ok(self.stream.write_all(&encode(message)?).await?)
    }

    /// The next message; none when the other side has closed the connection between messages. Cancel-safe: what was
    /// read stays in the buffer.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ConnectionError> {
        loop {
            if let Some(message) = decode(&mut self.buffer)? {
                return Ok(Some(message));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ConnectionError::Closed) };
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(&mut self, request: &Q) -> Result<A, ConnectionError> {
        self.send(request).await?;
        self.receive().await?.ok_or(ConnectionError::Closed)
    }

    /// The process at the other end, as the kernel knows it.
    pub(crate) fn peer_pid(&self) -> Option<u32> {
        self.stream.peer_cred().ok()?.pid().and_then(|pid| u32::try_from(pid).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn both_sides_agree_on_a_version_or_the_client_is_told_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let mut agreed = Vec::new();
            for _ in 0..2 {
                let mut connection = Connection::new(listener.accept().await.unwrap().0);
                agreed.push(connection.accept(&[2, 1]).await.unwrap().is_some());
            }
            agreed
        });
        let connection = Connection::open(&path, &[1]).await.unwrap();
        assert_eq!(connection.peer_pid(), Some(std::process::id()));
        let error = Connection::open(&path, &[3]).await.err().unwrap();
        assert!(error.to_string().contains("upgrade the older"), "{error}");
        assert_eq!(server.await.unwrap(), [true, false]);
    }
}

//! How the command line speaks to the keeper.

use crate::protocol::{Reply, Request, RoleStatus};
use orrery_wire::message::{self, MessageError};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Why the keeper did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No keeper listens.
    #[error("nothing runs at {path}; start it with: orrery up")]
    NotRunning {
        /// The socket.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection failed half-way.
    #[error("the keeper went away")]
    Lost(#[source] io::Error),
    /// The answer is not what it should be.
    #[error("the keeper's answer can't be read; it may be of another build: run orrery down, then orrery up")]
    Answer(#[source] MessageError),
    /// The keeper refused.
    #[error("{0}")]
    Refused(String),
}

/// Speaks to the keeper at a socket, one connection for each request.
#[derive(Debug, Clone)]
pub struct KeeperClient {
    socket: PathBuf,
}

impl KeeperClient {
    /// A client for the keeper at `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks for something that is answered by "done".
    ///
    /// # Errors
    /// When nothing listens or the keeper refuses.
    pub async fn request(&self, request: &Request) -> Result<(), ClientError> {
        match self.exchange(request).await? {
            Reply::Done | Reply::Status(_) => Ok(()),
            Reply::Failed { message } => Err(ClientError::Refused(message)),
        }
    }

    /// How the roles are.
    ///
    /// # Errors
    /// When nothing listens or the keeper refuses.
    pub async fn status(&self) -> Result<Vec<RoleStatus>, ClientError> {
        match self.exchange(&Request::Status).await? {
            Reply::Status(roles) => Ok(roles),
            Reply::Done => Ok(Vec::new()),
            Reply::Failed { message } => Err(ClientError::Refused(message)),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Reply, ClientError> {
        let path = self.socket.display().to_string();
        let mut stream =
            UnixStream::connect(&self.socket).await.map_err(|source| ClientError::NotRunning { path, source })?;
        let bytes = message::encode(request).map_err(ClientError::Answer)?;
        stream.write_all(&bytes).await.map_err(ClientError::Lost)?;
        let mut buffer = Vec::new();
        loop {
            if let Some(reply) = message::decode(&mut buffer).map_err(ClientError::Answer)? {
                return Ok(reply);
            }
            if stream.read_buf(&mut buffer).await.map_err(ClientError::Lost)? == 0 {
                return Err(ClientError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

//! One connection to the shim's socket: messages first, stream frames after an exec or attach.

use orrery_wire::{
    frame::MAX_PAYLOAD,
    message::{self, MessageError},
    shim::{STREAM_HEADER_LENGTH, StreamError, StreamKind, StreamMessage},
};
use serde::{Serialize, de::DeserializeOwned};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("a message was not understood")]
    Message(#[from] MessageError),
    #[error("a stream message was not understood")]
    Stream(#[from] StreamError),
}

/// Reads messages, and after them stream frames.
pub(crate) struct Reader {
    read: BufReader<OwnedReadHalf>,
    buffer: Vec<u8>,
}

/// Writes messages and stream frames.
pub(crate) struct Writer(OwnedWriteHalf);

pub(crate) fn split(stream: UnixStream) -> (Reader, Writer) {
    let (read, write) = stream.into_split();
    (Reader { read: BufReader::new(read), buffer: Vec::new() }, Writer(write))
}

impl Reader {
    /// The next message; none at the end. Cancel-safe: what was read in part is kept.
    pub(crate) async fn message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ConnectionError> {
        loop {
            if let Some(message) = message::decode(&mut self.buffer)? {
                return Ok(Some(message));
            }
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next stream frame; none at the end. Cancel-safe.
    pub(crate) async fn stream_message(&mut self) -> Result<Option<StreamMessage>, ConnectionError> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<STREAM_HEADER_LENGTH>() {
                let (kind, length) = StreamMessage::decode_header(*header)?;
                let end = STREAM_HEADER_LENGTH + length;
                if self.buffer.len() >= end {
                    let payload = self.buffer[STREAM_HEADER_LENGTH..end].to_vec();
                    self.buffer.drain(..end);
                    return Ok(Some(StreamMessage { kind, payload }));
                }
            }
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

impl Writer {
    pub(crate) async fn message<T: Serialize>(&mut self, message: &T) -> Result<(), ConnectionError> {
        Ok(self.0.write_all(&message::encode(message)?).await?)
    }

    /// Sends `payload`, cut into frames; an empty one is a frame too.
    pub(crate) async fn stream(&mut self, kind: StreamKind, payload: &[u8]) -> Result<(), ConnectionError> {
        if payload.is_empty() {
            return self.frame(kind, payload).await;
        }
        for piece in payload.chunks(MAX_PAYLOAD) {
            self.frame(kind, piece).await?;
        }
        Ok(())
    }

    async fn frame(&mut self, kind: StreamKind, payload: &[u8]) -> Result<(), ConnectionError> {
        Ok(self.0.write_all(&StreamMessage { kind, payload: payload.to_vec() }.encode()).await?)
    }
}

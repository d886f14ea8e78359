//! Streams on a connection.
//!
//! ```text
//!   connection --> decoder --> one bounded channel a stream --> Input
//!   connection <-- encoder <-- one bounded channel for all  <-- Output of each
//! ```

use crate::frame::{Decoder, Encoder, ProtocolError, Received, Sent};
use crate::headers::Headers;
use bytes::Bytes;
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Streams that may be open at once.
const STREAMS: usize = 256;
/// Pieces of one stream that may wait to be read, and frames of all that may wait to be sent.
const QUEUE: usize = 8;
/// Most bytes of data in one frame.
const PIECE: usize = 32 * 1024;
const READ: usize = 16 * 1024;

/// Why a session ended otherwise than by its close.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    /// The client does not keep to SPDY.
    #[error("the client does not speak SPDY as it should")]
    Protocol(#[from] ProtocolError),
}

/// A session, as those who serve its streams see it.
#[derive(Debug)]
pub struct Session {
    opened: mpsc::Receiver<Stream>,
    frames: mpsc::Sender<Frame>,
}

/// A stream that the client has opened, and that has been accepted.
#[derive(Debug)]
pub struct Stream {
    /// What it is for.
    pub headers: Headers,
    /// What the client sends.
    pub input: Input,
    /// What the client gets.
    pub output: Output,
}

/// What a client sends on a stream. To drop it means that the rest is thrown away.
#[derive(Debug)]
pub struct Input(mpsc::Receiver<Bytes>);

/// What a client gets on a stream. It learns of the end by [`Output::finish`] alone.
#[derive(Debug)]
pub struct Output {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

#[derive(Debug)]
enum Frame {
    Send(Sent),
    Close,
}

impl Session {
    /// Takes a connection over, on which both sides have agreed to speak SPDY/3.1. The future carries it, until the client or
    /// [`Session::close`] ends it; to drop the future ends the connection at once.
    pub fn run<C>(connection: C) -> (Self, impl Future<Output = Result<(), SessionError>>)
    where
        C: AsyncRead + AsyncWrite,
    {
        let (accept, opened) = mpsc::channel(1);
        let (frames, queued) = mpsc::channel(QUEUE);
        let (read, write) = tokio::io::split(connection);
        let reading =
            Reading { decoder: Decoder::default(), streams: HashMap::new(), last: 0, accept, frames: frames.clone() };
        let carried = async move {
            tokio::select! {
                // Either ends the session: what the other has not carried yet has nobody left to go to.
                read = reading.run(read) => read,
                written = write_frames(write, queued) => written,
            }
        };
        (Self { opened, frames }, carried)
    }

    /// The next stream; none once the client opens no more. Cancel-safe.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    /// Ends the session, once everything that was sent before has gone out.
    pub async fn close(self) {
        // When nobody takes it, the session has ended already.
        let _ = self.frames.send(Frame::Close).await;
    }
}

impl Input {
    /// The next bytes; none at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

impl Output {
    /// Sends bytes; waits while many are on the way. Whether the session still is there.
    pub async fn send(&self, mut bytes: Bytes) -> bool {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let frame = Frame::Send(Sent::Data { stream: self.stream, bytes: piece, finished: false });
            if self.frames.send(frame).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Tells the end. Whether the session still is there.
    pub async fn finish(self) -> bool {
        let frame = Frame::Send(Sent::Data { stream: self.stream, bytes: Bytes::new(), finished: true });
        self.frames.send(frame).await.is_ok()
    }
}

struct Reading {
    decoder: Decoder,
    streams: HashMap<u32, mpsc::Sender<Bytes>>,
    /// The last stream that was opened.
    last: u32,
    accept: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Frame>,
}

impl Reading {
    async fn run(mut self, mut connection: impl AsyncRead + Unpin) -> Result<(), SessionError> {
        loop {
            while let Some(received) = self.decoder.next()? {
                self.take(received).await?;
            }
            let buffer = self.decoder.buffer();
            buffer.reserve(READ);
            if connection.read_buf(buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, received: Received) -> Result<(), ProtocolError> {
        match received {
            Received::Open { stream, headers, finished } => return self.open(stream, headers, finished).await,
            Received::Data { stream, bytes, finished } => {
                if let Some(input) = self.streams.get(&stream).filter(|_| !bytes.is_empty()) {
                    // Nobody may read it any more; then it is thrown away.
                    let _ = input.send(bytes).await;
                }
                if finished {
                    self.streams.remove(&stream);
                }
            }
            Received::Reset { stream } => drop(self.streams.remove(&stream)),
            Received::Ping { id } => self.send(Sent::Ping { id }).await,
            Received::GoAway => {}
        }
        Ok(())
    }

    async fn open(&mut self, stream: u32, headers: Headers, finished: bool) -> Result<(), ProtocolError> {
        if stream.is_multiple_of(2) || stream <= self.last {
            return Err(ProtocolError::Stream(stream));
        }
        self.last = stream;
        self.streams.retain(|_, input| !input.is_closed());
        if self.streams.len() >= STREAMS {
            self.send(Sent::Refuse { stream }).await;
            return Ok(());
        }
        let (input, bytes) = mpsc::channel(QUEUE);
        if !finished {
            self.streams.insert(stream, input);
        }
        self.send(Sent::Reply { stream }).await;
        let output = Output { stream, frames: self.frames.clone() };
        // Nobody may accept streams any more: then the session is about to end.
        let _ = self.accept.send(Stream { headers, input: Input(bytes), output }).await;
        Ok(())
    }

    async fn send(&self, frame: Sent) {
        // When nobody takes it, the session is about to end.
        let _ = self.frames.send(Frame::Send(frame)).await;
    }
}

async fn write_frames(
    mut connection: impl AsyncWrite + Unpin,
    mut queued: mpsc::Receiver<Frame>,
) -> Result<(), SessionError> {
    let mut encoder = Encoder::default();
    while let Some(frame) = queued.recv().await {
        match frame {
            Frame::Send(frame) => connection.write_all(&encoder.encode(&frame)).await?,
            Frame::Close => {
                connection.write_all(&encoder.encode(&Sent::GoAway { last: 0 })).await?;
                break;
            }
        }
        if queued.is_empty() {
            connection.flush().await?;
        }
    }
    connection.shutdown().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::open;
    use crate::headers::Deflater;
    use tokio::io::DuplexStream;

    fn session() -> (DuplexStream, Session, Deflater) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (session, carried) = Session::run(server);
        tokio::spawn(carried);
        (client, session, Deflater::default())
    }

    fn headers(kind: &str) -> Headers {
        Headers::from([("streamtype".to_owned(), kind.to_owned())])
    }

    async fn frame(client: &mut DuplexStream) -> (Vec<u8>, Vec<u8>) {
        let mut head = vec![0; 8];
        client.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; usize::from(head[6]) << 8 | usize::from(head[7])];
        client.read_exact(&mut body).await.unwrap();
        (head, body)
    }

    #[tokio::test]
    async fn a_stream_carries_both_directions_and_ends_in_each() {
        let (mut client, mut session, mut deflater) = session();
        client.write_all(&open(&mut deflater, 1, &headers("data"), false)).await.unwrap();
        let Stream { headers: found, mut input, output } = session.accept().await.unwrap();
        assert_eq!(found, headers("data"));
        assert_eq!(frame(&mut client).await.0[..4], [0x80, 3, 0, 2], "a reply");
        client.write_all(&[0, 0, 0, 1, 1, 0, 0, 2, b'h', b'i']).await.unwrap();
        assert_eq!((input.next().await, input.next().await), (Some(Bytes::from_static(b"hi")), None));
        assert!(output.send(Bytes::from_static(b"ho")).await && output.finish().await);
        assert_eq!(frame(&mut client).await, (vec![0, 0, 0, 1, 0, 0, 0, 2], b"ho".to_vec()));
        assert_eq!(frame(&mut client).await.0, [0, 0, 0, 1, 1, 0, 0, 0]);
        session.close().await;
        assert_eq!(frame(&mut client).await.0[..4], [0x80, 3, 0, 7], "the end of the session");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn too_many_streams_are_refused_and_the_others_go_on() {
        let (mut client, mut session, mut deflater) = session();
        let mut held = Vec::new();
        for number in 0..STREAMS {
            let stream = u32::try_from(number * 2 + 1).unwrap();
            client.write_all(&open(&mut deflater, stream, &headers("data"), false)).await.unwrap();
            held.push(session.accept().await.unwrap());
            frame(&mut client).await;
        }
        let stream = u32::try_from(STREAMS * 2 + 1).unwrap();
        client.write_all(&open(&mut deflater, stream, &headers("data"), false)).await.unwrap();
        assert_eq!(frame(&mut client).await.0[..4], [0x80, 3, 0, 3], "a reset");
        client.write_all(&[0, 0, 0, 1, 0, 0, 0, 1, b'x']).await.unwrap();
        assert_eq!(held[0].input.next().await, Some(Bytes::from_static(b"x")));
    }

    #[tokio::test]
    async fn a_client_that_opens_a_stream_twice_is_cut_off() {
        let (mut client, server) = tokio::io::duplex(1024);
        let (_session, carried) = Session::run(server);
        let mut deflater = Deflater::default();
        client.write_all(&open(&mut deflater, 3, &headers("data"), true)).await.unwrap();
        client.write_all(&open(&mut deflater, 3, &headers("data"), true)).await.unwrap();
        let error = carried.await.unwrap_err();
        assert!(matches!(error, SessionError::Protocol(ProtocolError::Stream(3))), "{error:?}");
    }
}

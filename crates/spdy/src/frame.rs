//! Frames. Pure.
//!
//! ```text
//!   control: 1 | version 3 (15 bits) | type (16) | flags (8) | length (24) | ...
//!   data:    0 | stream (31)                     | flags (8) | length (24) | bytes
//! ```

use crate::headers::{Deflater, Headers, Inflater};
use bytes::{Buf, Bytes, BytesMut};

const HEAD: usize = 8;
/// Most bytes of one frame after its head. Clients send 32 KiB of data at most.
const LONGEST: usize = 1024 * 1024;
const CONTROL: u32 = 0x8000_0000;
const VERSION: u32 = 3;
const FINISHED: u8 = 1;

const SYN_STREAM: u32 = 1;
const SYN_REPLY: u32 = 2;
const RST_STREAM: u32 = 3;
const PING: u32 = 6;
const GOAWAY: u32 = 7;
const HEADERS: u32 = 8;

/// A client that does not keep to the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Another version of SPDY.
    #[error("version {0} of SPDY is not spoken, only 3")]
    Version(u32),
    /// A frame beyond the bound.
    #[error("a frame of {0} bytes is longer than allowed")]
    TooLong(usize),
    /// A frame that is too short for what it is.
    #[error("a frame of type {0} is cut off")]
    CutOff(u32),
    /// Headers that cannot be inflated. Later ones depend on them.
    #[error("a header block cannot be decompressed")]
    Compression,
    /// Headers beyond the bound.
    #[error("a header block is longer than allowed")]
    HeadersTooLong,
    /// Headers that make no sense.
    #[error("a header block is malformed")]
    Headers,
    /// The number of a stream that cannot be opened.
    #[error("stream {0} is opened, which is no new stream of a client")]
    Stream(u32),
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// Opens a stream; `finished` when the client sends nothing on it.
    Open { stream: u32, headers: Headers, finished: bool },
    /// Bytes on a stream; `finished` when they are the last.
    Data { stream: u32, bytes: Bytes, finished: bool },
    /// Ends a stream in both directions.
    Reset { stream: u32 },
    /// Wants to be answered with the same.
    Ping { id: u32 },
    /// Opens no more streams.
    GoAway,
}

/// Cuts bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    inflater: Inflater,
}

impl Decoder {
    /// Where bytes of the connection are to be put.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame; none when more bytes are needed. After an error nothing more can be read.
    pub(crate) fn next(&mut self) -> Result<Option<Received>, ProtocolError> {
        loop {
            let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
            let [a, b, c, d, flags, length @ ..] = *head;
            let word = u32::from_be_bytes([a, b, c, d]);
            let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
            if length > LONGEST {
                return Err(ProtocolError::TooLong(length));
            }
            if self.buffer.len() < HEAD + length {
                return Ok(None);
            }
            self.buffer.advance(HEAD);
            let body = self.buffer.split_to(length).freeze();
            let finished = flags & FINISHED != 0;
            if word & CONTROL == 0 {
                return Ok(Some(Received::Data { stream: word, bytes: body, finished }));
            }
            if let Some(received) = self.control(word, body, finished)? {
                return Ok(Some(received));
            }
        }
    }

    /// A control frame; none for one that asks for nothing.
    fn control(&mut self, word: u32, mut body: Bytes, finished: bool) -> Result<Option<Received>, ProtocolError> {
        let (version, kind) = ((word & !CONTROL) >> 16, word & 0xffff);
        if version != VERSION {
            return Err(ProtocolError::Version(version));
        }
        let mut number = || body.try_get_u32().map_err(|_| ProtocolError::CutOff(kind));
        Ok(match kind {
            SYN_STREAM => {
                let stream = number()? & !CONTROL;
                // The stream that this one belongs to, its priority and slot: of no meaning here.
                number()?;
                let headers = self.inflater.read(body.get(2..).ok_or(ProtocolError::CutOff(kind))?)?;
                Some(Received::Open { stream, headers, finished })
            }
            SYN_REPLY | HEADERS => {
                number()?;
                // Read all the same: what is compressed later builds on it.
                self.inflater.read(&body)?;
                None
            }
            RST_STREAM => Some(Received::Reset { stream: number()? & !CONTROL }),
            PING => Some(Received::Ping { id: number()? }),
            GOAWAY => Some(Received::GoAway),
            _ => None,
        })
    }
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Accepts a stream.
    Reply { stream: u32 },
    /// Bytes on a stream; `finished` when they are the last.
    Data { stream: u32, bytes: Bytes, finished: bool },
    /// Refuses a stream for want of room.
    Refuse { stream: u32 },
    /// Answers a ping.
    Ping { id: u32 },
    /// Ends the session.
    GoAway { last: u32 },
}

/// Makes bytes of frames.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    deflater: Deflater,
}

impl Encoder {
    pub(crate) fn encode(&mut self, frame: &Sent) -> Vec<u8> {
        const REFUSED_STREAM: u32 = 3;
        match frame {
            Sent::Reply { stream } => {
                let block = self.deflater.write(&Headers::new());
                control(SYN_REPLY, &[&stream.to_be_bytes(), &block])
            }
            Sent::Data { stream, bytes, finished } => {
                let mut frame = Vec::with_capacity(HEAD + bytes.len());
                frame.extend_from_slice(&(stream & !CONTROL).to_be_bytes());
                frame.extend_from_slice(&flags_and_length(if *finished { FINISHED } else { 0 }, bytes.len()));
                frame.extend_from_slice(bytes);
                frame
            }
            Sent::Refuse { stream } => control(RST_STREAM, &[&stream.to_be_bytes(), &REFUSED_STREAM.to_be_bytes()]),
            Sent::Ping { id } => control(PING, &[&id.to_be_bytes()]),
            Sent::GoAway { last } => control(GOAWAY, &[&last.to_be_bytes(), &0_u32.to_be_bytes()]),
        }
    }
}

fn control(kind: u32, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut frame = (CONTROL | (VERSION << 16) | kind).to_be_bytes().to_vec();
    frame.extend_from_slice(&flags_and_length(0, body.len()));
    frame.extend_from_slice(&body);
    frame
}

fn flags_and_length(flags: u8, length: usize) -> [u8; 4] {
    let length = u32::try_from(length).expect("frames are cut to their bound");
    (length | (u32::from(flags) << 24)).to_be_bytes()
}

/// What a client would send; for tests.
#[cfg(test)]
pub(crate) fn open(deflater: &mut Deflater, stream: u32, headers: &Headers, finished: bool) -> Vec<u8> {
    let block = deflater.write(headers);
    let mut frame = control(SYN_STREAM, &[&stream.to_be_bytes(), &[0; 6], &block]);
    frame[4] = u8::from(finished);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Result<Vec<Received>, ProtocolError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for byte in bytes {
            decoder.buffer().extend_from_slice(&[*byte]);
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_read_from_any_pieces() {
        let mut deflater = Deflater::default();
        let headers = |text: &str| Headers::from([("streamtype".to_owned(), text.to_owned())]);
        let mut bytes = open(&mut deflater, 1, &headers("error"), true);
        // Settings and windows ask for nothing.
        bytes.extend(control(4, &[&[0; 4]]));
        bytes.extend(control(9, &[&[0, 0, 0, 1], &[0, 0, 1, 0]]));
        bytes.extend(open(&mut deflater, 3, &headers("data"), false));
        bytes.extend([0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
        bytes.extend(control(PING, &[&[0, 0, 0, 7]]));
        bytes.extend(control(RST_STREAM, &[&[0, 0, 0, 3], &[0, 0, 0, 5]]));
        bytes.extend(control(GOAWAY, &[&[0; 8]]));
        let expected = vec![
            Received::Open { stream: 1, headers: headers("error"), finished: true },
            Received::Open { stream: 3, headers: headers("data"), finished: false },
            Received::Data { stream: 3, bytes: Bytes::from_static(b"hi"), finished: true },
            Received::Ping { id: 7 },
            Received::Reset { stream: 3 },
            Received::GoAway,
        ];
        assert_eq!(decode(&bytes), Ok(expected));
    }

    #[test]
    fn what_is_no_spdy_is_refused() {
        assert_eq!(decode(b"\x80\x02\x00\x01\0\0\0\0"), Err(ProtocolError::Version(2)));
        assert_eq!(decode(b"\0\0\0\x01\0\xff\xff\xff"), Err(ProtocolError::TooLong(0xff_ffff)));
        assert_eq!(decode(&control(SYN_STREAM, &[&[0; 9]])), Err(ProtocolError::CutOff(SYN_STREAM)));
        assert_eq!(decode(&control(PING, &[&[0; 3]])), Err(ProtocolError::CutOff(PING)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode(&[&[0x80, 3, 0, 1, 0, 0, 0, 190][..], &bytes].concat());
        }
    }
}

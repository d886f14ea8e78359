//! Frames on the guest's virtio-serial port.
//!
//! ```text
//!  0        4        8      9
//!  +--------+--------+------+-----------------+
//!  | length | stream | kind | payload (length)|      integers little-endian
//!  +--------+--------+------+-----------------+
//! ```
//!
//! Stream 0 carries control messages; every process started in the guest has a stream number that the shim chose and
//! never uses again during one boot. Output is sent only against credit: a stream begins with [`INITIAL_CREDIT`] bytes
//! for the guest to send (stdout and stderr together) and as many for the shim (stdin); the receiver returns credit as it
//! consumes. Control frames need no credit; the control queue is bounded by having few requests in flight.

/// The longest payload, in bytes. A longer length ends the connection: the peer is broken or hostile.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Bytes that each side may send on a new stream before the first [`FrameKind::Credit`].
pub const INITIAL_CREDIT: u32 = 256 * 1024;
/// The stream of control messages.
pub const CONTROL_STREAM: u32 = 0;
/// Bytes of a frame before its payload.
pub const HEADER_LENGTH: usize = 9;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// JSON of [`crate::guest::ToGuest`] or [`crate::guest::FromGuest`]; only on [`CONTROL_STREAM`].
    Control = 0,
    /// Shim to guest: bytes for the process's standard input.
    Stdin = 1,
    /// Guest to shim: bytes from standard output (everything, when there is a terminal).
    Stdout = 2,
    /// Guest to shim: bytes from standard error.
    Stderr = 3,
    /// Shim to guest: standard input is at its end. Empty payload.
    StdinEnd = 4,
    /// Either way: a little-endian `u32` of bytes that the receiver may send in addition.
    Credit = 5,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Control, Self::Stdin, Self::Stdout, Self::Stderr, Self::StdinEnd, Self::Credit]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The process's stream, or [`CONTROL_STREAM`].
    pub stream: u32,
    /// What the payload is.
    pub kind: FrameKind,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// Why bytes are not a frame. Nothing after it can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is over [`MAX_PAYLOAD`].
    #[error("a frame of {0} bytes is longer than the limit of {MAX_PAYLOAD}")]
    TooLong(usize),
    /// The kind is none that we know.
    #[error("a frame is of the unknown kind {0}")]
    UnknownKind(u8),
}

impl Frame {
    /// A credit frame for `bytes` more on `stream`.
    #[must_use]
    pub fn credit(stream: u32, bytes: u32) -> Self {
        Self { stream, kind: FrameKind::Credit, payload: bytes.to_le_bytes().to_vec() }
    }

    /// The amount that a credit frame carries; none when this is not a well-formed credit frame.
    #[must_use]
    pub fn credit_bytes(&self) -> Option<u32> {
        match self.kind {
            FrameKind::Credit => self.payload.as_slice().try_into().ok().map(u32::from_le_bytes),
            FrameKind::Control | FrameKind::Stdin | FrameKind::Stdout | FrameKind::Stderr | FrameKind::StdinEnd => None,
        }
    }

    /// Appends the frame's bytes to `out`.
    ///
    /// # Panics
    /// When the payload is over [`MAX_PAYLOAD`]: senders cut their data.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        assert!(self.payload.len() <= MAX_PAYLOAD, "a sender must cut its payload to MAX_PAYLOAD");
        let length = u32::try_from(self.payload.len()).expect("MAX_PAYLOAD fits u32");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.payload);
    }
}

/// Cuts a stream of bytes into frames. Holds at most one frame and one read beyond it.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    consumed: usize,
}

impl Decoder {
    /// Takes bytes as they were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or none when more bytes are needed. Call it until it gives none before the next
    /// [`Decoder::push`].
    ///
    /// # Errors
    /// When the header is not one of ours; the connection is then of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.buffer[self.consumed..];
        let Some((header, body)) = rest.split_first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        let kind = FrameKind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let Some(payload) = body.get(..length) else { return Ok(None) };
        let frame = Frame { stream: u32::from_le_bytes([s0, s1, s2, s3]), kind, payload: payload.to_vec() };
        self.consumed += HEADER_LENGTH + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        (any::<u32>(), 0u8..6, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(stream, kind, payload)| Frame {
            stream,
            kind: FrameKind::from_byte(kind).unwrap(),
            payload,
        })
    }

    proptest! {
        #[test]
        fn frames_survive_any_split(frames in prop::collection::vec(any_frame(), 0..10), cut in 1usize..64) {
            let mut bytes = Vec::new();
            frames.iter().for_each(|frame| frame.encode_into(&mut bytes));
            let mut decoder = Decoder::default();
            let mut received = Vec::new();
            for chunk in bytes.chunks(cut) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    received.push(frame);
                }
            }
            prop_assert_eq!(received, frames);
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_by_its_header() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 2]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0x7fff_ffff)));
    }

    #[test]
    fn only_a_well_formed_credit_frame_grants_credit() {
        assert_eq!(Frame::credit(3, 77).credit_bytes(), Some(77));
        assert_eq!(Frame { stream: 3, kind: FrameKind::Credit, payload: vec![1] }.credit_bytes(), None);
        assert_eq!(Frame { stream: 3, kind: FrameKind::Stdout, payload: vec![1, 0, 0, 0] }.credit_bytes(), None);
    }
}

//! Frames on their way to the port, whole until the last byte is taken, so that one cut off by a lost connection can be
//! sent again from its start.

use orrery_wire::frame::Frame;
use std::collections::VecDeque;

/// Bytes in the outbox above which nothing more is read from processes or from the port.
const FULL: usize = 256 * 1024;

/// Encoded frames in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Vec<u8>>,
    sent_of_first: usize,
    bytes: usize,
}

impl Outbox {
    /// Appends a frame. Control frames are appended even when the outbox is full: each answers a request, and requests
    /// are not read then.
    pub(crate) fn push(&mut self, frame: &Frame) {
        let mut encoded = Vec::with_capacity(orrery_wire::frame::HEADER_LENGTH + frame.payload.len());
        frame.encode_into(&mut encoded);
        self.bytes += encoded.len();
        self.frames.push_back(encoded);
    }

    /// Whether more should be produced.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < FULL
    }

    /// The bytes to write next; empty when there is nothing to send.
    pub(crate) fn front(&self) -> &[u8] {
        self.frames.front().map_or(&[], |frame| &frame[self.sent_of_first..])
    }

    /// Records that `count` bytes of [`Outbox::front`] were written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent_of_first += count;
        if self.frames.front().is_some_and(|frame| self.sent_of_first >= frame.len()) {
            let gone = self.frames.pop_front().map_or(0, |frame| frame.len());
            self.bytes -= gone;
            self.sent_of_first = 0;
        }
    }

    /// The connection was lost: a frame that went out in part goes out again.
    pub(crate) fn rewind(&mut self) {
        self.sent_of_first = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_wire::frame::{Decoder, FrameKind};

    fn frame(stream: u32, length: usize) -> Frame {
        Frame { stream, kind: FrameKind::Stdout, payload: vec![7; length] }
    }

    #[test]
    fn bytes_come_out_in_order_whatever_the_writes_take() {
        let mut outbox = Outbox::default();
        let sent = [frame(1, 10), frame(2, 0), frame(3, 300)];
        sent.iter().for_each(|frame| outbox.push(frame));
        let (mut decoder, mut received) = (Decoder::default(), Vec::new());
        while !outbox.front().is_empty() {
            let count = outbox.front().len().min(7);
            decoder.push(&outbox.front()[..count]);
            outbox.advance(count);
            while let Some(frame) = decoder.next_frame().unwrap() {
                received.push(frame);
            }
        }
        assert_eq!(received, sent);
        assert_eq!(outbox.bytes, 0);
    }

    #[test]
    fn a_frame_cut_off_by_a_lost_connection_is_sent_again_from_its_start() {
        let mut outbox = Outbox::default();
        outbox.push(&frame(1, 10));
        outbox.advance(5);
        outbox.rewind();
        let mut decoder = Decoder::default();
        decoder.push(outbox.front());
        assert_eq!(decoder.next_frame(), Ok(Some(frame(1, 10))));
    }

    #[test]
    fn a_full_outbox_asks_for_no_more_until_it_is_drained() {
        let mut outbox = Outbox::default();
        while outbox.has_room() {
            outbox.push(&frame(1, 60_000));
        }
        while !outbox.front().is_empty() {
            outbox.advance(outbox.front().len());
        }
        assert!(outbox.has_room());
    }
}

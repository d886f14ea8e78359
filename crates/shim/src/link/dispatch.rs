//! Where a frame from the guest belongs.

use super::{
    Answer, Given,
    streams::{Shared, StreamEnds},
    window::StreamEnd,
};
use crate::{cri::Source, failure::Failure};
use orrery_wire::{
    frame::{CONTROL_STREAM, Frame, FrameKind},
    guest::FromGuest,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot, watch};

/// Most processes whose streams are open at once.
const MAX_STREAMS: usize = 256;

/// The open streams and requests of one link.
#[derive(Debug)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
    pub(super) ready: watch::Sender<Option<Option<u32>>>,
}

#[derive(Debug, Default)]
struct Inner {
    closed: bool,
    last_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    last_stream: u32,
    streams: HashMap<u32, Arc<Shared>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { inner: Mutex::default(), ready: watch::Sender::new(None) }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing below panics with the lock held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id for a new request and where its answer will come; none once the link has ended.
    pub(super) fn expect_answer(&self) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        // Requests that were given up.
        inner.waiting.retain(|_, answer| !answer.is_closed());
        inner.last_id += 1;
        let id = inner.last_id;
        let (sender, answer) = oneshot::channel();
        inner.waiting.insert(id, sender);
        Some((id, answer))
    }

    /// A new stream; none once the link has ended, an error with the limit when there are too many.
    pub(super) fn open(&self, frames: &mpsc::Sender<Frame>) -> Option<Result<StreamEnds, usize>> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        if inner.streams.len() >= MAX_STREAMS {
            return Some(Err(MAX_STREAMS));
        }
        // Four thousand million processes in one boot end the machine's ability to start more, not this program.
        inner.last_stream = inner.last_stream.checked_add(1)?;
        let number = inner.last_stream;
        let (ends, shared) = StreamEnds::new(number, frames);
        inner.streams.insert(number, shared);
        Some(Ok(ends))
    }

    pub(super) fn forget(&self, stream: u32) {
        self.lock().streams.remove(&stream);
    }

    /// The link has ended: every request fails and every stream is broken off.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
        for (_, stream) in inner.streams.drain() {
            stream.end(StreamEnd::Broken);
        }
    }

    /// Takes one frame; an error tells how it breaks the protocol.
    pub(super) fn take(&self, frame: &Frame) -> Result<(), String> {
        let stream = frame.stream;
        match frame.kind {
            FrameKind::Control if stream == CONTROL_STREAM => self.take_message(&frame.payload),
            FrameKind::Stdout => self.stream(stream)?.push(Source::Stdout, &frame.payload),
            FrameKind::Stderr => self.stream(stream)?.push(Source::Stderr, &frame.payload),
            FrameKind::Credit => {
                let bytes = frame.credit_bytes().ok_or("a credit frame is malformed")?;
                // The process may have ended while its credit was on the way.
                if let Ok(stream) = self.stream(stream) {
                    stream.grant(bytes);
                }
                Ok(())
            }
            FrameKind::Control => Err(format!("a control message came on stream {stream}")),
            FrameKind::Stdin | FrameKind::StdinEnd => Err("input came from the guest".into()),
        }
    }

    fn stream(&self, number: u32) -> Result<Arc<Shared>, String> {
        let stream = self.lock().streams.get(&number).map(Arc::clone);
        stream.ok_or_else(|| format!("stream {number} is of no running process"))
    }

    fn take_message(&self, payload: &[u8]) -> Result<(), String> {
        let message =
            serde_json::from_slice(payload).map_err(|error| format!("a control message is malformed: {error}"))?;
        match message {
            // It comes once for each hello that was sent while the guest still booted.
            FromGuest::Ready { version, build, uptime_seconds } => {
                let first = self.ready.send_if_modified(|ready| {
                    ready.is_none() && {
                        *ready = Some(version);
                        true
                    }
                });
                if first {
                    tracing::info!(build = crate::failure::printable(&build), uptime_seconds, "the guest answers");
                }
                Ok(())
            }
            FromGuest::Done { id, pid: _ } => self.answer(id, Ok(Given::Done)),
            FromGuest::Stats { id, stats } => self.answer(id, Ok(Given::Stats(stats))),
            FromGuest::Failed { id, reason, message } => self.answer(id, Err(Failure::of_guest(&reason, &message))),
            FromGuest::Exited { stream, exit } => {
                self.stream(stream)?.end(StreamEnd::Exited(exit));
                self.forget(stream);
                Ok(())
            }
        }
    }

    fn answer(&self, id: u64, answer: Answer) -> Result<(), String> {
        let mut inner = self.lock();
        if id == 0 || id > inner.last_id {
            return Err(format!("an answer came to request {id}, which was never made"));
        }
        // Who asked may have given up; the answer is then late, not wrong.
        if let Some(waiting) = inner.waiting.remove(&id) {
            let _ = waiting.send(answer);
        }
        Ok(())
    }
}

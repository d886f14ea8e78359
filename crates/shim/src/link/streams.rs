//! The two ends of a process's stream that its consumer holds.

use super::window::{StreamEnd, Taken, Window};
use crate::cri::Source;
use orrery_wire::{
    frame::{Frame, FrameKind, INITIAL_CREDIT, MAX_PAYLOAD},
    guest::ProcessExit,
};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, Semaphore, mpsc};

/// A process's stream, as the reader and the consumer share it.
#[derive(Debug)]
pub(super) struct Shared {
    window: Mutex<Window>,
    changed: Notify,
    /// Bytes of input that the guest has room for.
    input_credit: Semaphore,
}

impl Shared {
    fn new() -> Self {
        Self { window: Mutex::default(), changed: Notify::new(), input_credit: Semaphore::new(INITIAL_CREDIT as usize) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Window) -> T) -> T {
        // Nothing in `Window` panics half-way, so a poisoned lock still guards a whole value.
        change(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Output came from the guest.
    pub(super) fn push(&self, source: Source, bytes: &[u8]) -> Result<(), String> {
        self.with(|window| window.push(source, bytes))?;
        self.changed.notify_one();
        Ok(())
    }

    /// Nothing more will come.
    pub(super) fn end(&self, end: StreamEnd) {
        self.with(|window| window.end(end));
        self.input_credit.close();
        self.changed.notify_one();
    }

    /// The guest has taken input. It never gets more room than it began with.
    pub(super) fn grant(&self, bytes: u32) {
        let room = (INITIAL_CREDIT as usize).saturating_sub(self.input_credit.available_permits());
        self.input_credit.add_permits(room.min(bytes as usize));
    }
}

/// Both ends of a stream.
#[derive(Debug)]
pub(crate) struct StreamEnds {
    /// Its number, which the guest is told.
    pub(crate) number: u32,
    pub(crate) output: Output,
    pub(crate) input: Input,
}

impl StreamEnds {
    pub(super) fn new(number: u32, frames: &mpsc::Sender<Frame>) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared::new());
        let output = Output { number, shared: Arc::clone(&shared), frames: frames.clone() };
        let input = Input { number, shared: Arc::clone(&shared), frames: frames.clone() };
        (Self { number, output, input }, shared)
    }
}

/// What comes from a process.
#[derive(Debug)]
pub(crate) enum Read {
    /// Output. Report it with [`Output::consumed`] once it has gone on.
    Bytes(Source, Vec<u8>),
    /// The process has ended, and this was all.
    Exited(ProcessExit),
    /// The machine has.
    Broken,
}

/// A process's output, for one consumer.
#[derive(Debug)]
pub(crate) struct Output {
    number: u32,
    shared: Arc<Shared>,
    frames: mpsc::Sender<Frame>,
}

impl Output {
    /// The next output or the end. Cancel-safe: bytes are taken and returned without waiting in between.
    pub(crate) async fn next(&mut self) -> Read {
        loop {
            match self.shared.with(Window::take) {
                Taken::Bytes(source, bytes) => return Read::Bytes(source, bytes),
                Taken::End(StreamEnd::Exited(exit)) => return Read::Exited(exit),
                Taken::End(StreamEnd::Broken) => return Read::Broken,
                Taken::Empty => self.shared.changed.notified().await,
            }
        }
    }

    /// So many bytes have gone on: the guest may send as many more.
    pub(crate) async fn consumed(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).expect("output is bounded by credit");
        if let Some(credit) = self.shared.with(|window| window.consumed(bytes)) {
            // Without a link there is nobody to give credit to.
            let _ = self.frames.send(Frame::credit(self.number, credit)).await;
        }
    }
}

/// A process's input.
#[derive(Debug)]
pub(crate) struct Input {
    number: u32,
    shared: Arc<Shared>,
    frames: mpsc::Sender<Frame>,
}

impl Input {
    /// Sends input as fast as the process takes it. What a process that has ended did not take is dropped.
    pub(crate) async fn send(&self, bytes: &[u8]) {
        for piece in bytes.chunks(MAX_PAYLOAD) {
            let length = u32::try_from(piece.len()).expect("a piece fits a frame");
            match self.shared.input_credit.acquire_many(length).await {
                Ok(permit) => permit.forget(),
                Err(_closed) => return,
            }
            self.put(FrameKind::Stdin, piece.to_vec()).await;
        }
    }

    /// There is no more input.
    pub(crate) async fn end(&self) {
        self.put(FrameKind::StdinEnd, Vec::new()).await;
    }

    async fn put(&self, kind: FrameKind, payload: Vec<u8>) {
        // Without a link there is nobody to send to.
        let _ = self.frames.send(Frame { stream: self.number, kind, payload }).await;
    }
}

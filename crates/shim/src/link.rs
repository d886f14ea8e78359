//! The conversation with one boot's guest over its control port.
//!
//! Two tasks: the *reader* cuts the port's bytes into frames and puts each where it belongs, never waiting for a consumer;
//! the *writer* sends what a bounded queue holds. A [`Link`] is a cheap handle on both.
//!
//! The guest is hostile. Its output is bounded by credit ([`window`]), which is checked here; answers must be to requests
//! that were made; an end must be of a process that runs. Whatever breaks these rules ends the link with a reason.

mod bringup;
mod dispatch;
mod streams;
mod window;

pub(crate) use bringup::{bring_up, greet, keep_clock};
pub(crate) use streams::{Input, Output, Read, StreamEnds};

use crate::failure::Failure;
use dispatch::Registry;
use orrery_vmm::Control;
use orrery_wire::{
    frame::{CONTROL_STREAM, Decoder, Frame, FrameKind},
    guest::{GuestRequest, ToGuest, reason as guest_reason},
    hello::Hello,
    shim::reason,
    stats::GuestStats,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot, watch},
};

/// Frames that wait to be sent.
const QUEUE: usize = 64;
const READ_BYTES: usize = 64 * 1024;
/// How long a guest may take for what is quick.
pub(crate) const QUICK: Duration = Duration::from_secs(10);
/// How long a guest may take to start a process; emulated and cold it may take seconds.
pub(crate) const START: Duration = Duration::from_secs(60);

/// What the guest answered to a request.
pub(crate) type Answer = Result<Given, Failure>;

/// What a request was answered with.
#[derive(Debug)]
pub(crate) enum Given {
    /// It was carried out.
    Done,
    /// What the guest uses.
    Stats(Box<GuestStats>),
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkEnd {
    /// The port was closed: the guest is gone.
    Closed,
    /// The guest broke the protocol; the text says how.
    Violation(String),
}

/// A handle on the conversation.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    registry: Arc<Registry>,
    frames: mpsc::Sender<Frame>,
}

impl Link {
    /// Starts the conversation. `ended` is told once how it ended.
    pub(crate) fn start(control: Control) -> (Self, oneshot::Receiver<LinkEnd>) {
        let (read, write) = tokio::io::split(control);
        let (frames, queue) = mpsc::channel(QUEUE);
        let (ended, end) = oneshot::channel();
        let registry = Arc::new(Registry::default());
        tokio::spawn(read_frames(read, Arc::clone(&registry), ended));
        tokio::spawn(write_frames(write, queue));
        (Self { registry, frames }, end)
    }

    /// Asks the guest and waits for its answer.
    ///
    /// Giving up does not undo the request: who gives up on a start has to end the machine.
    pub(crate) async fn request(&self, request: GuestRequest, patience: Duration) -> Answer {
        let exchange = async {
            let (id, answer) = self.registry.expect_answer().ok_or_else(gone)?;
            self.send_message(&ToGuest::Request { id, request }).await?;
            answer.await.map_err(|_dropped| gone())?
        };
        let timed_out = |_elapsed| {
            let text = format!("the guest did not answer within {} s", patience.as_secs());
            Failure::new(reason::GUEST_FAILED, text)
        };
        tokio::time::timeout(patience, exchange).await.map_err(timed_out)?
    }

    /// Asks the guest what it uses.
    pub(crate) async fn stats(&self) -> Result<GuestStats, Failure> {
        match self.request(GuestRequest::Stats, QUICK).await? {
            Given::Stats(stats) => Ok(*stats),
            Given::Done => Err(Failure::new(reason::GUEST_FAILED, "the guest did not tell what it uses")),
        }
    }

    /// A new stream for a process that is about to be started.
    pub(crate) fn open(&self) -> Result<StreamEnds, Failure> {
        match self.registry.open(&self.frames) {
            Some(Ok(ends)) => Ok(ends),
            Some(Err(most)) => Err(Failure::new(
                guest_reason::BAD_STATE,
                format!("{most} processes are open already; end some of them first"),
            )),
            None => Err(gone()),
        }
    }

    /// Gives back a stream whose process was not started after all.
    pub(crate) fn forget(&self, stream: u32) {
        self.registry.forget(stream);
    }

    /// The version that the guest has chosen, once it has answered; none inside when it speaks none of ours.
    fn ready(&self) -> watch::Receiver<Option<Option<u32>>> {
        self.registry.ready.subscribe()
    }

    async fn say_hello(&self) -> Result<(), Failure> {
        let hello = Hello {
            versions: orrery_wire::guest::VERSIONS.to_vec(),
            role: "shim".into(),
            build: env!("CARGO_PKG_VERSION").into(),
        };
        self.send_message(&ToGuest::Hello(hello)).await
    }

    async fn send_message(&self, message: &ToGuest) -> Result<(), Failure> {
        let payload = serde_json::to_vec(message).expect("messages are plain data");
        if payload.len() > orrery_wire::frame::MAX_PAYLOAD {
            let text = "the request is too long for the guest's port; shorten the arguments and the environment";
            return Err(Failure::new(guest_reason::BAD_STATE, text));
        }
        let frame = Frame { stream: CONTROL_STREAM, kind: FrameKind::Control, payload };
        self.frames.send(frame).await.map_err(|_closed| gone())
    }
}

/// The guest is no longer there to be asked.
fn gone() -> Failure {
    Failure::new(reason::NOT_RUNNING, "the machine has ended")
}

async fn read_frames(mut read: ReadHalf<Control>, registry: Arc<Registry>, ended: oneshot::Sender<LinkEnd>) {
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; READ_BYTES];
    let end = loop {
        let Ok(length @ 1..) = read.read(&mut chunk).await else { break LinkEnd::Closed };
        decoder.push(&chunk[..length]);
        if let Err(violation) = take_frames(&mut decoder, &registry) {
            break LinkEnd::Violation(violation);
        }
    };
    registry.close();
    // Nobody listens when the boot was given up.
    let _ = ended.send(end);
}

fn take_frames(decoder: &mut Decoder, registry: &Registry) -> Result<(), String> {
    while let Some(frame) = decoder.next_frame().map_err(|error| error.to_string())? {
        registry.take(&frame)?;
    }
    Ok(())
}

async fn write_frames(mut write: WriteHalf<Control>, mut queue: mpsc::Receiver<Frame>) {
    let mut bytes = Vec::new();
    while let Some(frame) = queue.recv().await {
        bytes.clear();
        frame.encode_into(&mut bytes);
        // The reader sees the end of the port as well and reports it.
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

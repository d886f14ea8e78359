//! One attempt of a container, from its start to the last line of its log.
//!
//! ```text
//!   open the log -> start in the guest -> Started -> copy output (log, then whoever is attached) -> Ended
//!                          |
//!                          +-> StartFailed
//! ```
//! One task does all of it, so that its events come in order and the end is told only once the log is whole.

use crate::{
    clock,
    cri::Source,
    driver::{Event, EventKind},
    failure::{Failure, chain},
    link::{Input, Link, Output, QUICK, Read, START},
    record::killed,
    spool::Spool,
};
use orrery_wire::{
    guest::{ContainerSpec, GuestRequest, ProcessExit, reason as guest_reason},
    shim::reason,
};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{Mutex, broadcast, mpsc, watch};

/// Pieces of output that an attached connection may lag behind before it is dropped.
const LIVE_QUEUE: usize = 64;

/// A piece of a container's output, for those who are attached.
pub(crate) type Live = Arc<(Source, Vec<u8>)>;

/// A running container, for whoever wants something of it.
#[derive(Debug, Clone)]
pub(crate) struct ContainerHandle {
    pub(crate) link: Link,
    /// Its first process's stream.
    pub(crate) stream: u32,
    /// Its input. Who is attached with input holds the lock.
    pub(crate) input: Arc<Mutex<Input>>,
    /// Live output; gone once the container has ended.
    pub(crate) live: broadcast::WeakSender<Live>,
    /// Set before the live output ends.
    pub(crate) exit: watch::Receiver<Option<ProcessExit>>,
    pub(crate) reporter: Reporter,
}

/// A running guest, for whoever wants something of it.
#[derive(Debug, Clone)]
pub(crate) struct GuestHandle {
    pub(crate) link: Link,
    pub(crate) reporter: Reporter,
}

/// Tells the driver what happens in one boot.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    pub(crate) boot: u32,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Reporter {
    pub(crate) async fn tell(&self, kind: EventKind) {
        // Without a driver the process is about to end.
        let _ = self.events.send(Event { boot: self.boot, kind }).await;
    }

    /// A guest that does not answer to a start leaves unknown what runs in it; only its end makes that known again.
    pub(crate) async fn tell_if_silent(&self, failure: &Failure) {
        if failure.reason == reason::GUEST_FAILED {
            self.tell(EventKind::GuestFailed(failure.message.clone())).await;
        }
    }
}

/// An attempt to be started.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) spec: ContainerSpec,
    pub(crate) attempt: u32,
    pub(crate) log_directory: PathBuf,
    pub(crate) link: Link,
    pub(crate) reporter: Reporter,
}

/// Starts the attempt and stays with it to its end.
pub(crate) async fn run(attempt: Attempt) {
    let (name, number) = (attempt.spec.name.clone(), attempt.attempt);
    let (reporter, link) = (attempt.reporter.clone(), attempt.link.clone());
    let started = match start(attempt).await {
        Ok(started) => started,
        Err(failure) => {
            reporter.tell_if_silent(&failure).await;
            return reporter.tell(EventKind::StartFailed { name, failure }).await;
        }
    };
    let stream = started.handle.stream;
    let event = EventKind::Started { name: name.clone(), attempt: number, handle: started.handle, at: clock::now() };
    reporter.tell(event).await;
    let exit = copy_output(started.output, started.spool, &started.live).await;
    let machine_ended = exit.is_none();
    let exit = exit.unwrap_or_else(|| killed(clock::now()));
    started.exit.send_replace(Some(exit.clone()));
    drop(started.live);
    reporter.tell(EventKind::ContainerEnded { name: name.clone(), attempt: number, exit, machine_ended }).await;
    if !machine_ended && let Err(failure) = link.request(GuestRequest::RemoveContainer { stream }, QUICK).await {
        tracing::warn!(container = name, %failure, "the guest keeps the container's file system");
    }
}

struct Started {
    handle: ContainerHandle,
    output: Output,
    spool: Spool,
    live: broadcast::Sender<Live>,
    exit: watch::Sender<Option<ProcessExit>>,
}

async fn start(attempt: Attempt) -> Result<Started, Failure> {
    let Attempt { mut spec, attempt, log_directory, link, reporter } = attempt;
    let spool = Spool::open(&log_directory, &spec.name, attempt).await.map_err(|error| {
        let text = format!("cannot open the log of {} in {}: {}", spec.name, log_directory.display(), chain(&error));
        Failure::new(guest_reason::SYSTEM_ERROR, text)
    })?;
    let ends = link.open()?;
    let stream = ends.number;
    spec.stream = stream;
    if let Err(failure) = link.request(GuestRequest::StartContainer(Box::new(spec)), START).await {
        link.forget(stream);
        return Err(failure);
    }
    let (live, _) = broadcast::channel(LIVE_QUEUE);
    let (exit, exit_watch) = watch::channel(None);
    let handle = ContainerHandle {
        link,
        stream,
        input: Arc::new(Mutex::new(ends.input)),
        live: live.downgrade(),
        exit: exit_watch,
        reporter,
    };
    Ok(Started { handle, output: ends.output, spool, live, exit })
}

/// Copies until the end; none when the machine ended first.
async fn copy_output(mut output: Output, mut spool: Spool, live: &broadcast::Sender<Live>) -> Option<ProcessExit> {
    let mut complained = false;
    let mut note = |result: std::io::Result<()>| {
        if let Err(error) = result
            && !std::mem::replace(&mut complained, true)
        {
            // The container goes on: a full disk of the host is not its fault.
            tracing::error!(error = &error as &dyn std::error::Error, "output of a container is lost");
        }
    };
    loop {
        match output.next().await {
            Read::Bytes(source, bytes) => {
                note(spool.write(source, &bytes).await);
                let length = bytes.len();
                // Nobody has to be attached.
                let _ = live.send(Arc::new((source, bytes)));
                output.consumed(length).await;
            }
            Read::Exited(exit) => {
                note(spool.finish().await);
                return Some(exit);
            }
            Read::Broken => {
                note(spool.finish().await);
                return None;
            }
        }
    }
}

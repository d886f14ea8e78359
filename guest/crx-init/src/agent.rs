//! The main loop: one thread, one poll, all of init's state.
//!
//! Each turn takes what the port has, finishes what is due, writes what the port takes, and waits for the next change.
//! What to wait for is worked out anew from the state each time, so nothing can be forgotten. Init never waits for a
//! process: a container that hangs while starting holds up nobody else.

use crate::cgroup::Cgroup;
use crate::port::Port;
use crate::process::{Part, Process, Stage};
use crate::rootfs::Rootfs;
use orrery_wire::frame::{CONTROL_STREAM, Frame, FrameKind};
use orrery_wire::guest::{FromGuest, ProcessExit, ProcessSpec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{PidfdFlags, WaitOptions, WaitStatus};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Reads of the port in one turn, before others get theirs.
const READS_PER_TURN: usize = 16;
/// How long the last answer may take to get out before the power goes.
const FAREWELL: Duration = Duration::from_secs(2);

/// A container whose file system is there; its first process may have ended.
pub(crate) struct Container {
    pub(crate) rootfs: Rootfs,
    pub(crate) cgroup: Cgroup,
    /// The first process, whose settings an exec may fall back on.
    pub(crate) process: ProcessSpec,
}

/// An end that was asked for.
pub(crate) struct Shutdown {
    pub(crate) request: u64,
    /// When to stop waiting for processes and their last output.
    pub(crate) deadline: Instant,
}

/// Init's whole state.
pub(crate) struct Agent {
    pub(crate) port: Port,
    /// Handle of init itself, the way back from another process namespace.
    pub(crate) own: OwnedFd,
    /// Handle of process 1 of the process namespace that containers share, once one of them does.
    pub(crate) reaper: Option<OwnedFd>,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) containers: BTreeMap<u32, Container>,
    pub(crate) configured: bool,
    pub(crate) shutdown: Option<Shutdown>,
}

/// Why the loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("opening a handle of init itself")]
    OwnHandle(#[source] rustix::io::Errno),
    #[error("waiting for the next event")]
    Poll(#[source] rustix::io::Errno),
}

impl Agent {
    /// An agent without containers that speaks through `port`.
    pub(crate) fn new(port: Port) -> Result<Self, AgentError> {
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        Ok(Self {
            port,
            own: own.map_err(AgentError::OwnHandle)?,
            reaper: None,
            processes: BTreeMap::new(),
            containers: BTreeMap::new(),
            configured: false,
            shutdown: None,
        })
    }

    /// Serves the shim until it powers the machine off.
    pub(crate) fn serve(&mut self) -> Result<std::convert::Infallible, AgentError> {
        loop {
            self.port.acknowledge();
            let more = self.read_port();
            let held_back = !self.port.outbox.has_room();
            self.finish_due(Instant::now());
            self.port.flush();
            let now = Instant::now();
            let at_once = more || (held_back && self.port.outbox.has_room());
            let timeout = if at_once { Some(Duration::ZERO) } else { self.next_deadline(now) };
            for (stream, part) in self.wait_for_events(timeout)? {
                self.react(stream, part);
            }
        }
    }

    /// Handles what the port has. Whether there may be more at once.
    fn read_port(&mut self) -> bool {
        for _ in 0..READS_PER_TURN {
            if !self.port.outbox.has_room() || !self.port.read() {
                return false;
            }
            while let Some(frame) = self.port.next_frame() {
                self.take_frame(&frame);
            }
        }
        true
    }

    fn take_frame(&mut self, frame: &Frame) {
        if frame.kind == FrameKind::Control {
            self.take_control(&frame.payload);
            return;
        }
        // Frames may still be under way to a process that has just gone.
        let Some(process) = self.processes.get_mut(&frame.stream) else { return };
        match frame.kind {
            FrameKind::Stdin => process.take_input(&frame.payload, &mut self.port.outbox),
            FrameKind::StdinEnd => process.end_input(&mut self.port.outbox),
            FrameKind::Credit => process.grant(frame.credit_bytes().unwrap_or(0)),
            FrameKind::Control | FrameKind::Stdout | FrameKind::Stderr => {}
        }
    }

    /// Queues a control message.
    pub(crate) fn send(&mut self, message: &FromGuest) {
        let payload = serde_json::to_vec(message).expect("these messages are plain structures");
        self.port.outbox.push(&Frame { stream: CONTROL_STREAM, kind: FrameKind::Control, payload });
    }

    fn finish_due(&mut self, now: Instant) {
        for process in self.processes.values_mut() {
            process.finish_overdue(now, &mut self.port.outbox);
        }
        let finished: Vec<_> = self
            .processes
            .iter()
            .filter_map(|(stream, process)| Some((*stream, process.finished()?.clone())))
            .collect();
        for (stream, exit) in finished {
            self.processes.remove(&stream);
            self.send(&FromGuest::Exited { stream, exit });
        }
        if self.shutdown.as_ref().is_some_and(|end| self.processes.is_empty() || now >= end.deadline) {
            self.power_off();
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Duration> {
        let room = self.port.outbox.has_room();
        let overdue = self.processes.values().filter_map(Process::overdue_at).filter(|_| room);
        let shutdown = self.shutdown.as_ref().map(|end| end.deadline);
        overdue.chain(shutdown).min().map(|at| at.saturating_duration_since(now))
    }

    fn wait_for_events(&self, timeout: Option<Duration>) -> Result<Vec<(u32, Part)>, AgentError> {
        let mut polled = Vec::with_capacity(4 * self.processes.len());
        for process in self.processes.values() {
            process.interests(self.port.outbox.has_room(), &mut polled);
        }
        let watch = self.port.watch();
        let mut descriptors = vec![PollFd::new(&watch, PollFlags::IN)];
        descriptors.extend(polled.iter().map(|(_, _, descriptor)| descriptor.clone()));
        let timeout = timeout.map(timespec);
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(AgentError::Poll(error)),
        }
        let ready = descriptors[1..].iter().zip(&polled).filter(|(descriptor, _)| !descriptor.revents().is_empty());
        Ok(ready.map(|(_, (stream, part, _))| (*stream, *part)).collect())
    }

    fn react(&mut self, stream: u32, part: Part) {
        if part == Part::End {
            self.reap();
            return;
        }
        let Some(process) = self.processes.get_mut(&stream) else { return };
        match part {
            Part::Status => {
                let changed = process.take_news();
                process.pump_input(&mut self.port.outbox);
                if changed {
                    self.announce_start(stream);
                }
            }
            Part::Stdin => process.pump_input(&mut self.port.outbox),
            Part::Stdout | Part::Stderr => process.pump_output(part, Instant::now(), &mut self.port.outbox),
            Part::End => {}
        }
    }

    /// Answers the request of a process that has just started. One that was refused is answered once it is reaped.
    fn announce_start(&mut self, stream: u32) {
        if let Some(process) = self.processes.get(&stream).filter(|process| process.is_running()) {
            let (id, pid) = (process.request, u32::try_from(process.pid).ok());
            self.send(&FromGuest::Done { id, pid });
        }
    }

    /// Takes leave of every process that has ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let known = self.processes.iter().find(|(_, process)| process.pid == pid && process.is_alive());
            if let Some(stream) = known.map(|(stream, _)| *stream) {
                self.take_leave(stream, status);
            }
        }
    }

    fn take_leave(&mut self, stream: u32, status: WaitStatus) {
        let Some(process) = self.processes.get_mut(&stream) else { return };
        if process.take_news() {
            self.announce_start(stream);
        }
        let Some(process) = self.processes.get_mut(&stream) else { return };
        if let Stage::Refused(refusal) = &process.stage {
            let answer = FromGuest::Failed {
                id: process.request,
                reason: refusal.reason.clone(),
                message: refusal.message.clone(),
            };
            let first = process.container == stream;
            self.processes.remove(&stream);
            if first {
                self.remove_container(stream);
            }
            self.send(&answer);
            return;
        }
        let container = self.containers.get(&process.container);
        if let Some(container) = container.filter(|_| process.container == stream) {
            // With a process namespace of its own, the kernel has done so already.
            if let Err(refusal) = container.cgroup.kill() {
                crate::console::say(&refusal.to_string());
            }
        }
        let oom_kills = container.map_or(0, |container| container.cgroup.oom_kills());
        let last_words =
            container.filter(|_| process.container == stream).and_then(|container| container.rootfs.last_words());
        let exit = ProcessExit { message: last_words, ..describe_exit(status, oom_kills > process.oom_kills_before) };
        process.stage = Stage::Ended { exit, at: Instant::now() };
        process.pump_input(&mut self.port.outbox);
    }

    /// Frees a container's file system and control group.
    pub(crate) fn remove_container(&mut self, stream: u32) {
        if let Some(container) = self.containers.remove(&stream) {
            container.rootfs.remove();
            container.cgroup.remove();
        }
    }

    fn power_off(&mut self) -> ! {
        rustix::fs::sync();
        if let Some(shutdown) = self.shutdown.take() {
            self.send(&FromGuest::Done { id: shutdown.request, pid: None });
        }
        let start = Instant::now();
        while !self.port.flush() && start.elapsed() < FAREWELL {
            crate::wait(Duration::from_millis(5));
        }
        // The last bytes are with the device; the host's side takes them on a thread of its own.
        crate::wait(Duration::from_millis(50));
        crate::console::power_off()
    }
}

fn describe_exit(status: WaitStatus, oom_killed: bool) -> ProcessExit {
    let signal = status.terminating_signal();
    let code = signal.map_or_else(|| status.exit_status().unwrap_or(255), |signal| 128 + signal);
    let clock = clock_gettime(ClockId::Realtime);
    let nanos = clock.tv_sec.saturating_mul(1_000_000_000).saturating_add(clock.tv_nsec);
    ProcessExit {
        code,
        signal,
        out_of_memory: oom_killed && signal == Some(libc::SIGKILL),
        unix_nanos: u64::try_from(nanos).unwrap_or(0),
        message: None,
    }
}

/// `duration` as system calls take it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

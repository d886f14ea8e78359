//! One process that was started for the shim, from birth until the last of its output is handed over.
//!
//! ```text
//!   Starting --status socket closed--> Running --reaped--> Ended --output at its end--> gone, Exited sent
//!      |
//!      +--refusal on the socket--> Refused --reaped--> gone, Failed sent
//! ```
//!
//! A process that is reaped while `Starting` has its socket read to the end first and so passes through one of the two.

use crate::credit::{ReceiveWindow, SendCredit};
use crate::launch::{Born, News, next_news};
use crate::outbox::Outbox;
use crate::refusal::Refusal;
use orrery_wire::frame::{Frame, FrameKind, MAX_PAYLOAD};
use orrery_wire::guest::ProcessExit;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long after a process's end its output may be held open by a process it left behind.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// What is still read after that from a pipe that is not yet empty: as much as a pipe holds.
const LAST_BYTES: usize = 64 * 1024;
/// The byte that ends input at a terminal, as a person would type it.
const END_OF_TRANSMISSION: u8 = 4;

/// Where a process stands.
#[derive(Debug)]
pub(crate) enum Stage {
    Starting { status: OwnedFd },
    Running,
    Refused(Refusal),
    Ended { exit: ProcessExit, at: Instant },
}

/// A descriptor of a process that can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Status,
    End,
    Stdin,
    Stdout,
    Stderr,
}

#[derive(Debug)]
struct Output {
    pipe: Option<OwnedFd>,
    kind: FrameKind,
    last_bytes: usize,
}

/// A process and its streams.
#[derive(Debug)]
pub(crate) struct Process {
    stream: u32,
    /// The stream of the container that it runs in; its own when it is the first process.
    pub(crate) container: u32,
    /// The request that is answered when the process runs, or will not.
    pub(crate) request: u64,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// How many processes of the container had been killed for want of memory when this one began.
    pub(crate) oom_kills_before: u64,
    pub(crate) stage: Stage,
    tty: bool,
    wants_input: bool,
    size: Option<Winsize>,
    credit: SendCredit,
    outputs: [Output; 2],
    input: Option<OwnedFd>,
    input_queue: VecDeque<u8>,
    input_ended: bool,
    window: ReceiveWindow,
}

impl Process {
    /// A process just born.
    pub(crate) fn new(stream: u32, container: u32, request: u64, born: Born, tty: bool, wants_input: bool) -> Self {
        let output = |pipe, kind| Output { pipe, kind, last_bytes: LAST_BYTES };
        Self {
            stream,
            container,
            request,
            pid: born.pid,
            pidfd: born.pidfd,
            oom_kills_before: 0,
            stage: Stage::Starting { status: born.status },
            tty,
            wants_input,
            size: None,
            credit: SendCredit::default(),
            outputs: [output(born.ends.stdout, FrameKind::Stdout), output(born.ends.stderr, FrameKind::Stderr)],
            input: born.ends.stdin,
            input_queue: VecDeque::new(),
            input_ended: false,
            window: ReceiveWindow::default(),
        }
    }

    /// Whether it was born and not reaped yet.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.stage, Stage::Ended { .. })
    }

    /// Whether it became its program and was not reaped yet.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    /// What to poll for now. An output without credit is left out, not just ignored: it would be ready all the time.
    pub(crate) fn interests<'a>(&'a self, may_send: bool, polled: &mut Vec<(u32, Part, PollFd<'a>)>) {
        let mut add = |part, descriptor: &'a OwnedFd, flags| {
            polled.push((self.stream, part, PollFd::new(descriptor, flags)));
        };
        if let Stage::Starting { status } = &self.stage {
            add(Part::Status, status, PollFlags::IN);
        }
        if self.is_alive() {
            add(Part::End, &self.pidfd, PollFlags::IN);
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.input_queue.is_empty()) {
            add(Part::Stdin, input, PollFlags::OUT);
        }
        for (output, part) in self.outputs.iter().zip([Part::Stdout, Part::Stderr]) {
            if let Some(pipe) = output.pipe.as_ref().filter(|_| may_send && self.credit.left() > 0) {
                add(part, pipe, PollFlags::IN);
            }
        }
    }

    /// Reads the status socket. Whether the process has just left [`Stage::Starting`].
    pub(crate) fn take_news(&mut self) -> bool {
        loop {
            let Stage::Starting { status } = &self.stage else { return false };
            match next_news(status.as_fd()) {
                News::None => return false,
                News::Terminal(master) => self.take_terminal(master),
                News::Refused(refusal) => {
                    self.stage = Stage::Refused(refusal);
                    return true;
                }
                News::Started => {
                    self.stage = Stage::Running;
                    return true;
                }
            }
        }
    }

    fn take_terminal(&mut self, master: OwnedFd) {
        if self.wants_input {
            self.input = master.try_clone().ok();
        }
        self.outputs[0].pipe = Some(master);
        if let Some(size) = self.size {
            self.resize(size);
        }
    }

    /// Sets the terminal's size, now or as soon as there is a terminal. Without one this changes nothing.
    pub(crate) fn resize(&mut self, size: Winsize) {
        self.size = Some(size);
        if let Some(master) = self.outputs[0].pipe.as_ref().filter(|_| self.tty) {
            let _ = tcsetwinsize(master, size);
        }
    }

    /// The shim may be sent `bytes` more.
    pub(crate) fn grant(&mut self, bytes: u32) {
        self.credit.grant(bytes);
    }

    /// Takes bytes for standard input.
    pub(crate) fn take_input(&mut self, bytes: &[u8], outbox: &mut Outbox) {
        if let Err(overrun) = self.window.receive(bytes.len()) {
            crate::console::say(&format!("input of stream {}: {overrun}; dropped", self.stream));
            return;
        }
        if self.input_ended {
            self.consumed(bytes.len(), outbox);
            return;
        }
        self.input_queue.extend(bytes);
        self.pump_input(outbox);
    }

    /// No more input follows.
    pub(crate) fn end_input(&mut self, outbox: &mut Outbox) {
        if self.tty && !self.input_ended {
            self.input_queue.push_back(END_OF_TRANSMISSION);
        }
        self.input_ended = true;
        self.pump_input(outbox);
    }

    /// Writes queued input as far as the process takes it, and returns the credit for it.
    pub(crate) fn pump_input(&mut self, outbox: &mut Outbox) {
        while let Some(input) = self.input.as_ref().filter(|_| !self.input_queue.is_empty()) {
            match rustix::io::write(input, self.input_queue.as_slices().0) {
                Ok(count) => {
                    self.input_queue.drain(..count);
                    self.consumed(count, outbox);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.input = None,
            }
        }
        let terminal_to_come = self.tty && self.wants_input && matches!(self.stage, Stage::Starting { .. });
        if self.input.is_none() && !terminal_to_come {
            // Nobody reads it any more, or nobody ever did. The shim gets its credit back all the same.
            let count = self.input_queue.len();
            self.input_queue.clear();
            self.consumed(count, outbox);
        } else if self.input_ended && self.input_queue.is_empty() {
            self.input = None;
        }
    }

    fn consumed(&mut self, count: usize, outbox: &mut Outbox) {
        if let Some(credit) = self.window.consume(count) {
            outbox.push(&Frame::credit(self.stream, credit));
        }
    }

    /// Reads one output once, as far as credit goes, and queues what was read.
    pub(crate) fn pump_output(&mut self, part: Part, now: Instant, outbox: &mut Outbox) {
        let output = &mut self.outputs[usize::from(part == Part::Stderr)];
        let Some(pipe) = &output.pipe else { return };
        let overdue = matches!(&self.stage, Stage::Ended { at, .. } if now >= *at + OUTPUT_GRACE);
        let most = if overdue { output.last_bytes } else { MAX_PAYLOAD };
        let mut bytes = vec![0; most.min(MAX_PAYLOAD).min(self.credit.left())];
        if bytes.is_empty() {
            return;
        }
        match rustix::io::read(pipe, &mut bytes) {
            Ok(count) if count > 0 => {
                bytes.truncate(count);
                self.credit.spend(count);
                outbox.push(&Frame { stream: self.stream, kind: output.kind, payload: bytes });
                if overdue {
                    output.last_bytes -= count;
                    if output.last_bytes == 0 {
                        output.pipe = None;
                    }
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if !overdue => {}
            // The end of a pipe; of a terminal it is EIO; and past the grace time, nothing there is the end too.
            Ok(_) | Err(_) => output.pipe = None,
        }
    }

    /// Finishes outputs that a left-behind process holds open, once the grace time is over.
    pub(crate) fn finish_overdue(&mut self, now: Instant, outbox: &mut Outbox) {
        if self.overdue_at().is_some_and(|at| now >= at) && outbox.has_room() {
            self.pump_output(Part::Stdout, now, outbox);
            self.pump_output(Part::Stderr, now, outbox);
        }
    }

    /// When [`Process::finish_overdue`] has something to do; never while only credit is missing.
    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Ended { at, .. } if !self.output_is_done() && self.credit.left() > 0 => Some(*at + OUTPUT_GRACE),
            _ => None,
        }
    }

    fn output_is_done(&self) -> bool {
        self.outputs.iter().all(|output| output.pipe.is_none())
    }

    /// How it ended, once all of its output was handed over.
    pub(crate) fn finished(&self) -> Option<&ProcessExit> {
        match &self.stage {
            Stage::Ended { exit, .. } if self.output_is_done() => Some(exit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Ends;
    use orrery_wire::frame::{Decoder, INITIAL_CREDIT};
    use rustix::pipe::{PipeFlags, pipe_with};

    const PIPE: PipeFlags = PipeFlags::CLOEXEC.union(PipeFlags::NONBLOCK);

    struct Fixture {
        process: Process,
        outbox: Outbox,
        stdout: Option<OwnedFd>,
        stdin: OwnedFd,
    }

    fn fixture() -> Fixture {
        let (stdin, stdin_ours) = pipe_with(PIPE).unwrap();
        let (stdout_ours, stdout) = pipe_with(PIPE).unwrap();
        let (status, _) = pipe_with(PIPE).unwrap();
        let (pidfd, _) = pipe_with(PIPE).unwrap();
        let ends = Ends { stdin: Some(stdin_ours), stdout: Some(stdout_ours), stderr: None };
        let born = Born { pid: 1, pidfd, status, ends };
        let mut process = Process::new(5, 5, 0, born, false, true);
        process.stage = Stage::Running;
        Fixture { process, outbox: Outbox::default(), stdout: Some(stdout), stdin }
    }

    fn drain(outbox: &mut Outbox) -> Vec<Frame> {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        while !outbox.front().is_empty() {
            decoder.push(outbox.front());
            outbox.advance(outbox.front().len());
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    fn ended() -> Stage {
        let exit = ProcessExit { code: 0, signal: None, out_of_memory: false, unix_nanos: 0, message: None };
        Stage::Ended { exit, at: Instant::now() }
    }

    #[test]
    fn output_stops_at_the_credit_and_goes_on_with_more() {
        let mut f = fixture();
        let mut sent = 0;
        for _ in 0..20 {
            let _ = rustix::io::write(f.stdout.as_ref().unwrap(), &[1; 65_536]);
            f.process.pump_output(Part::Stdout, Instant::now(), &mut f.outbox);
            sent += drain(&mut f.outbox).iter().map(|frame| frame.payload.len()).sum::<usize>();
        }
        assert_eq!(sent, INITIAL_CREDIT as usize);
        let mut polled = Vec::new();
        f.process.interests(true, &mut polled);
        assert!(polled.iter().all(|(_, part, _)| *part != Part::Stdout));
        f.process.grant(10);
        f.process.pump_output(Part::Stdout, Instant::now(), &mut f.outbox);
        assert_eq!(drain(&mut f.outbox)[0].payload.len(), 10);
    }

    #[test]
    fn a_process_is_finished_only_after_the_end_of_its_output() {
        let mut f = fixture();
        rustix::io::write(f.stdout.as_ref().unwrap(), b"last words").unwrap();
        f.process.stage = ended();
        assert!(f.process.finished().is_none());
        f.stdout = None;
        f.process.pump_output(Part::Stdout, Instant::now(), &mut f.outbox);
        f.process.pump_output(Part::Stdout, Instant::now(), &mut f.outbox);
        assert!(f.process.finished().is_some());
        assert_eq!(drain(&mut f.outbox)[0].payload, b"last words");
    }

    #[test]
    fn an_output_held_open_by_another_is_given_up_after_the_grace_time() {
        let mut f = fixture();
        rustix::io::write(f.stdout.as_ref().unwrap(), b"abc").unwrap();
        f.process.stage = ended();
        let late = f.process.overdue_at().unwrap();
        f.process.pump_output(Part::Stdout, late - Duration::from_millis(1), &mut f.outbox);
        f.process.pump_output(Part::Stdout, late - Duration::from_millis(1), &mut f.outbox);
        assert!(f.process.finished().is_none());
        f.process.finish_overdue(late, &mut f.outbox);
        assert!(f.process.finished().is_some());
        assert!(f.process.overdue_at().is_none());
    }

    #[test]
    fn a_flood_past_the_grace_time_is_cut_off() {
        let mut f = fixture();
        f.process.stage = ended();
        let late = f.process.overdue_at().unwrap();
        for _ in 0..100 {
            let _ = rustix::io::write(f.stdout.as_ref().unwrap(), &[1; 4096]);
            f.process.finish_overdue(late, &mut f.outbox);
        }
        assert!(f.process.finished().is_some());
        let sent: usize = drain(&mut f.outbox).iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(sent, LAST_BYTES);
    }

    #[test]
    fn input_is_acknowledged_as_the_process_takes_it_and_closed_after_its_end() {
        let mut f = fixture();
        let bytes = vec![3; MAX_PAYLOAD];
        f.process.take_input(&bytes, &mut f.outbox);
        f.process.take_input(&bytes, &mut f.outbox);
        f.process.end_input(&mut f.outbox);
        let granted: u32 = drain(&mut f.outbox).iter().filter_map(Frame::credit_bytes).sum();
        assert_eq!(granted as usize, MAX_PAYLOAD, "a pipe takes this much without a reader");
        let mut read = 0;
        let mut buffer = vec![0; MAX_PAYLOAD];
        loop {
            match rustix::io::read(&f.stdin, &mut buffer) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(_) => f.process.pump_input(&mut f.outbox),
            }
        }
        assert_eq!(read, 2 * MAX_PAYLOAD);
    }

    #[test]
    fn input_that_nobody_reads_is_dropped_and_acknowledged() {
        let Fixture { mut process, mut outbox, stdin, stdout: _stdout } = fixture();
        drop(stdin);
        for _ in 0..8 {
            process.take_input(&vec![3; MAX_PAYLOAD], &mut outbox);
        }
        let granted: u32 = drain(&mut outbox).iter().filter_map(Frame::credit_bytes).sum();
        assert_eq!(granted as usize, 8 * MAX_PAYLOAD);
    }
}

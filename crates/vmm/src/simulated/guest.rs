//! The simulated guest without its port: frames in, bytes out.

use super::{
    Fault,
    process::{Effect, End, Process},
    volumes::Volumes,
};
use orrery_wire::{
    frame::{CONTROL_STREAM, Frame, FrameKind, INITIAL_CREDIT, MAX_PAYLOAD},
    guest::{FromGuest, GuestRequest, ProcessExit, ToGuest, VERSIONS, reason},
    hello::agree,
    stats::{GroupStats, GuestStats},
};
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

/// What listens there sends back what it gets (RFC 862).
const ECHO_PORT: u16 = 7;
/// What listens there throws away what it gets and closes nothing by itself (RFC 863).
const DISCARD_PORT: u16 = 9;

pub(super) struct SimulatedGuest {
    fault: Option<Fault>,
    configured: bool,
    processes: BTreeMap<u32, Process>,
    volumes: Volumes,
    output: Vec<u8>,
    ended: Option<&'static str>,
}

type Answer = Result<Option<u32>, (&'static str, String)>;

impl SimulatedGuest {
    pub(super) fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            configured: false,
            processes: BTreeMap::new(),
            volumes: Volumes::default(),
            output: Vec::new(),
            ended: None,
        }
    }

    /// What is to be sent to the host now.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Why the guest has ended, if it has.
    pub(super) fn ended(&self) -> Option<&'static str> {
        self.ended
    }

    /// Takes one frame from the host and does all that follows from it.
    pub(super) fn take(&mut self, frame: &Frame) {
        match frame.kind {
            FrameKind::Control => match serde_json::from_slice(&frame.payload) {
                Ok(ToGuest::Hello(hello)) => self.greet(&hello.versions),
                Ok(ToGuest::Request { id, request }) => self.request(id, request),
                Err(_) => self.ended = Some("the host sent a message that is none"),
            },
            FrameKind::Stdin => {
                if let Some(process) = self.processes.get_mut(&frame.stream)
                    && !process.input(&frame.payload)
                {
                    self.ended = Some("the host sent more than its credit");
                }
            }
            FrameKind::StdinEnd => {
                if let Some(process) = self.processes.get_mut(&frame.stream) {
                    process.end_input();
                }
            }
            FrameKind::Credit => {
                let granted = frame.credit_bytes();
                if let (Some(process), Some(bytes)) = (self.processes.get_mut(&frame.stream), granted) {
                    process.grant(bytes);
                }
            }
            FrameKind::Stdout | FrameKind::Stderr => self.ended = Some("the host sent output"),
        }
        self.step();
    }

    fn greet(&mut self, offered: &[u32]) {
        let version = match self.fault {
            Some(Fault::NeverReady) => return,
            Some(Fault::SpeaksNoVersion) => None,
            _ => agree(VERSIONS, offered),
        };
        self.say(&FromGuest::Ready { version, build: "simulated".into(), uptime_seconds: 0.1 });
    }

    fn request(&mut self, id: u64, request: GuestRequest) {
        if self.fault == Some(Fault::FallsSilent) && self.configured {
            return;
        }
        if request == GuestRequest::Stats && self.configured {
            let containers = self.processes.iter().filter(|(stream, process)| **stream == process.container);
            let containers = containers.map(|(stream, _)| GroupStats { stream: *stream, ..GroupStats::default() });
            let stats = GuestStats { containers: containers.collect(), ..GuestStats::default() };
            return self.say(&FromGuest::Stats { id, stats: Box::new(stats) });
        }
        let answer = match self.carry_out(request) {
            Ok(pid) => FromGuest::Done { id, pid },
            Err((reason, message)) => FromGuest::Failed { id, reason: reason.into(), message },
        };
        self.say(&answer);
    }

    fn carry_out(&mut self, request: GuestRequest) -> Answer {
        if !self.configured && !matches!(request, GuestRequest::Configure(_) | GuestRequest::PowerOff) {
            return Err((reason::BAD_STATE, "the machine has no identity yet".into()));
        }
        match request {
            GuestRequest::Configure(_) => self.configure(),
            GuestRequest::Reset if !self.processes.is_empty() => {
                Err((reason::BAD_STATE, "the machine has containers".into()))
            }
            GuestRequest::Reset => {
                self.configured = false;
                self.volumes = Volumes::default();
                Ok(None)
            }
            GuestRequest::StartContainer(spec) => {
                self.misbehave(spec.stream);
                self.volumes.check(&spec.mounts)?;
                let process = match spec.process.argv.as_slice() {
                    [program, path] if program == "cat" => {
                        Some(Process::show(self.volumes.read(&spec.mounts, path), spec.stream))
                    }
                    _ => Process::start(&spec.process, spec.stream),
                };
                self.add(spec.stream, process.ok_or_else(|| not_found(&spec.process.argv))?)
            }
            GuestRequest::Exec(spec) => {
                if !self.processes.contains_key(&spec.container) {
                    return Err((reason::NOT_FOUND, "there is no such container".into()));
                }
                let process =
                    Process::start(&spec.process, spec.container).ok_or_else(|| not_found(&spec.process.argv))?;
                self.add(spec.stream, process)
            }
            GuestRequest::Forward { stream, port: ECHO_PORT } => self.add(stream, Process::echo(stream)),
            GuestRequest::Forward { stream, port: DISCARD_PORT } => self.add(stream, Process::discard(stream)),
            GuestRequest::Forward { port, .. } => {
                Err((reason::NOT_CONNECTED, format!("nothing listens on port {port}")))
            }
            GuestRequest::Signal { stream, signal, all } => self.signal(stream, signal, all),
            GuestRequest::Resize { stream, .. } => match self.processes.contains_key(&stream) {
                true => Ok(None),
                false => Err((reason::NOT_FOUND, "there is no such process".into())),
            },
            GuestRequest::Volume(request) => self.volumes.carry_out(request).map(|()| None),
            GuestRequest::RemoveContainer { .. } | GuestRequest::SetClock { .. } | GuestRequest::Stats => Ok(None),
            GuestRequest::PowerOff => {
                if self.fault != Some(Fault::IgnoresPowerOff) {
                    self.ended = Some("guest-shutdown");
                }
                Ok(None)
            }
        }
    }

    fn configure(&mut self) -> Answer {
        if self.configured {
            return Err((reason::BAD_STATE, "the machine has its identity already".into()));
        }
        match self.fault {
            Some(Fault::RefusesIdentity) => Err((reason::SYSTEM_ERROR, "simulated".into())),
            Some(Fault::EndsWhenConfigured) => {
                self.configured = true;
                self.ended = Some("guest-panic");
                Ok(None)
            }
            _ => {
                self.configured = true;
                Ok(None)
            }
        }
    }

    fn add(&mut self, stream: u32, process: Process) -> Answer {
        if stream == CONTROL_STREAM || self.processes.contains_key(&stream) {
            return Err((reason::BAD_STATE, format!("stream {stream} is in use")));
        }
        self.processes.insert(stream, process);
        Ok(Some(stream + 100))
    }

    fn signal(&mut self, stream: u32, signal: i32, all: bool) -> Answer {
        let Some(first) = self.processes.get(&stream) else {
            return Err((reason::NOT_FOUND, "there is no such process".into()));
        };
        let container = first.container;
        for (number, process) in &mut self.processes {
            if *number == stream || (all && process.container == container) {
                process.signal(signal);
            }
        }
        Ok(None)
    }

    /// Lets every process do what it can.
    fn step(&mut self) {
        let lawless = self.fault == Some(Fault::IgnoresCredit);
        let mut gone = Vec::new();
        for (stream, process) in &mut self.processes {
            for effect in process.step(lawless) {
                match effect {
                    Effect::Output(kind, payload) => {
                        Frame { stream: *stream, kind, payload }.encode_into(&mut self.output);
                    }
                    Effect::InputTaken(bytes) => Frame::credit(*stream, bytes).encode_into(&mut self.output),
                    Effect::Ended(end) => gone.push((*stream, end)),
                }
            }
        }
        for (stream, end) in gone {
            self.processes.remove(&stream);
            self.say(&FromGuest::Exited { stream, exit: exit_of(end) });
        }
    }

    fn say(&mut self, message: &FromGuest) {
        let payload = serde_json::to_vec(message).expect("messages are plain data");
        Frame { stream: CONTROL_STREAM, kind: FrameKind::Control, payload }.encode_into(&mut self.output);
    }

    fn misbehave(&mut self, stream: u32) {
        match self.fault {
            Some(Fault::SendsGarbage) => self.output.extend_from_slice(&[3, 0, 0, 0, 1, 0, 0, 0, 0xee, 1, 2, 3]),
            Some(Fault::SendsOversizedFrame) => {
                let length = u32::try_from(MAX_PAYLOAD).expect("the limit fits") + 1;
                self.output.extend_from_slice(&length.to_le_bytes());
                self.output.extend_from_slice(&stream.to_le_bytes());
                self.output.push(FrameKind::Stdout as u8);
            }
            Some(Fault::InventsStreams) => {
                let frame = Frame { stream: stream + 77, kind: FrameKind::Stdout, payload: b"boo".to_vec() };
                frame.encode_into(&mut self.output);
            }
            Some(Fault::IgnoresCredit) => {
                for _ in 0..=INITIAL_CREDIT as usize / MAX_PAYLOAD {
                    let frame = Frame { stream, kind: FrameKind::Stdout, payload: vec![b'y'; MAX_PAYLOAD] };
                    frame.encode_into(&mut self.output);
                }
            }
            Some(
                Fault::DoesNotStart
                | Fault::NeverReady
                | Fault::SpeaksNoVersion
                | Fault::EndsWhenConfigured
                | Fault::RefusesIdentity
                | Fault::FallsSilent
                | Fault::IgnoresPowerOff,
            )
            | None => {}
        }
    }
}

fn not_found(argv: &[String]) -> (&'static str, String) {
    let program = argv.first().map_or("", String::as_str);
    (reason::EXECUTABLE_NOT_FOUND, format!("no program {program}"))
}

fn exit_of(end: End) -> ProcessExit {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_nanos = u64::try_from(now.as_nanos()).expect("the clock is before the year 2500");
    ProcessExit { code: end.code, signal: end.signal, out_of_memory: false, unix_nanos, message: None }
}

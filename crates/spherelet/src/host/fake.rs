//! A host in memory that speaks the wire: `hostd` and shims on Unix sockets in a directory of the test's own.

use orrery_wire::{
    guest::{ProcessExit, reason},
    hello::{Hello, Welcome},
    host::{Admission, AssignedInterface, Facts, HostReply, HostRequest, MachineSpec, MachineSummary, WarmMachines},
    message,
    shim::{
        ContainerExit, ContainerStatus, MachineEnd, MachinePhase, MachineStatus, STREAM_HEADER_LENGTH, ShimReply,
        ShimRequest, StreamKind, StreamMessage,
    },
    stats::{GroupStats, GuestStats, MachineStats},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
};

/// The program that the guest does not have.
pub(crate) const MISSING: &str = "/missing";
/// The argument that makes a container deaf to SIGTERM.
pub(crate) const STUBBORN: &str = "stubborn";
/// A program that ends at once with the code that is its argument.
pub(crate) const EXIT: &str = "exit";
/// Nothing listens there; on other ports something sends back what it gets in upper case.
pub(crate) const CLOSED_PORT: u16 = 81;

/// A host with nothing but sockets.
#[derive(Clone)]
pub(crate) struct FakeHost {
    directory: Arc<tempfile::TempDir>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    machines: BTreeMap<String, Machine>,
    refusal: Option<(String, String)>,
    released: Vec<String>,
}

struct Machine {
    spec: MachineSpec,
    admission: Admission,
    shim: Arc<FakeShim>,
    task: tokio::task::JoinHandle<()>,
}

/// The shim of one machine.
pub(crate) struct FakeShim {
    status: watch::Sender<MachineStatus>,
    requests: Mutex<Vec<ShimRequest>>,
    stubborn: Mutex<Vec<String>>,
}

impl FakeHost {
    pub(crate) fn start() -> Self {
        let host = Self { directory: Arc::new(tempfile::tempdir().unwrap()), state: Arc::default() };
        let listener = UnixListener::bind(host.socket()).unwrap();
        let serving = host.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let host = serving.clone();
                tokio::spawn(async move {
                    let mut peer = Peer::welcome(stream).await;
                    while let Some(request) = peer.receive::<HostRequest>().await {
                        let reply = host.answer(request);
                        peer.send(&reply).await;
                    }
                });
            }
        });
        host
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("hostd.sock")
    }

    pub(crate) fn refuse(&self, reason: &str, message: &str) {
        self.state.lock().unwrap().refusal = Some((reason.into(), message.into()));
    }

    pub(crate) fn released(&self) -> Vec<String> {
        self.state.lock().unwrap().released.clone()
    }

    pub(crate) fn shim(&self) -> Arc<FakeShim> {
        self.state.lock().unwrap().machines.values().next().expect("a machine was admitted").shim.clone()
    }

    fn answer(&self, request: HostRequest) -> HostReply {
        let mut state = self.state.lock().unwrap();
        match request {
            HostRequest::Admit(spec) => {
                if let Some((reason, message)) = state.refusal.clone() {
                    return HostReply::Refused { reason, message };
                }
                let machine =
                    state.machines.entry(spec.id.clone()).or_insert_with(|| machine(*spec, self.directory.path()));
                HostReply::Admitted(machine.admission.clone())
            }
            HostRequest::Release { id } => {
                if let Some(machine) = state.machines.remove(&id) {
                    machine.task.abort();
                }
                state.released.push(id);
                HostReply::Released
            }
            HostRequest::List => HostReply::Machines(
                state
                    .machines
                    .values()
                    .map(|machine| MachineSummary {
                        spec: machine.spec.clone(),
                        admission: machine.admission.clone(),
                        phase: None,
                        shim_pid: None,
                        qemu_pid: None,
                    })
                    .collect(),
            ),
            HostRequest::Warm => HostReply::Warm(WarmMachines { ready: 0, wanted: 0 }),
            HostRequest::Enrolment => HostReply::Enrolment(None),
            HostRequest::Facts => HostReply::Facts(facts()),
        }
    }
}

fn facts() -> Facts {
    Facts {
        host: "host-1".into(),
        cpu_milli: 2000,
        memory_bytes: 4 << 30,
        machine_slots: 110,
        accelerator: "TCG".into(),
        qemu_version: "7.2.22".into(),
        kernel_release: "6.1.0".into(),
        boot_id: "b".into(),
        management_address: "127.0.0.1".into(),
        machine_range: "10.244.0.0/24".into(),
    }
}

fn machine(spec: MachineSpec, directory: &Path) -> Machine {
    let interface = AssignedInterface {
        mac: "52:54:00:00:00:01".into(),
        address: "10.244.0.7/24".into(),
        gateway: "10.244.0.1".into(),
        mtu: 1500,
        tap: "t".into(),
    };
    let socket = directory.join(format!("{}.sock", &spec.id[..8]));
    let _ = std::fs::remove_file(&socket);
    let admission = Admission {
        shim_socket: socket.display().to_string(),
        log_directory: directory.display().to_string(),
        interfaces: vec![interface],
    };
    let (shim, task) = FakeShim::start(&socket);
    Machine { spec, admission, shim, task }
}

impl FakeShim {
    pub(crate) fn start(socket: &Path) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let status = MachineStatus {
            sequence: 1,
            phase: MachinePhase::Off,
            boot: 0,
            booted_at: 0,
            qemu_pid: None,
            last_end: None,
            containers: vec![],
        };
        let shim =
            Arc::new(Self { status: watch::channel(status).0, requests: Mutex::default(), stubborn: Mutex::default() });
        let listener = UnixListener::bind(socket).unwrap();
        let serving = shim.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (shim, task)
    }

    /// Every request but the questions for the status.
    pub(crate) fn requests(&self) -> Vec<ShimRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn status(&self) -> MachineStatus {
        self.status.borrow().clone()
    }

    /// The container `main` has used a second of CPU time.
    fn stats() -> MachineStats {
        let group = GroupStats { stream: 1, cpu_nanos: 1_000_000_000, ..GroupStats::default() };
        let guest = GuestStats { containers: vec![group], ..GuestStats::default() };
        MachineStats { unix_nanos: 1_000_000_000, guest, names: vec![(1, "main".into())] }
    }

    fn change(&self, change: impl FnOnce(&mut MachineStatus)) {
        self.status.send_modify(|status| {
            status.sequence += 1;
            change(status);
        });
    }

    pub(crate) fn end_container(&self, name: &str, code: i32) {
        self.change(|status| {
            let open = status.containers.iter_mut().filter(|c| c.name == name && c.exit.is_none());
            open.for_each(|container| container.exit = Some(exit(code, false)));
        });
    }

    pub(crate) fn end_machine(&self) {
        self.change(|status| {
            status.phase = MachinePhase::Off;
            let message = "QEMU was killed (signal 9)".into();
            status.last_end = Some(MachineEnd { at: nanos(), requested: false, message });
            let open = status.containers.iter_mut().filter(|c| c.exit.is_none());
            open.for_each(|container| container.exit = Some(exit(137, true)));
        });
    }

    async fn serve(self: Arc<Self>, stream: UnixStream) {
        let mut peer = Peer::welcome(stream).await;
        while let Some(request) = peer.receive::<ShimRequest>().await {
            if !matches!(request, ShimRequest::Status | ShimRequest::Watch) {
                self.requests.lock().unwrap().push(request.clone());
            }
            match request {
                ShimRequest::Stats => peer.send(&ShimReply::Stats(Box::new(Self::stats()))).await,
                ShimRequest::Status => peer.send(&ShimReply::Status(Box::new(self.status()))).await,
                ShimRequest::Watch => {
                    peer.send(&ShimReply::Watching).await;
                    let mut changes = self.status.subscribe();
                    changes.mark_changed();
                    while changes.changed().await.is_ok() {
                        let status = changes.borrow_and_update().clone();
                        peer.send(&status).await;
                    }
                }
                ShimRequest::Exec { process, .. } => {
                    peer.send(&ShimReply::Streaming).await;
                    if let [program, code] = process.argv.as_slice()
                        && program == EXIT
                    {
                        let exit = serde_json::to_vec(&exit(code.parse().unwrap(), false).exit).unwrap();
                        return send_frame(&mut peer.stream, StreamKind::Exit, &exit).await;
                    }
                    return echo(peer, &process.argv).await;
                }
                ShimRequest::Forward { port: CLOSED_PORT } => {
                    let message = format!("connecting to port {CLOSED_PORT} of the pod: Connection refused");
                    peer.send(&ShimReply::Failed { reason: reason::NOT_CONNECTED.into(), message }).await;
                }
                ShimRequest::Attach { .. } | ShimRequest::Forward { .. } => {
                    peer.send(&ShimReply::Streaming).await;
                    return echo(peer, &[]).await;
                }
                other => {
                    let reply = self.act(other);
                    peer.send(&reply).await;
                }
            }
        }
    }

    fn act(&self, request: ShimRequest) -> ShimReply {
        match request {
            ShimRequest::PowerOn { .. } => self.change(|status| {
                status.phase = MachinePhase::Running;
                status.boot += 1;
                status.booted_at = nanos();
            }),
            ShimRequest::PowerOff { .. } => self.change(|status| status.phase = MachinePhase::Off),
            ShimRequest::StartContainer { spec, attempt } => {
                if spec.process.argv[0] == MISSING {
                    let message = format!("{MISSING}: no such program");
                    return ShimReply::Failed { reason: reason::EXECUTABLE_NOT_FOUND.into(), message };
                }
                if spec.process.argv.iter().any(|word| word == STUBBORN) {
                    self.stubborn.lock().unwrap().push(spec.name.clone());
                }
                self.change(|status| {
                    status.containers.retain(|container| container.name != spec.name);
                    let log_file = format!("{}/{attempt}.log", spec.name);
                    let (boot, started_at) = (status.boot, nanos());
                    status.containers.push(ContainerStatus {
                        name: spec.name,
                        attempt,
                        boot,
                        started_at,
                        exit: None,
                        log_file,
                    });
                });
            }
            ShimRequest::SignalContainer { name, signal, .. } => {
                if signal == 9 || !self.stubborn.lock().unwrap().contains(&name) {
                    self.end_container(&name, 128 + signal);
                }
            }
            ShimRequest::Status
            | ShimRequest::Stats
            | ShimRequest::Watch
            | ShimRequest::Volume(_)
            | ShimRequest::Exec { .. }
            | ShimRequest::Attach { .. }
            | ShimRequest::Forward { .. }
            | ShimRequest::Exit => {}
        }
        ShimReply::Done
    }
}

fn nanos() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

fn exit(code: i32, machine_ended: bool) -> ContainerExit {
    let exit = ProcessExit { code, signal: None, out_of_memory: false, unix_nanos: nanos(), message: None };
    ContainerExit { exit, at: nanos(), machine_ended }
}

/// A process that says its command line on standard error, gives back its input in upper case, answers a new terminal
/// size with its numbers, and ends with code 3 when its input ends.
async fn echo(peer: Peer, argv: &[String]) {
    let Peer { mut stream, buffer } = peer;
    assert!(buffer.is_empty(), "nothing comes before the stream was agreed on");
    send_frame(&mut stream, StreamKind::Stderr, argv.join(" ").as_bytes()).await;
    loop {
        let mut header = [0; STREAM_HEADER_LENGTH];
        if stream.read_exact(&mut header).await.is_err() {
            return;
        }
        let (kind, length) = StreamMessage::decode_header(header).unwrap();
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match kind {
            StreamKind::Stdin => send_frame(&mut stream, StreamKind::Stdout, &payload.to_ascii_uppercase()).await,
            StreamKind::Resize => send_frame(&mut stream, StreamKind::Stdout, &payload).await,
            StreamKind::StdinEnd => {
                let exit = ProcessExit { code: 3, signal: None, out_of_memory: false, unix_nanos: 0, message: None };
                send_frame(&mut stream, StreamKind::Exit, &serde_json::to_vec(&exit).unwrap()).await;
                return;
            }
            StreamKind::Stdout | StreamKind::Stderr | StreamKind::Exit => panic!("a client does not send {kind:?}"),
        }
    }
}

async fn send_frame(stream: &mut UnixStream, kind: StreamKind, payload: &[u8]) {
    // The other side may be gone, which is not this side's business.
    let _ = stream.write_all(&StreamMessage { kind, payload: payload.to_vec() }.encode()).await;
}

struct Peer {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Peer {
    async fn welcome(stream: UnixStream) -> Self {
        let mut peer = Self { stream, buffer: Vec::new() };
        let hello: Option<Hello> = peer.receive().await;
        let version = hello.map_or(1, |hello| hello.versions[0]);
        peer.send(&Welcome::Agreed { version, build: "test".into() }).await;
        peer
    }

    async fn receive<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(message) = message::decode(&mut self.buffer).unwrap() {
                return Some(message);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn send<T: Serialize>(&mut self, message: &T) {
        let _ = self.stream.write_all(&message::encode(message).unwrap()).await;
    }
}

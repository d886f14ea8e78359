//! A shim in this process, with directories of its own, and a client for its socket.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)] // Helpers of tests; each test file uses its own part of them.

pub mod liar;
pub mod real;
pub mod volumes;

use orrery_shim::{Config, RunError, run_with};
use orrery_vmm::{Machine, Template};
use orrery_wire::{
    frame::MAX_PAYLOAD,
    guest::{Confinement, ContainerSpec, Identity, ProcessExit, ProcessSpec},
    hello::{Hello, Welcome},
    host::{Admission, MachineSpec, Owner},
    machine::{Acceleration, SHIM_CONFIG_VERSION},
    message,
    shim::{
        ContainerStatus, MachinePhase, MachineStatus, STREAM_HEADER_LENGTH, ShimReply, ShimRequest, StreamKind,
        StreamMessage, VERSIONS,
    },
    volume::{VolumeMount, VolumeRequest, VolumeStep},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::Runtime,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Far beyond what anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(180);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub struct Shim {
    pub directory: tempfile::TempDir,
    pub config: Config,
    pub template: Option<Template>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<Result<(), RunError>>>,
    /// Stands for the shim's process: it takes all of its tasks with it.
    runtime: Option<Runtime>,
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Shim {
    pub async fn start(machine: impl Machine + 'static) -> Self {
        Self::start_with(machine, |_| {}).await
    }

    pub async fn start_with(machine: impl Machine + 'static, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["run", "logs", "state"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("kernel"), "k").unwrap();
        std::fs::write(path("initrd"), "i").unwrap();
        let mut config = config(directory.path());
        change(&mut config);
        let mut shim =
            Self { directory, config, template: None, shutdown: CancellationToken::new(), task: None, runtime: None };
        shim.begin(machine).await;
        shim
    }

    async fn begin(&mut self, machine: impl Machine + 'static) {
        self.shutdown = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let task = runtime.spawn(run_with(
            Arc::new(machine),
            self.config.clone(),
            self.template.clone(),
            self.shutdown.clone(),
        ));
        self.task = Some(task);
        self.runtime.replace(runtime).into_iter().for_each(Runtime::shutdown_background);
        within("the socket", async {
            while UnixStream::connect(&self.config.admission.shim_socket).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// The shim's process is gone, without a chance to say anything.
    pub async fn crash(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        assert!(self.task.take().unwrap().await.unwrap_err().is_cancelled());
        within("its socket to close", async {
            while UnixStream::connect(&self.config.admission.shim_socket).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub async fn restart(&mut self, machine: impl Machine + 'static) {
        self.begin(machine).await;
    }

    pub async fn stop(&mut self) -> Result<(), RunError> {
        self.shutdown.cancel();
        self.ended().await
    }

    pub async fn ended(&mut self) -> Result<(), RunError> {
        within("the shim's end", self.task.take().unwrap()).await.unwrap()
    }

    pub async fn client(&self) -> Client {
        let mut client = Client::connect(&self.config.admission.shim_socket).await;
        let hello = Hello { versions: VERSIONS.to_vec(), role: "test".into(), build: "0".into() };
        assert!(matches!(client.ask(&hello).await, Welcome::Agreed { version: 1, .. }));
        client
    }

    pub fn log(&self, file: &str) -> String {
        std::fs::read_to_string(self.config.log_directory.join(file)).unwrap()
    }
}

fn config(base: &Path) -> Config {
    let id = "00000000-0000-4000-8000-000000000001".to_owned();
    let owner = Owner::Pod { namespace: "demo".into(), name: "hello".into(), uid: id.clone() };
    let machine = MachineSpec {
        id,
        name: "demo/hello".into(),
        owner,
        pool: "default".into(),
        namespace: "demo".into(),
        vcpus: 1,
        cpu_milli: 100,
        memory_bytes: 192 * 1024 * 1024,
        overhead_bytes: 0,
        disks: Vec::new(),
        scratch_bytes: None,
        interfaces: Vec::new(),
    };
    let admission = Admission {
        shim_socket: base.join("run/shim.sock").to_str().unwrap().to_owned(),
        log_directory: base.join("logs").to_str().unwrap().to_owned(),
        interfaces: Vec::new(),
    };
    Config {
        version: SHIM_CONFIG_VERSION,
        machine,
        admission,
        runtime_directory: base.join("run"),
        log_directory: base.join("logs"),
        state_directory: base.join("state"),
        kernel: base.join("kernel"),
        initrd: base.join("initrd"),
        qemu: "/usr/bin/qemu-system-x86_64".into(),
        accelerator: Acceleration::Tcg,
        uid: 64_001,
        gid: 64_001,
        cgroups: Vec::new(),
    }
}

pub struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(socket: &str) -> Self {
        Self { stream: UnixStream::connect(socket).await.unwrap(), buffer: Vec::new() }
    }

    pub async fn send<T: Serialize>(&mut self, message: &T) {
        self.stream.write_all(&message::encode(message).unwrap()).await.unwrap();
    }

    pub async fn receive<T: DeserializeOwned>(&mut self) -> T {
        within("a message", async {
            loop {
                if let Some(message) = message::decode(&mut self.buffer).unwrap() {
                    return message;
                }
                assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the shim closed the connection");
            }
        })
        .await
    }

    pub async fn ask<T: Serialize, R: DeserializeOwned>(&mut self, message: &T) -> R {
        self.send(message).await;
        self.receive().await
    }

    pub async fn request(&mut self, request: ShimRequest) -> ShimReply {
        self.ask(&request).await
    }

    pub async fn done(&mut self, request: ShimRequest) {
        let reply = self.request(request.clone()).await;
        assert_eq!(reply, ShimReply::Done, "{request:?}");
    }

    pub async fn refused(&mut self, request: ShimRequest) -> (String, String) {
        match self.request(request).await {
            ShimReply::Failed { reason, message } => (reason, message),
            other => panic!("it was not refused but {other:?}"),
        }
    }

    pub async fn status(&mut self) -> MachineStatus {
        match self.request(ShimRequest::Status).await {
            ShimReply::Status(status) => *status,
            other => panic!("no status but {other:?}"),
        }
    }

    pub async fn power_on(&mut self) {
        self.done(ShimRequest::PowerOn { identity: Box::new(identity()) }).await;
    }

    /// Turns the connection into a stream.
    pub async fn stream(mut self, request: ShimRequest) -> Stream {
        assert_eq!(self.request(request).await, ShimReply::Streaming);
        self.streaming()
    }

    /// The stream that the connection has turned into.
    pub fn streaming(self) -> Stream {
        Stream(self)
    }
}

/// Statuses as they are published.
pub struct Watch(Client);

impl Watch {
    pub async fn start(mut client: Client) -> Self {
        assert_eq!(client.request(ShimRequest::Watch).await, ShimReply::Watching);
        Self(client)
    }

    pub async fn until(&mut self, what: &str, condition: impl Fn(&MachineStatus) -> bool) -> MachineStatus {
        within(what, async {
            loop {
                let status: MachineStatus = self.0.receive().await;
                if condition(&status) {
                    return status;
                }
            }
        })
        .await
    }

    pub async fn until_off(&mut self) -> MachineStatus {
        self.until("the machine to be off", |status| status.phase == MachinePhase::Off && status.boot > 0).await
    }

    pub async fn until_ended(&mut self, name: &str) -> ContainerStatus {
        let ended = |status: &MachineStatus| container(status, name).is_some_and(|status| status.exit.is_some());
        container(&self.until("the container's end", ended).await, name).unwrap()
    }
}

pub fn container(status: &MachineStatus, name: &str) -> Option<ContainerStatus> {
    status.containers.iter().find(|container| container.name == name).cloned()
}

/// A connection to a process.
pub struct Stream(Client);

impl Stream {
    pub async fn send(&mut self, kind: StreamKind, payload: &[u8]) {
        let message = StreamMessage { kind, payload: payload.to_vec() };
        self.0.stream.write_all(&message.encode()).await.unwrap();
    }

    pub async fn next(&mut self) -> Option<StreamMessage> {
        within("a stream message", async {
            loop {
                if let Some(header) = self.0.buffer.first_chunk::<STREAM_HEADER_LENGTH>() {
                    let (kind, length) = StreamMessage::decode_header(*header).unwrap();
                    if self.0.buffer.len() >= STREAM_HEADER_LENGTH + length {
                        let message: Vec<u8> = self.0.buffer.drain(..STREAM_HEADER_LENGTH + length).collect();
                        return Some(StreamMessage { kind, payload: message[STREAM_HEADER_LENGTH..].to_vec() });
                    }
                }
                if self.0.stream.read_buf(&mut self.0.buffer).await.unwrap() == 0 {
                    return None;
                }
            }
        })
        .await
    }

    /// Sends `bytes` to what sends back what it gets, and its end.
    pub async fn echoes(mut self, bytes: &[u8]) {
        let (mut echoed, mut position) = (Vec::new(), 0);
        // A piece at a time: both directions are bounded, so who only writes is stopped.
        while echoed.len() < bytes.len() {
            if position == echoed.len() {
                let piece = &bytes[position..bytes.len().min(position + 50_000)];
                for part in piece.chunks(MAX_PAYLOAD) {
                    self.send(StreamKind::Stdin, part).await;
                }
                position += piece.len();
            }
            echoed.extend(self.next().await.unwrap().payload);
        }
        self.send(StreamKind::StdinEnd, b"").await;
        assert_eq!(self.finish().await.2.code, 0);
        assert!(echoed == bytes, "the bytes came back changed");
    }

    /// Everything until the process ends: standard output, standard error, the end.
    pub async fn finish(mut self) -> (Vec<u8>, Vec<u8>, ProcessExit) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let message = self.next().await.expect("the end of the process comes last");
            match message.kind {
                StreamKind::Stdout => stdout.extend(message.payload),
                StreamKind::Stderr => stderr.extend(message.payload),
                StreamKind::Exit => return (stdout, stderr, serde_json::from_slice(&message.payload).unwrap()),
                kind @ (StreamKind::Stdin | StreamKind::StdinEnd | StreamKind::Resize) => panic!("{kind:?} came back"),
            }
        }
    }
}

pub fn identity() -> Identity {
    Identity {
        hostname: "hello".into(),
        interfaces: Vec::new(),
        disks: None,
        nameservers: Vec::new(),
        search_domains: Vec::new(),
        resolver_options: Vec::new(),
        host_aliases: Vec::new(),
        entropy_hex: "5a".repeat(32),
        unix_nanos: 0,
        most_processes: None,
    }
}

pub fn process(argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec!["PATH=/bin:/usr/bin".into()],
        working_directory: "/".into(),
        user: String::new(),
        supplementary_groups: Vec::new(),
        tty: false,
        stdin: false,
        confinement: Confinement::default(),
    }
}

pub fn start(name: &str, attempt: u32, process: ProcessSpec) -> ShimRequest {
    let spec = ContainerSpec {
        stream: 0,
        name: name.into(),
        image_serial: "image-1".into(),
        writable_bytes: 16 * 1024 * 1024,
        read_only_root: false,
        process,
        memory_limit_bytes: None,
        sysctls: Vec::new(),
        mounts: Vec::new(),
        termination_message_path: None,
        cpu_limit_milli: None,
        cpu_weight: None,
        privileged: false,
        unmasked_proc: false,
        shares_processes: false,
    };
    ShimRequest::StartContainer { spec: Box::new(spec), attempt }
}

pub fn exec(container: &str, process: ProcessSpec) -> ShimRequest {
    ShimRequest::Exec { container: container.into(), process: Box::new(process), bound: false }
}

pub fn with_stdin(mut process: ProcessSpec) -> ProcessSpec {
    process.stdin = true;
    process
}

pub fn volume(name: &str, step: VolumeStep) -> ShimRequest {
    ShimRequest::Volume(VolumeRequest { volume: name.into(), step })
}

pub fn mount(volume: &str, path: &str, sub_path: &str, read_only: bool) -> VolumeMount {
    VolumeMount { volume: volume.into(), path: path.into(), sub_path: sub_path.into(), read_only }
}

/// Lets a container have `mounts`.
pub fn with_mounts(mut request: ShimRequest, mounts: &[VolumeMount]) -> ShimRequest {
    let ShimRequest::StartContainer { spec, .. } = &mut request else { panic!("{request:?} starts no container") };
    spec.mounts = mounts.to_vec();
    request
}

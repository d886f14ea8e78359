//! The whole agent on the real kernel: sockets, taps, control groups and processes, in a network namespace of the
//! test's own. Only the shim is a stand-in: this test program itself, started again as [`fake_shim`].
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a test fails by panicking")]

use orrery_api::names::{HostName, InstanceName};
use orrery_hostd::{
    Capacity, Config, GuestBoot, GuestSize, Hypervisor, RunError, TearDownError, TemplateSettings, WarmSettings, run,
    tear_down,
};
use orrery_vmm::Template;
use orrery_wire::{
    hello::{Hello, Welcome},
    host::{
        Admission, HostReply, HostRequest, InterfaceSpec, MachineSpec, MachineSummary, Owner, POD_SEGMENT, VERSIONS,
        reason,
    },
    machine::{Acceleration, SHIM_PID_FILE, ShimConfig, ShimPid},
    message::{decode, encode},
    shim::{MachinePhase, MachineStatus, ShimReply, ShimRequest},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{BufRead, Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test: what the agent starts instead of a shim. Ends by itself when its configuration is gone.
#[test]
#[ignore = "it is the stand-in for a shim, started by the other tests"]
fn fake_shim() {
    let Some(path) = std::env::args().skip_while(|argument| argument != "--config").nth(1) else {
        orrery_testing::skipped("started without --config");
        return;
    };
    let config: ShimConfig = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    if std::env::args().any(|argument| argument == "--make-template") {
        return make_fake_template(&config, &path);
    }
    if std::env::args().any(|argument| argument == "--warm") {
        wait_for_machine();
    }
    let listener = std::os::unix::net::UnixListener::bind(&config.admission.shim_socket);
    let listener = listener.or_else(|_| {
        fs::remove_file(&config.admission.shim_socket)?;
        std::os::unix::net::UnixListener::bind(&config.admission.shim_socket)
    });
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start_time = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
    let pid = ShimPid { pid: std::process::id(), start_time };
    fs::write(config.runtime_directory.join(SHIM_PID_FILE), serde_json::to_vec(&pid).unwrap()).unwrap();
    std::thread::spawn(move || {
        while Path::new(&path).exists() {
            std::thread::sleep(Duration::from_millis(100));
        }
        std::process::exit(1);
    });
    for stream in listener.unwrap().incoming() {
        std::thread::spawn(move || serve_fake(stream.unwrap()));
    }
}

/// A warm shim waits at its standard input until a machine is assigned to it, and ends with its agent.
fn wait_for_machine() {
    let input = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut agent = std::os::unix::net::UnixStream::from(input);
    agent.write_all(b"ready\n").unwrap();
    let mut line = String::new();
    std::io::BufReader::new(agent).read_line(&mut line).unwrap();
    if line.is_empty() {
        std::process::exit(0);
    }
    serde_json::from_str::<ShimConfig>(&line).unwrap();
}

/// Boots nothing; a machine of several processors takes for ever.
fn make_fake_template(config: &ShimConfig, path: &str) {
    while config.machine.vcpus > 1 && Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let files = std::env::args().skip_while(|argument| argument != "--template").nth(1).unwrap();
    let files: Vec<i32> = files.split(',').map(|number| number.parse().unwrap()).collect();
    let template = Template::inherited([files[0], files[1]]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(template.seal()).unwrap();
}

fn serve_fake(mut stream: std::os::unix::net::UnixStream) {
    fn receive<T: DeserializeOwned>(stream: &mut std::os::unix::net::UnixStream) -> Option<T> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut body).ok()?;
        serde_json::from_slice(&body).ok()
    }
    let Some(Hello { .. }) = receive(&mut stream) else { return };
    stream.write_all(&encode(&Welcome::Agreed { version: 1, build: "fake".into() }).unwrap()).unwrap();
    while let Some(request) = receive::<ShimRequest>(&mut stream) {
        let status = MachineStatus {
            sequence: 1,
            phase: MachinePhase::Off,
            boot: 0,
            booted_at: 0,
            qemu_pid: None,
            last_end: None,
            containers: Vec::new(),
        };
        let ending = request == ShimRequest::Exit;
        let reply = if request == ShimRequest::Status { ShimReply::Status(Box::new(status)) } else { ShimReply::Done };
        stream.write_all(&encode(&reply).unwrap()).unwrap();
        if ending {
            std::process::exit(0);
        }
    }
}

/// Runs `test` on a thread of its own in a new network namespace, with a directory of its own.
fn in_new_namespace<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            orrery_testing::skipped(format!("a network namespace needs root ({error})"));
            return;
        }
        let groups = Path::new("/sys/fs/cgroup");
        if !Path::new("/dev/net/tun").exists()
            || !(groups.join("memory").exists() || groups.join("memory.max").exists())
        {
            orrery_testing::skipped("taps or control groups are missing on this machine");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = directory.path().to_owned();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, test(path)).await.expect("it took too long") });
    });
    thread.join().unwrap();
}

fn config(directory: &Path, instance: &str) -> Config {
    let this = std::env::current_exe().unwrap().display().to_string();
    let arguments = ["fake_shim", "--exact", "--ignored", "--nocapture", "--"];
    Config {
        host: HostName::new("host-1").unwrap(),
        instance: InstanceName::new(format!("{instance}-{}", std::process::id())).unwrap(),
        state_directory: directory.join("state"),
        runtime_directory: directory.join("run"),
        socket: directory.join("run/hostd.sock"),
        machine_range: "10.244.0.0/24".parse().unwrap(),
        bridge: "orr0".parse().unwrap(),
        management_address: "127.0.0.1".parse().unwrap(),
        kubelet_port: 10250,
        shim_command: std::iter::once(this).chain(arguments.map(str::to_owned)).collect(),
        guest: GuestBoot { kernel: "/boot/k".into(), initrd: "/boot/i".into() },
        hypervisor: Hypervisor {
            qemu: "/usr/bin/qemu-system-x86_64".into(),
            version: "7.2.22".into(),
            accelerator: Acceleration::Tcg,
        },
        capacity: Capacity { cpu_milli: 2000, memory_bytes: 1 << 30, machine_slots: 8 },
        uid_base: 61_000,
        templates: None,
        cgroup_root: "/sys/fs/cgroup".into(),
        manager: None,
    }
}

struct Agent {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
    client: UnixStream,
    buffer: Vec<u8>,
}

impl Agent {
    async fn start(config: &Config) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(config.clone(), shutdown.clone()));
        let client = loop {
            match UnixStream::connect(&config.socket).await {
                Ok(client) => break client,
                Err(_) if !task.is_finished() => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(_) => panic!("the agent ended: {:?}", task.await),
            }
        };
        let mut agent = Self { shutdown, task, client, buffer: Vec::new() };
        let hello = Hello { versions: VERSIONS.to_vec(), role: "test".into(), build: "0".into() };
        assert!(matches!(agent.call(&hello).await, Welcome::Agreed { version: 1, .. }));
        agent
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(&mut self, request: &Q) -> A {
        self.client.write_all(&encode(request).unwrap()).await.unwrap();
        loop {
            if let Some(answer) = decode(&mut self.buffer).unwrap() {
                return answer;
            }
            assert!(self.client.read_buf(&mut self.buffer).await.unwrap() > 0, "the agent closed the connection");
        }
    }

    async fn admit(&mut self, spec: &MachineSpec) -> Admission {
        match self.call(&HostRequest::Admit(Box::new(spec.clone()))).await {
            HostReply::Admitted(admission) => admission,
            other => panic!("{other:?}"),
        }
    }

    async fn list(&mut self) -> Vec<MachineSummary> {
        match self.call(&HostRequest::List).await {
            HostReply::Machines(machines) => machines,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn spec(number: u128, memory_bytes: u64) -> MachineSpec {
    let uid = uuid::Uuid::from_u128(number).to_string();
    MachineSpec {
        id: uid.clone(),
        name: format!("demo/pod-{number}"),
        owner: Owner::Pod { namespace: "demo".into(), name: format!("pod-{number}"), uid },
        pool: "demo".into(),
        namespace: "demo".into(),
        vcpus: 1,
        cpu_milli: 250,
        memory_bytes,
        overhead_bytes: 32 << 20,
        disks: Vec::new(),
        scratch_bytes: None,
        interfaces: vec![InterfaceSpec { segment: POD_SEGMENT.into(), address: None }],
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn groups(config: &Config) -> Vec<PathBuf> {
    let name = format!("orrery-{}", config.instance);
    ["", "cpu", "memory", "pids"]
        .iter()
        .map(|top| config.cgroup_root.join(top).join(&name))
        .filter(|p| p.exists())
        .collect()
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn machines_outlive_the_agent_and_are_adopted_and_a_release_leaves_nothing() {
    in_new_namespace(|directory| async move {
        let config = config(&directory, "life");
        let mut agent = Agent::start(&config).await;
        let admission = agent.admit(&spec(1, 128 << 20)).await;
        assert_eq!(agent.admit(&spec(1, 128 << 20)).await, admission, "the same again changes nothing");
        assert_eq!(admission.interfaces[0].address, "10.244.0.2/24");
        assert_eq!(admission.interfaces[0].gateway, "10.244.0.1");
        let tap = admission.interfaces[0].tap.clone();
        assert!(ip(&format!("-d link show dev {tap}")).contains("master orr0"));
        assert!(!groups(&config).is_empty());
        let before = agent.list().await;
        assert_eq!((before.len(), before[0].phase), (1, Some(MachinePhase::Off)));
        let shim = before[0].shim_pid.expect("the shim runs");
        match agent.call(&HostRequest::Admit(Box::new(spec(2, 2 << 30)))).await {
            HostReply::Refused { reason, .. } => assert_eq!(reason, reason::OUT_OF_MEMORY),
            other => panic!("{other:?}"),
        }
        assert!(matches!(tear_down(config.clone()).await, Err(TearDownError::StillRunning(_))));
        let second = run(config.clone(), CancellationToken::new()).await;
        assert!(matches!(second, Err(RunError::AlreadyRunning(_))), "{second:?}");
        agent.stop().await;

        // The machine's shim did not notice; the next agent finds it.
        let mut agent = Agent::start(&config).await;
        assert_eq!(agent.list().await[0].shim_pid, Some(shim));
        assert_eq!(agent.admit(&spec(1, 128 << 20)).await, admission);

        kill(shim);
        let respawned = loop {
            match agent.list().await[0].shim_pid {
                Some(pid) if pid != shim => break pid,
                Some(_) | None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        let id = spec(1, 0).id;
        assert!(matches!(agent.call(&HostRequest::Release { id: id.clone() }).await, HostReply::Released));
        assert!(matches!(agent.call(&HostRequest::Release { id: id.clone() }).await, HostReply::Released));
        assert!(agent.list().await.is_empty());
        assert!(!ip("link show").contains(&tap));
        assert!(groups(&config).is_empty());
        assert!(!config.state_directory.join("machines").join(&id).exists());
        assert!(!config.runtime_directory.join("m").join(&id).exists());
        assert!(fs::read(format!("/proc/{respawned}/cmdline")).map_or(true, |line| line.is_empty()));
        agent.stop().await;
        tear_down(config).await.unwrap();
    });
}

#[test]
fn what_was_torn_down_comes_back_as_it_was() {
    in_new_namespace(|directory| async move {
        let config = config(&directory, "down");
        let mut agent = Agent::start(&config).await;
        agent.admit(&spec(1, 64 << 20)).await;
        let kept = agent.admit(&spec(2, 64 << 20)).await;
        agent.call::<_, HostReply>(&HostRequest::Release { id: spec(1, 0).id }).await;
        let shim = agent.list().await[0].shim_pid.unwrap();
        agent.stop().await;

        for _ in 0..2 {
            tear_down(config.clone()).await.unwrap();
        }
        assert!(fs::read(format!("/proc/{shim}/cmdline")).map_or(true, |line| line.is_empty()));
        assert_eq!(ip("route show table main"), "");
        assert!(!ip("link show").contains("orr0") && !ip("link show").contains(&kept.interfaces[0].tap));
        assert!(groups(&config).is_empty() && !config.runtime_directory.exists());

        let mut agent = Agent::start(&config).await;
        let machines = agent.list().await;
        assert_eq!(machines.len(), 1);
        assert_eq!((&machines[0].admission, machines[0].phase), (&kept, Some(MachinePhase::Off)));
        assert_eq!(agent.admit(&spec(3, 64 << 20)).await.interfaces[0].address, "10.244.0.4/24");
        agent.stop().await;
        tear_down(config).await.unwrap();
    });
}

#[test]
fn a_crash_leaves_things_that_the_next_start_removes() {
    in_new_namespace(|directory| async move {
        let config = config(&directory, "crash");
        let mut agent = Agent::start(&config).await;
        let lost = agent.admit(&spec(1, 64 << 20)).await;
        let shim = agent.list().await[0].shim_pid.unwrap();
        agent.task.abort();
        let _ = agent.task.await;
        // As if the intent had never reached the disk.
        fs::remove_dir_all(config.state_directory.join("machines").join(spec(1, 0).id)).unwrap();
        let mut agent = Agent::start(&config).await;
        assert!(agent.list().await.is_empty());
        assert!(!ip("link show").contains(&lost.interfaces[0].tap));
        assert!(groups(&config).is_empty());
        assert!(fs::read(format!("/proc/{shim}/cmdline")).map_or(true, |line| line.is_empty()));
        agent.stop().await;
        tear_down(config).await.unwrap();
    });
}

/// What the process was started with; nothing when it has ended.
fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split_terminator('\0').map(str::to_owned).collect()
}

/// The processes that make templates for this host.
fn makers(config: &Config) -> Vec<u32> {
    shims_with(config, "--make-template")
}

fn shims_with(config: &Config, word: &str) -> Vec<u32> {
    let machines = config.state_directory.join("machines").display().to_string();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let arguments = arguments(*pid);
        arguments.iter().any(|argument| argument == word) && arguments.iter().any(|word| word.starts_with(&machines))
    })
    .collect()
}

#[test]
fn templates_are_made_ahead_and_given_to_shims_and_a_crash_leaves_nothing_of_their_makers() {
    in_new_namespace(|directory| async move {
        let mut config = config(&directory, "templates");
        for (name, path) in [("kernel", &mut config.guest.kernel), ("initrd", &mut config.guest.initrd)] {
            *path = directory.join(name);
            fs::write(path, name).unwrap();
        }
        let size = GuestSize { memory_bytes: 64 << 20, vcpus: 1 };
        let (ahead, max_age) = (vec![("demo".to_owned(), size)], Duration::from_secs(3600));
        config.templates = Some(TemplateSettings { ahead, most: 2, max_age, warm: None });
        let mut agent = Agent::start(&config).await;
        // The first machines may be faster than the template.
        let mut number = 0;
        let (shim, words) = loop {
            number += 1;
            agent.admit(&spec(number, 64 << 20)).await;
            let shim = agent.list().await[0].shim_pid.unwrap();
            let words = arguments(shim);
            if words.iter().any(|word| word == "--template") {
                break (shim, words);
            }
            agent.call::<_, HostReply>(&HostRequest::Release { id: spec(number, 0).id }).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(!words.iter().any(|word| word == "--make-template"), "{words:?}");
        let open = fs::read_dir(format!("/proc/{shim}/fd")).unwrap();
        let open: Vec<PathBuf> = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect();
        let held = |name: &str| open.iter().any(|file| file.to_string_lossy().contains(name));
        assert!(held("orrery-template-memory") && held("orrery-template-state"), "{open:?}");

        // A size that nobody had, whose template is never there: the machine does not wait for it.
        let two = MachineSpec { vcpus: 2, ..spec(1000, 64 << 20) };
        agent.admit(&two).await;
        while makers(&config).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let maker = makers(&config)[0];
        agent.task.abort();
        let _ = agent.task.await;
        config.templates = None;
        let mut agent = Agent::start(&config).await;
        assert_eq!(agent.list().await.len(), 2);
        assert!(arguments(maker).is_empty(), "the maker still runs");
        let left = fs::read_dir(config.state_directory.join("machines")).unwrap().count();
        assert_eq!(left, 2, "only the machines have directories");
        for id in [spec(number, 0).id, two.id] {
            agent.call::<_, HostReply>(&HostRequest::Release { id }).await;
        }
        assert!(groups(&config).is_empty());
        agent.stop().await;
        tear_down(config).await.unwrap();
    });
}

/// The processes that wait for a machine on this host.
fn warm_shims(config: &Config) -> Vec<u32> {
    shims_with(config, "--warm")
}

#[test]
fn machines_are_warmed_up_and_claimed_and_end_with_their_agent_when_nobody_claims_them() {
    in_new_namespace(|directory| async move {
        let mut config = config(&directory, "warm");
        for (name, path) in [("kernel", &mut config.guest.kernel), ("initrd", &mut config.guest.initrd)] {
            *path = directory.join(name);
            fs::write(path, name).unwrap();
        }
        let size = GuestSize { memory_bytes: 64 << 20, vcpus: 1 };
        let warm = Some(WarmSettings { most: 1, memory_bytes: 1 << 40, rehearsal: "/rehearsal".into() });
        let (ahead, max_age) = (vec![("demo".to_owned(), size)], Duration::from_secs(3600));
        config.templates = Some(TemplateSettings { ahead, most: 2, max_age, warm });
        let mut agent = Agent::start(&config).await;
        // The first machines may be faster than the first warm one.
        let mut number = 0;
        let pid = loop {
            number += 1;
            agent.admit(&spec(number, 64 << 20)).await;
            let pid = agent.list().await[0].shim_pid.unwrap();
            if arguments(pid).iter().any(|word| word == "--warm") {
                break pid;
            }
            agent.call::<_, HostReply>(&HostRequest::Release { id: spec(number, 0).id }).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let machine = agent.list().await.remove(0);
        assert_eq!(machine.spec.id, spec(number, 0).id);
        // Another takes its place, of which nobody is told.
        let other = loop {
            if let Some(other) = warm_shims(&config).into_iter().find(|warm| *warm != pid) {
                break other;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(agent.list().await.len(), 1);
        agent.task.abort();
        let _ = agent.task.await;
        let mut agent = Agent::start(&config).await;
        let adopted = agent.list().await;
        assert_eq!((adopted.len(), adopted[0].shim_pid), (1, Some(pid)), "the machine goes on");
        assert_eq!(adopted[0].admission, machine.admission);
        assert!(arguments(other).is_empty(), "nobody's machine still runs");
        config.templates = None;
        agent.call::<_, HostReply>(&HostRequest::Release { id: spec(number, 0).id }).await;
        agent.stop().await;
        let agent = Agent::start(&config).await;
        assert!(groups(&config).is_empty());
        assert_eq!(fs::read_dir(config.state_directory.join("machines")).unwrap().count(), 0);
        agent.stop().await;
        tear_down(config).await.unwrap();
    });
}

#[test]
fn a_range_that_is_in_use_stops_the_start_and_names_the_user() {
    in_new_namespace(|directory| async move {
        let config = config(&directory, "range");
        ip("link add other type bridge");
        ip("addr add 10.244.0.9/16 dev other");
        let error = run(config.clone(), CancellationToken::new()).await.unwrap_err().to_string();
        assert!(error.contains("10.244.0.0/24 is in use by address 10.244.0.9/16 on dev other"), "{error}");
        let mut wrong = config;
        wrong.shim_command.clear();
        wrong.uid_base = 0;
        let error = run(wrong, CancellationToken::new()).await.unwrap_err().to_string();
        assert!(error.contains("command is empty") && error.contains("1000"), "all mistakes are told: {error}");
    });
}

//! Machines that are warm before they are anybody's: simulated ones, and real guests, which need what `real_guest.rs` needs.
#![allow(clippy::unwrap_used)] // Helpers of tests, outside of test functions.

mod harness;

use harness::{
    Client, Shim, Watch, process,
    real::{QEMU, rehearsal_image, shim},
    start, within,
};
use orrery_shim::{Config, RunError, make_template, run_warm};
use orrery_vmm::{
    Disk, FreezeError, Guest, InsertError, LaunchError, LaunchSpec, Machine, MachineExit, Qemu, QuitError, Running,
    Simulated, Template,
};
use orrery_wire::{
    host::DiskSpec,
    machine::WARM_READY,
    shim::{MachinePhase, ShimRequest},
};
use std::sync::Arc;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// A warm shim in the place of `shim`, and its agent's end of the socket.
struct Warm {
    task: JoinHandle<Result<(), RunError>>,
    agent: BufReader<UnixStream>,
}

impl Warm {
    async fn begin<M: Machine + 'static>(shim: &mut Shim, machine: fn() -> M, rehearsal: DiskSpec) -> Self {
        let template = Template::create(shim.config.machine.memory_bytes).unwrap();
        make_template(Arc::new(machine()), &shim.config, &template).await.unwrap();
        shim.crash().await;
        let mut config = shim.config.clone();
        config.machine.disks = vec![rehearsal];
        config.machine.scratch_bytes = None;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let task = tokio::spawn(run_warm(Arc::new(machine()), config, template, theirs, CancellationToken::new()));
        Self { task, agent: BufReader::new(ours) }
    }

    async fn ready(&mut self) {
        let mut line = String::new();
        within("the rehearsal", self.agent.read_line(&mut line)).await.unwrap();
        assert_eq!(line.trim_end(), WARM_READY);
    }

    async fn assign(&mut self, config: &Config) {
        let line = format!("{}\n", serde_json::to_string(config).unwrap());
        self.agent.write_all(line.as_bytes()).await.unwrap();
    }

    /// The agent goes away, and the shim has to end by itself.
    async fn abandon(self) -> Result<(), RunError> {
        drop(self.agent);
        within("the shim's end", self.task).await.unwrap()
    }
}

fn disk(path: &str, serial: &str) -> DiskSpec {
    DiskSpec { path: path.into(), serial: serial.into(), read_only: true }
}

async fn power_on(shim: &Shim) -> Client {
    let mut client = shim.client().await;
    client.done(ShimRequest::PowerOn { identity: Box::new(harness::identity()) }).await;
    client
}

/// A simulated machine with one disk that is there.
async fn simulated() -> (Shim, DiskSpec) {
    let shim = Shim::start_with(Simulated::default(), |config| {
        let path = config.state_directory.join("image").display().to_string();
        std::fs::write(&path, "image").unwrap();
        config.machine.disks.push(disk(&path, "image-1"));
    })
    .await;
    let rehearsal = shim.config.machine.disks[0].clone();
    (shim, rehearsal)
}

#[tokio::test]
async fn a_warm_machine_becomes_the_one_that_it_is_assigned() {
    let (mut shim, rehearsal) = simulated().await;
    let mut warm = Warm::begin(&mut shim, Simulated::default, rehearsal).await;
    warm.ready().await;
    assert_eq!(std::fs::read_dir(&shim.config.log_directory).unwrap().count(), 0, "the rehearsal left a log");
    shim.config.machine.name = "demo/assigned".into();
    warm.assign(&shim.config).await;
    let mut client = power_on(&shim).await;
    client.done(start("hello", 0, process(&["echo", "hello"]))).await;
    let mut watch = Watch::start(shim.client().await).await;
    watch.until_ended("hello").await;
    assert!(shim.log("hello/0.log").contains("stdout F hello"));
    let status = client.status().await;
    assert_eq!((status.phase, status.boot), (MachinePhase::Running, 1));
    // The agent has no hold on it any more.
    drop(warm.agent);
    client.done(ShimRequest::PowerOff { grace_seconds: 1 }).await;
    // The next boot is like any other.
    client.done(ShimRequest::PowerOn { identity: Box::new(harness::identity()) }).await;
    assert_eq!(client.status().await.boot, 2);
    client.done(ShimRequest::PowerOff { grace_seconds: 1 }).await;
    client.done(ShimRequest::Exit).await;
    within("the shim's end", warm.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_warm_machine_ends_with_its_agent() {
    let (mut shim, rehearsal) = simulated().await;
    let mut warm = Warm::begin(&mut shim, Simulated::default, rehearsal).await;
    warm.ready().await;
    warm.abandon().await.unwrap();
    assert_eq!(std::fs::read_dir(&shim.config.runtime_directory).unwrap().count(), 0, "socket and pid file are there");
}

#[tokio::test]
async fn a_warm_machine_is_not_believed_what_makes_no_sense() {
    for words in ["{}\n".to_owned(), "\n".to_owned(), r#"{"version": 99"#.to_owned()] {
        let (mut shim, rehearsal) = simulated().await;
        let mut warm = Warm::begin(&mut shim, Simulated::default, rehearsal).await;
        warm.ready().await;
        warm.agent.write_all(words.as_bytes()).await.unwrap();
        let error = warm.abandon().await.unwrap_err();
        assert!(matches!(error, RunError::Warm(_)), "{words}: {error}");
    }
}

/// Its guests take no disk once they run.
struct Stubborn;

#[async_trait::async_trait]
impl Machine for Stubborn {
    async fn launch(&self, spec: LaunchSpec) -> Result<Running, LaunchError> {
        let Running { control, guest } = Simulated::default().launch(spec).await?;
        Ok(Running { control, guest: Arc::new(Deaf(guest)) })
    }
}

struct Deaf(Arc<dyn Guest>);

#[async_trait::async_trait]
impl Guest for Deaf {
    fn pid(&self) -> Option<u32> {
        self.0.pid()
    }
    async fn wait(&self) -> MachineExit {
        self.0.wait().await
    }
    async fn freeze(&self, template: &Template) -> Result<(), FreezeError> {
        self.0.freeze(template).await
    }
    async fn insert(&self, disk: &Disk) -> Result<(), InsertError> {
        Err(InsertError::OpenFile { path: disk.path.clone(), source: std::io::ErrorKind::Other.into() })
    }
    async fn quit(&self) -> Result<(), QuitError> {
        self.0.quit().await
    }
    fn kill(&self) {
        self.0.kill();
    }
}

#[tokio::test]
async fn a_machine_whose_disk_a_warm_one_does_not_take_goes_on_from_the_template() {
    let (mut shim, rehearsal) = simulated().await;
    let mut warm = Warm::begin(&mut shim, || Stubborn, rehearsal).await;
    warm.ready().await;
    warm.assign(&shim.config).await;
    let mut client = power_on(&shim).await;
    let status = client.status().await;
    assert_eq!((status.phase, status.boot), (MachinePhase::Running, 1));
    client.done(ShimRequest::PowerOff { grace_seconds: 1 }).await;
    client.done(ShimRequest::Exit).await;
    within("the shim's end", warm.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_disk_that_is_missing_is_named_by_a_warm_machine_as_by_any_other() {
    let (mut shim, rehearsal) = simulated().await;
    let mut warm = Warm::begin(&mut shim, Simulated::default, rehearsal).await;
    warm.ready().await;
    shim.config.machine.disks = vec![disk("/no/such/image", "image-1")];
    warm.assign(&shim.config).await;
    let power_on = ShimRequest::PowerOn { identity: Box::new(harness::identity()) };
    let (_, message) = shim.client().await.refused(power_on).await;
    assert!(message.contains("/no/such/image"), "{message}");
    warm.task.abort();
}

#[tokio::test]
async fn a_real_warm_machine_runs_a_container_at_once_and_has_nothing_of_its_rehearsal() {
    let Some(mut shim) = shim(|_| {}).await else { return };
    let rehearsal = tokio::task::spawn_blocking(rehearsal_image).await.unwrap();
    let qemu = || Qemu::new(QEMU.into());
    let mut warm = Warm::begin(&mut shim, qemu, disk(rehearsal.to_str().unwrap(), "warm")).await;
    warm.ready().await;
    warm.assign(&shim.config).await;
    let mut client = power_on(&shim).await;
    let script = "cat /etc/hostname; hostname; ls /; grep -c . /proc/net/dev; mount | grep -c run/images";
    let mut watch = Watch::start(shim.client().await).await;
    client.done(start("look", 0, process(&["sh", "-c", script]))).await;
    let end = watch.until_ended("look").await.exit.unwrap();
    let log = shim.log("look/0.log");
    assert_eq!(end.exit.code, 0, "{log}");
    assert!(!log.contains("rehearsal") && !log.contains("crx-init"), "{log}");
    let hostname = harness::identity().hostname;
    assert_eq!(log.matches(&format!("stdout F {hostname}\n")).count(), 2, "{log}");
    client.done(ShimRequest::PowerOff { grace_seconds: 5 }).await;
    client.done(ShimRequest::Exit).await;
    within("the shim's end", warm.task).await.unwrap().unwrap();
}

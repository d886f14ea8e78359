//! A machine that is ready before it is anybody's.
//!
//! ```text
//!   clone -> identity -> a container -> identity taken back -> "ready" -> waits --configuration--> serves its machine
//!                                                                |
//!                                                                +--the agent goes--> ends
//! ```
//! The rehearsal goes all the way that a pod will go. Under emulation that is what makes the pod fast: the guest's code is
//! translated by then. No tenant's program ran in it, and it had no disk but the rehearsal's.
//!
//! It hangs on its agent by one socket, its standard input. What is not assigned when the agent goes, ends: the next agent
//! knows nothing of it.

use crate::{
    clock,
    container::{self, Attempt, Reporter},
    driver::{EventKind, boot_patience},
    failure::Failure,
    launch,
    link::{Link, LinkEnd, QUICK, bring_up},
};
use orrery_vmm::{Disk, Guest, InsertError, LaunchError, Machine, Running, Template};
use orrery_wire::{
    guest::{Confinement, ContainerSpec, GuestInterface, GuestRequest, Identity, ProcessSpec},
    machine::{SHIM_CONFIG_VERSION, ShimConfig, WARM_READY},
    volume::{FilePiece, VolumeMount, VolumeRequest, VolumeStep},
};
use std::{fs, io, path::Path, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::{mpsc, oneshot},
};

/// What the rehearsal's container is called.
const REHEARSAL: &str = "rehearsal";
/// The program in the rehearsal's image; it says what it is, and ends.
const PROGRAM: [&str; 2] = ["/crx-init", "--version"];
/// Room for the rehearsal's container to write to.
const WRITABLE_BYTES: u64 = 1024 * 1024;

/// Why there is no warm machine.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// Nothing to go on from, or to rehearse with.
    #[error("a warm machine needs a template, and one disk with {PROGRAM:?} in it")]
    Incomplete,
    /// The guest was not started.
    #[error("the warm machine was not started")]
    Launch(#[source] LaunchError),
    /// The guest does not do as it should.
    #[error("the warm machine does not get through its rehearsal: {0}")]
    Rehearsal(String),
    /// The guest ended while it waited.
    #[error("the warm machine ended by itself: {0}")]
    Ended(String),
    /// The agent's side of the socket made no sense.
    #[error("the warm machine's agent cannot be understood")]
    Agent(#[source] io::Error),
    /// QEMU cannot be put into the machine's control groups.
    #[error("QEMU cannot be moved to {path}")]
    Group {
        /// The control group.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A guest and the conversation with it.
pub(crate) struct Linked {
    pub(crate) guest: Arc<dyn Guest>,
    pub(crate) link: Link,
    pub(crate) link_end: oneshot::Receiver<LinkEnd>,
}

impl From<Running> for Linked {
    fn from(running: Running) -> Self {
        let (link, link_end) = Link::start(running.control);
        Self { guest: running.guest, link, link_end }
    }
}

impl Linked {
    /// Puts the disks into their slots.
    pub(crate) async fn equip(&self, disks: &[Disk]) -> Result<(), InsertError> {
        for disk in disks {
            self.guest.insert(disk).await?;
        }
        Ok(())
    }

    /// Ends the guest at once.
    pub(crate) async fn end(self) {
        self.guest.kill();
        self.guest.wait().await;
    }
}

/// Starts a machine as `config` says and rehearses. The disk of `config` is the rehearsal's.
pub(crate) async fn prepare(
    machine: &dyn Machine,
    config: &ShimConfig,
    template: &Template,
) -> Result<Linked, WarmError> {
    let spec = launch::spec(config, Some(template));
    let disk = config.machine.disks.first().ok_or(WarmError::Incomplete)?;
    let container = container(&disk.serial);
    let identity = Identity { disks: Some(launch::guest_disks(&spec)), ..identity(config).map_err(WarmError::Agent)? };
    let linked = Linked::from(machine.launch(spec).await.map_err(WarmError::Launch)?);
    let rehearsal = rehearse(&linked.link, identity, container, &config.state_directory);
    let rehearsed = tokio::time::timeout(boot_patience(config.accelerator), rehearsal).await;
    match rehearsed.unwrap_or_else(|_elapsed| Err("it takes too long".to_owned())) {
        Ok(()) => Ok(linked),
        Err(why) => {
            linked.end().await;
            Err(WarmError::Rehearsal(why))
        }
    }
}

async fn rehearse(link: &Link, identity: Identity, spec: ContainerSpec, logs: &Path) -> Result<(), String> {
    let said = |failure: Failure| failure.message;
    bring_up(link, identity).await.map_err(said)?;
    for step in volume_steps() {
        let request = VolumeRequest { volume: REHEARSAL.to_owned(), step };
        link.request(GuestRequest::Volume(request), QUICK).await.map_err(said)?;
    }
    run_container(link.clone(), spec, logs).await?;
    link.request(GuestRequest::Reset, QUICK).await.map_err(said)?;
    fs::remove_dir_all(logs.join(REHEARSAL)).map_err(|error| format!("its log stays: {error}"))
}

/// As of a service account's token, which most pods have.
fn volume_steps() -> [VolumeStep; 2] {
    let (path, data) = (REHEARSAL.to_owned(), REHEARSAL.into());
    let piece = FilePiece { path, mode: 0o644, user: 0, group: 0, data };
    [VolumeStep::Stage { first: true, pieces: vec![piece] }, VolumeStep::Publish]
}

/// Runs the container as any other, to its end.
async fn run_container(link: Link, spec: ContainerSpec, logs: &Path) -> Result<(), String> {
    // Room for all that is told of one attempt.
    let (events, mut happened) = mpsc::channel(4);
    let reporter = Reporter { boot: 0, events };
    container::run(Attempt { spec, attempt: 0, log_directory: logs.to_owned(), link, reporter }).await;
    let mut outcome = Err("its container told nothing of its end".to_owned());
    while let Ok(event) = happened.try_recv() {
        match event.kind {
            EventKind::ContainerEnded { exit, .. } if exit.code == 0 => outcome = Ok(()),
            EventKind::ContainerEnded { exit, .. } => outcome = Err(format!("its container ended with {}", exit.code)),
            EventKind::StartFailed { failure, .. } => outcome = Err(failure.message),
            EventKind::GuestFailed(text) => outcome = Err(text),
            EventKind::Started { .. } | EventKind::GuestReady | EventKind::LinkEnded | EventKind::MachineEnded(_) => {}
        }
    }
    outcome
}

/// Says that the machine is ready and waits to be told whose it is; none when the agent goes without a word.
pub(crate) async fn assignment(linked: &Linked, agent: UnixStream) -> Result<Option<ShimConfig>, WarmError> {
    let (read, mut write) = agent.into_split();
    write.write_all(format!("{WARM_READY}\n").as_bytes()).await.map_err(WarmError::Agent)?;
    let mut line = String::new();
    let mut read = BufReader::new(read);
    tokio::select! {
        // Not cancel-safe; the other arm ends the shim.
        length = read.read_line(&mut line) => if length.map_err(WarmError::Agent)? == 0 {
            return Ok(None);
        },
        exit = linked.guest.wait() => return Err(WarmError::Ended(exit.to_string())),
    }
    let config: ShimConfig = serde_json::from_str(&line).map_err(|error| WarmError::Agent(error.into()))?;
    if config.version != SHIM_CONFIG_VERSION {
        let text = format!("its configuration is of version {}", config.version);
        return Err(WarmError::Agent(io::Error::new(io::ErrorKind::InvalidData, text)));
    }
    Ok(Some(config))
}

/// Puts QEMU where the machine's limits are.
pub(crate) fn move_to_groups(guest: &dyn Guest, config: &ShimConfig) -> Result<(), WarmError> {
    let Some(pid) = guest.pid() else { return Ok(()) };
    config.cgroups.iter().try_for_each(|path| {
        let moved = fs::write(path.join("cgroup.procs"), pid.to_string());
        moved.map_err(|source| WarmError::Group { path: path.clone(), source })
    })
}

fn identity(config: &ShimConfig) -> io::Result<Identity> {
    let interfaces = config.admission.interfaces.iter().map(|interface| GuestInterface {
        mac: interface.mac.clone(),
        address: interface.address.clone(),
        gateway: Some(interface.gateway.clone()),
        mtu: interface.mtu,
    });
    Ok(Identity {
        hostname: REHEARSAL.to_owned(),
        interfaces: interfaces.collect(),
        disks: None,
        nameservers: Vec::new(),
        search_domains: Vec::new(),
        resolver_options: Vec::new(),
        host_aliases: Vec::new(),
        entropy_hex: entropy()?,
        unix_nanos: clock::now(),
        most_processes: None,
    })
}

fn entropy() -> io::Result<String> {
    let mut bytes = [0; 32];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn container(serial: &str) -> ContainerSpec {
    ContainerSpec {
        stream: 0,
        name: REHEARSAL.to_owned(),
        image_serial: serial.to_owned(),
        writable_bytes: WRITABLE_BYTES,
        read_only_root: false,
        process: ProcessSpec {
            argv: PROGRAM.map(str::to_owned).to_vec(),
            env: Vec::new(),
            working_directory: "/".to_owned(),
            user: String::new(),
            supplementary_groups: Vec::new(),
            tty: false,
            stdin: false,
            confinement: Confinement { filter_system_calls: true, ..Confinement::default() },
        },
        memory_limit_bytes: None,
        sysctls: Vec::new(),
        mounts: vec![VolumeMount {
            volume: REHEARSAL.to_owned(),
            path: "/run/rehearsal".to_owned(),
            sub_path: String::new(),
            read_only: true,
        }],
        termination_message_path: Some("/dev/termination-log".to_owned()),
        cpu_limit_milli: None,
        cpu_weight: None,
        privileged: false,
        unmasked_proc: false,
        shares_processes: false,
    }
}

//! Putting the host agent together, and taking from the host what it made.

use crate::{
    Config,
    cgroup::Groups,
    config::Layout,
    devices::{HostDevices, passable_directory},
    effects::{EffectError, Found, chain},
    host::{Host, Settings, StartError, WarmRules, World},
    manager::{self, Reporter},
    naming::Naming,
    records::{DiskRecords, machine_directories},
    server::{Service, serve},
    shims::HostShims,
    templates::Templates,
};
use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use orrery_api::names::MachineId;
use orrery_network::{Conflict, Network, NetworkError};
use orrery_wire::host::Facts;
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::UnixListener, sync::watch, task::JoinSet, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

/// How often all machines are looked at.
const RECONCILE: Duration = Duration::from_secs(5);

/// Why the host agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration has mistakes; all are listed.
    #[error("the host agent's configuration is wrong: {}", .0.join("; "))]
    Config(Vec<String>),
    /// Another agent of the same host runs.
    #[error("another host agent works in {}; stop it first", .0.display())]
    AlreadyRunning(PathBuf),
    /// A directory, the lock or the socket could not be made.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The range of machine addresses is in use on this host.
    #[error(
        "address range {range} is in use by {}; choose another range for the machines of this host",
        .conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    )]
    RangeInUse {
        /// The range.
        range: Ipv4Net,
        /// What uses it.
        conflicts: Vec<Conflict>,
    },
    /// The bridge could not be made.
    #[error("cannot prepare the machines' network")]
    Network(#[source] NetworkError),
    /// The machines of an earlier run could not be taken over.
    #[error("cannot take over this host's machines: {0}")]
    Machines(String),
}

/// Why not everything could be taken from the host.
#[derive(Debug, thiserror::Error)]
pub enum TearDownError {
    /// The agent still runs and would make everything again.
    #[error("a host agent works in {}; stop it first", .0.display())]
    StillRunning(PathBuf),
    /// The lock could not be looked at.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Some things are left; asking again tries again.
    #[error("not everything could be removed: {}", .0.join("; "))]
    Left(Vec<String>),
}

/// Runs the host agent until `shutdown`. Machines go on running after it.
///
/// # Errors
/// When the agent can't start; once it serves it does not fail.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let mistakes = config.check();
    if !mistakes.is_empty() {
        return Err(RunError::Config(mistakes));
    }
    let layout = config.layout();
    make_directories(&layout)?;
    let _lock = lock(&layout)?;
    let facts = facts(&config)?;
    let network = Arc::new(Network::connect().map_err(RunError::Network)?);
    prepare_network(&network, &config).await?;

    let templates = Templates::new(&config);
    // A start that is broken off here is a crash like any other: the next one goes on.
    let started = tokio::select! {
        started = Host::start(settings(&config), world(&config, &network, templates.clone())) => started,
        () = shutdown.cancelled() => return Ok(()),
    };
    let host = started.map_err(|error: StartError| RunError::Machines(chain(&error)))?;
    let host = Arc::new(host);
    let listener = bind(&config.socket)?;
    info!(host = %config.host, socket = %config.socket.display(), "the host agent serves");

    let mut background = JoinSet::new();
    background.spawn(reconcile(host.clone()));
    let keeper = host.clone();
    background.spawn(async move { keeper.keep_warm().await });
    if let Some(templates) = templates {
        background.spawn(templates.run());
    }
    let (enrolled, enrolment) = watch::channel(None);
    if let Some(link) = config.manager.clone() {
        let (machines, holder) = (host.clone(), host.clone());
        let reporter = Reporter {
            link,
            usage: Arc::new(move || machines.usage()),
            held: Arc::new(move || holder.held()),
            datastore: config.state_directory.clone(),
            name: config.host.clone(),
            facts: facts.clone(),
            kubelet_port: config.kubelet_port,
            directory: layout.identity(),
        };
        background.spawn(manager::report(reporter, enrolled));
    }
    serve(listener, Service { host, facts, enrolment, shutdown, work: TaskTracker::new() }).await;
    background.shutdown().await;
    if let Err(error) = fs::remove_file(&config.socket) {
        warn!(%error, "the socket could not be removed");
    }
    Ok(())
}

/// Powers off all machines and removes what the host agent made on the host, but neither the machines' records nor
/// their files: the next [`run`] makes their taps and groups again and starts their shims. The agent must have ended.
///
/// # Errors
/// When the agent still runs, or when something could not be removed; everything else is removed all the same.
pub async fn tear_down(config: Config) -> Result<(), TearDownError> {
    let layout = config.layout();
    let mut left = Vec::new();
    let _lock = match lock(&layout) {
        Ok(lock) => Some(lock),
        Err(RunError::AlreadyRunning(path)) => return Err(TearDownError::StillRunning(path)),
        // No state directory: no agent ever ran here, yet a lost one may have left something on the host.
        Err(RunError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(RunError::File { path, source, .. }) => return Err(TearDownError::Lock { path, source }),
        Err(error) => return Err(TearDownError::Left(vec![chain(&error)])),
    };
    match Network::connect() {
        Ok(network) => {
            let network = Arc::new(network);
            remove_machines(&world(&config, &network, None), &layout, &mut left).await;
            if let Err(error) = network.delete_bridge(&config.bridge, config.machine_range).await {
                left.push(chain(&error));
            }
        }
        Err(error) => left.push(chain(&error)),
    }
    if left.is_empty() {
        match fs::remove_dir_all(layout.runtime()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                left.push(format!("{}: {error}", layout.runtime().display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    if left.is_empty() { Ok(()) } else { Err(TearDownError::Left(left)) }
}

async fn remove_machines(world: &World, layout: &Layout, left: &mut Vec<String>) {
    let mut note = |result: Result<(), EffectError>| left.extend(result.err().map(|error| chain(&error)));
    let found = world.devices.found().await.unwrap_or_else(|error| {
        note(Err(error));
        Found::default()
    });
    let mut ids: BTreeSet<MachineId> = found.runtimes.into_iter().collect();
    match machine_directories(&layout.machines()) {
        Ok(recorded) => ids.extend(recorded),
        Err(error) => note(Err(error)),
    }
    // All at once: each may take its guest's grace.
    let mut stopping = JoinSet::new();
    for id in &ids {
        let (shims, id) = (world.shims.clone(), *id);
        stopping.spawn(async move { shims.stop(id).await });
    }
    stopping.join_all().await.into_iter().for_each(&mut note);
    for group in &found.groups {
        note(world.devices.remove_group(group).await);
    }
    for tap in &found.taps {
        note(world.devices.remove_tap(tap).await);
    }
    for id in ids {
        note(world.devices.remove_runtime(id).await);
    }
}

async fn reconcile(host: Arc<Host>) {
    let mut ticks = tokio::time::interval(RECONCILE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        host.reconcile().await;
    }
}

fn settings(config: &Config) -> Settings {
    let warm = config.templates.as_ref().and_then(|templates| {
        let warm = templates.warm.clone()?;
        Some(WarmRules {
            always: templates.ahead.clone(),
            most: warm.most,
            memory_bytes: warm.memory_bytes,
            max_age: templates.max_age,
            rehearsal: warm.rehearsal,
        })
    });
    Settings {
        warm,
        capacity: config.capacity,
        range: config.machine_range,
        gateway: config.gateway(),
        naming: Naming::new(&config.instance, &config.host),
        layout: config.layout(),
    }
}

fn world(config: &Config, network: &Arc<Network>, templates: Option<Arc<Templates>>) -> World {
    let devices = HostDevices {
        network: network.clone(),
        bridge: config.bridge.clone(),
        naming: Naming::new(&config.instance, &config.host),
        layout: config.layout(),
        groups: Groups::new(&config.cgroup_root),
        uid_base: config.uid_base,
    };
    World {
        records: Arc::new(DiskRecords::new(config.layout())),
        devices: Arc::new(devices),
        shims: Arc::new(HostShims::new(config, templates)),
    }
}

async fn prepare_network(network: &Network, config: &Config) -> Result<(), RunError> {
    let range = config.machine_range;
    let conflicts = network.range_conflicts(range, &config.bridge).await.map_err(RunError::Network)?;
    if !conflicts.is_empty() {
        return Err(RunError::RangeInUse { range, conflicts });
    }
    let gateway = Ipv4Net::new(config.gateway(), range.prefix_len()).expect("the prefix is that of a network");
    network.ensure_bridge(&config.bridge, gateway).await.map_err(RunError::Network)
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::File { doing, path: path.to_owned(), source }
}

fn make_directories(layout: &Layout) -> Result<(), RunError> {
    for private in [layout.machines(), layout.identity()] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&private).map_err(file_error("make", &private))?;
    }
    for shared in [layout.runtime().to_owned(), layout.runtime_machines()] {
        passable_directory(&shared).map_err(file_error("make", &shared))?;
    }
    Ok(())
}

/// Only one agent works on a host's state. The lock goes with the process, also when it is killed.
fn lock(layout: &Layout) -> Result<Flock<fs::File>, RunError> {
    let path = layout.lock();
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(file_error("open the lock", &path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(RunError::AlreadyRunning(path)),
        Err((_, number)) => Err(file_error("lock", &path)(number.into())),
    }
}

fn bind(socket: &Path) -> Result<UnixListener, RunError> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("replace the socket", socket)(error)),
        Ok(()) | Err(_) => Ok(()),
    }?;
    let listener = UnixListener::bind(socket).map_err(file_error("bind the socket", socket))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).map_err(file_error("protect the socket", socket))?;
    Ok(listener)
}

fn facts(config: &Config) -> Result<Facts, RunError> {
    let kernel = |name: &str| {
        let path = Path::new("/proc/sys/kernel").join(name);
        let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
        Ok::<_, RunError>(text.trim().to_owned())
    };
    Ok(Facts {
        host: config.host.to_string(),
        cpu_milli: config.capacity.cpu_milli,
        memory_bytes: config.capacity.memory_bytes,
        machine_slots: config.capacity.machine_slots,
        accelerator: config.hypervisor.accelerator.as_str().to_owned(),
        qemu_version: config.hypervisor.version.clone(),
        kernel_release: kernel("osrelease")?,
        boot_id: kernel("random/boot_id")?,
        management_address: config.management_address.to_string(),
        machine_range: config.machine_range.to_string(),
    })
}

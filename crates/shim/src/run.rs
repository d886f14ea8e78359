//! The process: record, socket, process id file, driver, and out again.

use crate::{
    clock,
    driver::{Driver, Origin},
    record::{Record, RecordError},
    server,
    warm::{self, Linked, WarmError},
};
use orrery_vmm::{Machine, Qemu, Template};
use orrery_wire::machine::{SHIM_CONFIG_VERSION, SHIM_PID_FILE, ShimConfig, ShimPid};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// Why a shim does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is of another version.
    #[error(
        "the machine's configuration is of version {found}, this build reads {SHIM_CONFIG_VERSION}; run the matching build"
    )]
    ConfigVersion {
        /// The version in the file.
        found: u32,
    },
    /// What earlier shims of the machine left cannot be used.
    #[error("the machine's history cannot be used")]
    Record(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another shim serves the machine.
    #[error("another shim of this machine answers at {0}")]
    AlreadyRunning(PathBuf),
    /// The socket cannot be bound.
    #[error("cannot listen at {path}")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process id cannot be written down.
    #[error("cannot write {path}")]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no warm machine, or it could not become another's.
    #[error("the machine is not warm")]
    Warm(#[from] WarmError),
}

impl From<RecordError> for RunError {
    fn from(error: RecordError) -> Self {
        Self::Record(Box::new(error))
    }
}

/// Serves the machine with QEMU until it is told to end: by a request, or by `shutdown`, which powers the machine off
/// first. The machine goes on from `template` when there is one and it fits, else it boots.
///
/// QEMU dies with the thread that this future is polled on, so poll it on the main thread or on a runtime that lasts.
///
/// # Errors
/// When it cannot begin. Once it serves, nothing makes it end but being told to.
pub async fn run(config: ShimConfig, template: Option<Template>, shutdown: CancellationToken) -> Result<(), RunError> {
    let machine = Arc::new(Qemu::new(config.qemu.clone()));
    run_with(machine, config, template, shutdown).await
}

/// The same with any machine.
///
/// # Errors
/// As for [`run`].
pub async fn run_with(
    machine: Arc<dyn Machine>,
    config: ShimConfig,
    template: Option<Template>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let (listener, files) = begin(&config).await?;
    serve(machine, config, Origin { template, warm: None }, listener, shutdown).await?;
    files.remove();
    Ok(())
}

/// Starts a machine that is nobody's yet, as `config` says and from `template`, and rehearses with the disk of `config`. Says
/// [`WARM_READY`](orrery_wire::machine::WARM_READY) to `agent`, which then sends the configuration of the machine that it becomes: a line of JSON, with the
/// directories, the user and the taps of `config`. From then on it is that machine's shim, as with [`run_with`]. Ends when
/// `agent` closes the connection before.
///
/// # Errors
/// When the guest does not start or does not get through its rehearsal, and as for [`run`].
pub async fn run_warm(
    machine: Arc<dyn Machine>,
    config: ShimConfig,
    template: Template,
    agent: UnixStream,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let (listener, files) = begin(&config).await?;
    let assigned = tokio::select! {
        assigned = wait_warm(machine.as_ref(), &config, &template, agent) => assigned?,
        // What was begun goes with this process.
        () = shutdown.cancelled() => None,
    };
    if let Some((config, linked)) = assigned {
        let origin = Origin { template: Some(template), warm: Some(linked) };
        serve(machine, config, origin, listener, shutdown).await?;
    }
    files.remove();
    Ok(())
}

async fn wait_warm(
    machine: &dyn Machine,
    config: &ShimConfig,
    template: &Template,
    agent: UnixStream,
) -> Result<Option<(ShimConfig, Linked)>, WarmError> {
    let linked = warm::prepare(machine, config, template).await?;
    tracing::info!(machine = config.machine.id, "a machine is warm");
    let Some(config) = warm::assignment(&linked, agent).await? else {
        linked.end().await;
        return Ok(None);
    };
    warm::move_to_groups(linked.guest.as_ref(), &config)?;
    Ok(Some((config, linked)))
}

/// What tells others of this shim, and goes when it ends in order.
struct Files([PathBuf; 2]);

impl Files {
    fn remove(self) {
        for path in &self.0 {
            if let Err(error) = fs::remove_file(path) {
                tracing::debug!(path = %path.display(), %error, "was gone already");
            }
        }
    }
}

/// Listens where the machine's shim does. Nobody else does then.
async fn begin(config: &ShimConfig) -> Result<(UnixListener, Files), RunError> {
    if config.version != SHIM_CONFIG_VERSION {
        return Err(RunError::ConfigVersion { found: config.version });
    }
    let socket = PathBuf::from(&config.admission.shim_socket);
    let pid_file = config.runtime_directory.join(SHIM_PID_FILE);
    let listener = listen(&socket).await?;
    write_pid(&pid_file)?;
    Ok((listener, Files([socket, pid_file])))
}

async fn serve(
    machine: Arc<dyn Machine>,
    config: ShimConfig,
    origin: Origin,
    listener: UnixListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    // Only now: before, another shim may have been writing the same record.
    let record = Record::load(&config.state_directory, clock::now())?;
    let machine_config = &config.machine;
    tracing::info!(machine = machine_config.id, name = machine_config.name, "serving");
    let (driver, handle, queues) = Driver::new(Arc::new(config), machine, origin, record);
    let closing = CancellationToken::new();
    let server = tokio::spawn(server::serve(listener, handle, closing.clone()));
    driver.run(queues, shutdown).await;
    closing.cancel();
    if let Err(error) = server.await {
        tracing::error!(%error, "the server ended badly");
    }
    Ok(())
}

/// Binds the socket, in the place of one that a dead shim left.
async fn listen(socket: &Path) -> Result<UnixListener, RunError> {
    let failed = |source| RunError::Bind { path: socket.to_owned(), source };
    if UnixStream::connect(socket).await.is_ok() {
        return Err(RunError::AlreadyRunning(socket.to_owned()));
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    // Whoever may connect may do anything to the machine.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

fn write_pid(path: &Path) -> Result<(), RunError> {
    let write = || -> io::Result<()> {
        let pid = ShimPid { pid: std::process::id(), start_time: start_time()? };
        let temporary = path.with_extension("pid.new");
        fs::write(&temporary, serde_json::to_vec(&pid)?)?;
        fs::rename(temporary, path)
    };
    write().map_err(|source| RunError::PidFile { path: path.to_owned(), source })
}

/// Field 22 of `/proc/self/stat`. The second field, a name in parentheses, may hold anything.
fn start_time() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    let field = after_name.split_ascii_whitespace().nth(22 - 3).and_then(|field| field.parse().ok());
    field.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat has no start time"))
}

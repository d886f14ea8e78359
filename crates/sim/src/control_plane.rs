//! A private control plane on loopback.
//!
//! ```text
//!   configuration written, port 0 --> process or task started --> it writes its endpoint --> /readyz --> up
//!                                                                                               stop, drop --> removed
//! ```

use orrery_api::names::{InvalidName, SupervisorName};
use orrery_client::{Access, json::JsonClient, kubeconfig};
use orrery_supervisor::{
    AuditOptions, Authorities, AuthoritiesError, ControlPlaneConfig, Rotation, TokenOptions,
    control_plane::{self, CONFIG_VERSION, ConfigError, RunConfig, RunError},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{process::Child, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Name of the Supervisor; it is in a directory of its own and meets no other.
const NAME: &str = "sim";
/// How often a control plane that starts is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long a control plane may take to be ready.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a process may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How long the certificates of administrators and nodes live.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a control plane is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The `orrery` program, when the control plane is to be a process of its own; none for a task of this process.
    pub program: Option<PathBuf>,
    /// Where the store and the keys lie, in a directory of their own that is removed at the end; none for the system's
    /// directory of temporary files. What is measured on a disk must not lie in memory.
    pub parent_directory: Option<PathBuf>,
}

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No directory.
    #[error("cannot make a temporary directory")]
    Directory(#[source] io::Error),
    /// The name is malformed.
    #[error("the name of the Supervisor is malformed")]
    Name(#[from] InvalidName),
    /// The configuration can't be written or read.
    #[error("cannot write or read the configuration of the control plane")]
    Config(#[from] ConfigError),
    /// No keys.
    #[error("cannot make the authorities or credentials of the control plane")]
    Authorities(#[from] AuthoritiesError),
    /// The program can't be started.
    #[error("cannot start {program}; build it with: cargo build --bin orrery")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("the control plane ended before it was ready: {0}")]
    Ended(String),
    /// It is not ready in time.
    #[error("the control plane is not ready after {} s; its log may say why", START_DEADLINE.as_secs())]
    Timeout,
}

/// What runs the control plane.
enum Runner {
    Task { shutdown: CancellationToken, task: JoinHandle<Result<(), RunError>> },
    Process(Box<Child>),
}

impl Runner {
    /// How it ended, when it has.
    async fn ended(&mut self) -> Option<String> {
        match self {
            Self::Task { task, .. } if task.is_finished() => Some(match task.await {
                Ok(Ok(())) => "it was told to".to_owned(),
                Ok(Err(error)) => chain(&error),
                Err(error) => error.to_string(),
            }),
            Self::Task { .. } => None,
            Self::Process(child) => child.try_wait().ok().flatten().map(|status| status.to_string()),
        }
    }
}

/// A private control plane. Dropping it ends it as well, without waiting for what is under way.
pub struct ControlPlane {
    endpoint: String,
    authorities: Arc<Authorities>,
    admin: Access,
    runner: Option<Runner>,
    program: Option<PathBuf>,
    directory: TempDir,
}

impl ControlPlane {
    /// Starts a control plane and waits until its API is ready.
    ///
    /// # Errors
    /// When the directory, the keys or the program can't be had, or it is not ready in time.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("orrery-sim-");
        let directory = match &options.parent_directory {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        };
        let directory = directory.map_err(StartError::Directory)?;
        // The layout is the one that `orrery supervisor` expects below its state directory.
        let own = directory.path().join("supervisors").join(NAME);
        let authorities = Arc::new(Authorities::load_or_create(&own.join("pki"))?);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = format!("https://{listen}");
        let config = ControlPlaneConfig {
            version: CONFIG_VERSION,
            supervisor: NAME.to_owned(),
            listen,
            endpoint,
            advertise: None,
        };
        config.store(&own)?;
        let mut runner = match &options.program {
            Some(program) => Runner::Process(Box::new(spawn(program, directory.path())?)),
            None => task(&own)?,
        };
        let wait = wait_until_ready(&mut runner, &own, &authorities);
        let endpoint = tokio::time::timeout(START_DEADLINE, wait).await.map_err(|_| StartError::Timeout)??;
        let admin = authorities.access(&endpoint, "kubernetes-admin", "system:masters", LIFETIME)?;
        Ok(Self { endpoint, authorities, admin, runner: Some(runner), program: options.program, directory })
    }

    /// Where its API is, such as `https://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// An administrator's access.
    #[must_use]
    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// Who gives access to it as any user; outlives the control plane itself.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        Issuer { endpoint: self.endpoint.clone(), authorities: Arc::clone(&self.authorities) }
    }

    /// Writes an administrator's kubeconfig.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<(), kubeconfig::WriteError> {
        kubeconfig::write(path, &self.admin, NAME, None)
    }

    /// Its directory; gone with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of a control plane that is a process of its own.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        match &self.runner {
            Some(Runner::Process(child)) => child.id(),
            Some(Runner::Task { .. }) | None => None,
        }
    }

    /// Kills the process that it is at once, as `kill -9` does, and starts another on the same state and address. Waits until
    /// that one is ready.
    ///
    /// # Errors
    /// When it is no process of its own, or does not start again.
    pub async fn kill_and_restart(&mut self) -> Result<(), StartError> {
        let Some(Runner::Process(mut child)) = self.runner.take() else {
            return Err(StartError::Ended("it is no process of its own, or was stopped".to_owned()));
        };
        let program = self.program.clone().unwrap_or_default();
        // An error means that it has ended; it is waited for in either case.
        drop(child.start_kill());
        drop(child.wait().await);
        let own = self.directory.path().join("supervisors").join(NAME);
        if let Some(mut config) = ControlPlaneConfig::load(&own)? {
            // Clients go on with the address that they know.
            config.listen = self.endpoint.trim_start_matches("https://").parse().unwrap_or(config.listen);
            config.store(&own)?;
        }
        let mut runner = Runner::Process(Box::new(spawn(&program, self.directory.path())?));
        let ready = tokio::time::timeout(START_DEADLINE, wait_until_ready(&mut runner, &own, &self.authorities)).await;
        self.runner = Some(runner);
        ready.map_err(|_| StartError::Timeout)??;
        Ok(())
    }

    /// Tells the process that it is to end (SIGTERM), and does not wait.
    pub fn terminate(&self) {
        if let Some(Runner::Process(child)) = &self.runner {
            terminate(child);
        }
    }

    /// Ends it in order and removes everything of it.
    ///
    /// # Errors
    /// When it had ended by itself, with why: what was done with it since is worth nothing.
    pub async fn stop(mut self) -> Result<(), StartError> {
        let Some(mut runner) = self.runner.take() else { return Ok(()) };
        if let Some(how) = runner.ended().await {
            return Err(StartError::Ended(how));
        }
        match runner {
            Runner::Task { shutdown, task } => {
                shutdown.cancel();
                match task.await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(StartError::Ended(chain(&error))),
                    Err(error) => Err(StartError::Ended(error.to_string())),
                }
            }
            Runner::Process(mut child) => {
                terminate(&child);
                if tokio::time::timeout(STOP_DEADLINE, child.wait()).await.is_err() {
                    // It is killed when the child is dropped.
                    tracing::warn!("the control plane did not end within {} s", STOP_DEADLINE.as_secs());
                }
                Ok(())
            }
        }
    }
}

/// Gives access to a control plane.
#[derive(Debug, Clone)]
pub struct Issuer {
    endpoint: String,
    authorities: Arc<Authorities>,
}

impl Issuer {
    /// Access as `user` in `group`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn access(&self, user: &str, group: &str) -> Result<Access, StartError> {
        Ok(self.authorities.access(&self.endpoint, user, group, LIFETIME)?)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        match self.runner.take() {
            Some(Runner::Task { shutdown, .. }) => shutdown.cancel(),
            Some(Runner::Process(child)) => terminate(&child),
            None => {}
        }
    }
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid {
        // An error means that it has ended.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
}

fn task(own: &Path) -> Result<Runner, StartError> {
    let config = RunConfig {
        directory: own.to_owned(),
        supervisor: SupervisorName::new(NAME)?,
        // There is no manager: the scheduler decides alone.
        manager_kubeconfig: own.join("manager.kubeconfig"),
        tokens: TokenOptions::default(),
        audit: AuditOptions { log: own.join("audit.log"), policy: None, wait: false, rotation: Rotation::default() },
        grace: Duration::ZERO,
    };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(control_plane::run(config, shutdown.clone()));
    Ok(Runner::Task { shutdown, task })
}

fn spawn(program: &Path, state: &Path) -> Result<Child, StartError> {
    let mut command = tokio::process::Command::new(program);
    command.arg("--state").arg(state).args(["supervisor", "--name", NAME]);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
    spawned.map_err(|source| StartError::Spawn { program: program.display().to_string(), source })
}

async fn wait_until_ready(runner: &mut Runner, own: &Path, authorities: &Authorities) -> Result<String, StartError> {
    let open = format!("https://{}", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    loop {
        if let Some(how) = runner.ended().await {
            return Err(StartError::Ended(how));
        }
        let endpoint =
            ControlPlaneConfig::load(own)?.map(|config| config.endpoint).filter(|endpoint| *endpoint != open);
        if let Some(endpoint) = endpoint {
            let client = JsonClient::anonymous(&endpoint, authorities.server_ca_pem(), Duration::from_secs(2));
            if let Ok(client) = client
                && client.get_text("/readyz").await.is_ok()
            {
                return Ok(endpoint);
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| (*error).source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

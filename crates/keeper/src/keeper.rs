//! The keeper's process: the socket, the table of roles, and a task for each role.

mod task;

use crate::{
    process::roles_directory,
    protocol::{Reply, Request, RoleSpec, RoleState, RoleStatus},
    table::Table,
};
use nix::fcntl::{Flock, FlockArg};
use orrery_wire::message;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use task::{Command, RoleHandle};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

/// How long a request may take to arrive.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a keeper keeps its things.
#[derive(Debug, Clone)]
pub struct Config {
    /// The socket.
    pub socket: PathBuf,
    /// Directory of runtime files: the lock, the process ids of roles.
    pub runtime_directory: PathBuf,
    /// The table of roles.
    pub table: PathBuf,
}

/// Why the keeper ended.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Another keeper has the runtime directory.
    #[error("another keeper runs for {0}; see: orrery status")]
    Running(String),
    /// A file or socket can't be used.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn file_error<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> KeeperError + 'a {
    move |source| KeeperError::File { doing, path: path.display().to_string(), source }
}

/// Keeps roles running.
pub struct Keeper {
    config: Config,
    inner: Mutex<Inner>,
    ending: CancellationToken,
    listener: UnixListener,
    _lock: Flock<fs::File>,
}

struct Inner {
    table: Table,
    roles: Vec<RoleHandle>,
}

impl Keeper {
    /// Takes the runtime directory, listens at the socket and starts (or adopts) every role of the table.
    ///
    /// # Errors
    /// When another keeper has the directory, or a file can't be used.
    pub async fn start(config: Config) -> Result<Arc<Self>, KeeperError> {
        let roles_directory = roles_directory(&config.runtime_directory);
        fs::create_dir_all(&roles_directory).map_err(file_error("make", &roles_directory))?;
        let lock_path = config.runtime_directory.join("keeper.lock");
        let lock = fs::File::create(&lock_path).map_err(file_error("make", &lock_path))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| KeeperError::Running(config.runtime_directory.display().to_string()))?;
        let listener = bind(&config.socket)?;
        let table = Table::load(&config.table).map_err(file_error("read", &config.table))?;
        let roles = table.rows().iter().map(|row| RoleHandle::spawn(&row.spec, !row.held, &roles_directory)).collect();
        let inner = Mutex::new(Inner { table, roles });
        Ok(Arc::new(Self { config, inner, ending: CancellationToken::new(), listener, _lock: lock }))
    }

    /// Serves the socket until a shutdown was asked for and done. `interrupted` (a signal) ends the keeper and leaves the
    /// roles running for the next one.
    pub async fn serve(self: Arc<Self>, interrupted: CancellationToken) {
        loop {
            tokio::select! {
                // Cancel-safe: a connection that was not accepted stays in the backlog.
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&self).answer(stream))),
                    Err(error) => tracing::warn!(%error, "cannot accept a connection"),
                },
                () = self.ending.cancelled() => break,
                () = interrupted.cancelled() => break,
            }
        }
        let _ = fs::remove_file(&self.config.socket);
    }

    async fn answer(self: Arc<Self>, mut stream: UnixStream) {
        let mut buffer = Vec::new();
        let receive = async {
            loop {
                match message::decode::<Request>(&mut buffer) {
                    Ok(Some(request)) => return Some(request),
                    Ok(None) if stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) => {}
                    Ok(None) | Err(_) => return None,
                }
            }
        };
        let Ok(Some(request)) = tokio::time::timeout(RECEIVE_TIMEOUT, receive).await else { return };
        let ending = request == Request::Shutdown;
        let reply = match self.carry_out(request).await {
            Ok(reply) => reply,
            Err(message) => Reply::Failed { message },
        };
        if let Ok(bytes) = message::encode(&reply) {
            let _ = stream.write_all(&bytes).await;
        }
        if ending {
            self.ending.cancel();
        }
    }

    async fn carry_out(&self, request: Request) -> Result<Reply, String> {
        let mut inner = self.inner.lock().await;
        match request {
            Request::Ensure(spec) => inner.ensure(spec, &roles_directory(&self.config.runtime_directory)).await?,
            Request::Stop { name } => {
                inner.hold(&name, true)?;
                for role in inner.roles.iter_mut().rev().filter(|role| role.spec().answers_to(&name)) {
                    role.send(Command::Hold).await;
                    role.until(|status| status.state == RoleState::Stopped).await;
                }
            }
            Request::Start { name } => {
                inner.hold(&name, false)?;
                for role in inner.roles.iter_mut().filter(|role| role.spec().answers_to(&name)) {
                    role.send(Command::Release).await;
                    role.until(|status| status.state != RoleState::Stopped).await;
                }
            }
            Request::Status => return Ok(Reply::Status(inner.roles.iter().map(RoleHandle::status).collect())),
            Request::Shutdown => {
                while let Some(role) = inner.roles.pop() {
                    role.end().await;
                }
            }
        }
        Ok(Reply::Done)
    }
}

impl Inner {
    async fn ensure(&mut self, spec: RoleSpec, directory: &Path) -> Result<(), String> {
        let changed = self.table.put(spec.clone()).map_err(|error| format!("cannot write the table: {error}"))?;
        match self.roles.iter().find(|role| role.spec().name == spec.name) {
            Some(role) if changed => role.send(Command::Replace(Box::new(spec))).await,
            Some(_) => {}
            None => self.roles.push(RoleHandle::spawn(&spec, true, directory)),
        }
        Ok(())
    }

    fn hold(&mut self, name: &str, held: bool) -> Result<(), String> {
        let names = self.table.hold(name, held).map_err(|error| format!("cannot write the table: {error}"))?;
        if names.is_empty() {
            let known: Vec<&str> = self.table.rows().iter().map(|row| row.spec.name.as_str()).collect();
            return Err(format!("there is no role {name:?}; there are: {}", known.join(", ")));
        }
        Ok(())
    }
}

/// Listens at `socket`. What is there is of a keeper that was killed: the lock says that it is gone.
fn bind(socket: &Path) -> Result<UnixListener, KeeperError> {
    match fs::remove_file(socket) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error("remove", socket)(error)),
    }
    let listener = UnixListener::bind(socket).map_err(file_error("listen at", socket))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).map_err(file_error("protect", socket))?;
    Ok(listener)
}

/// How a role is, to begin with.
fn initial_status(spec: &RoleSpec, wanted: bool) -> RoleStatus {
    RoleStatus {
        name: spec.name.clone(),
        state: if wanted { RoleState::BackingOff } else { RoleState::Stopped },
        pid: None,
        restarts: 0,
        last_end: None,
        log: spec.log.clone(),
    }
}

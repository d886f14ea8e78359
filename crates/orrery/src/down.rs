//! `orrery down`: stops everything and takes from the machine what was made.

use crate::{
    instance::{HOST, Instance},
    roles, say,
};
use orrery_keeper::{ClientError, KeeperClient, protocol::Request, stop_orphans};
use std::{fs, io, path::Path, time::Duration};

/// How long a role whose keeper is gone may take to end.
const ORPHAN_GRACE: Duration = Duration::from_secs(15);

/// Why not everything was stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownError {
    #[error("not root; run it as root: sudo orrery down")]
    NotRoot,
    #[error("cannot stop the roles")]
    Keeper(#[source] ClientError),
    #[error("cannot read the host's settings")]
    Host(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot take down the host's machines and devices")]
    TearDown(#[source] orrery_hostd::TearDownError),
    #[error("cannot remove {path}")]
    Remove {
        path: String,
        #[source]
        source: io::Error,
    },
}

pub(crate) async fn run(instance: &Instance, purge: bool) -> Result<(), DownError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(DownError::NotRoot);
    }
    let keeper = KeeperClient::new(&instance.keeper_socket());
    match keeper.request(&Request::Shutdown).await {
        Ok(()) => {
            // The keeper answers before it ends; its socket is gone when it has.
            while instance.keeper_socket().exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            say("stopped every role");
        }
        Err(ClientError::NotRunning { .. }) => match stop_orphans(&instance.runtime, ORPHAN_GRACE).await {
            0 => say("no role runs"),
            orphans => say(&format!("stopped {orphans} roles whose keeper was gone")),
        },
        Err(error) => return Err(DownError::Keeper(error)),
    }
    if instance.host_directory(HOST).exists() {
        let host = HOST.parse().map_err(|error| DownError::Host(Box::new(error)))?;
        let config = roles::hostd_config(instance, host).await.map_err(DownError::Host)?;
        orrery_hostd::tear_down(config).await.map_err(DownError::TearDown)?;
        say("powered off every machine; removed taps, bridge, routes and control groups");
    }
    remove(&instance.runtime)?;
    if purge {
        remove(&instance.state)?;
        say(&format!("removed {}", instance.state.display()));
    } else if instance.state.exists() {
        say(&format!("state stays in {}; orrery up brings the same pods back", instance.state.display()));
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), DownError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DownError::Remove { path: path.display().to_string(), source }),
    }
}

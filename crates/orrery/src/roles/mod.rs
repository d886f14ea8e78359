//! The processes of an installation, each wired from its crate.

mod host;
mod manager;

pub(crate) use host::{hostd, hostd_config, prepare_guest_boot, prepare_guest_boot_with, shim, spherelet};
pub(crate) use manager::{manager, manager_access, supervisor};

use crate::instance::Instance;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use orrery_keeper::Keeper;
use std::error::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a role's process ends with.
pub(crate) type RoleResult = Result<(), Box<dyn Error + Send + Sync>>;

/// Where a keeper keeps its things.
pub(crate) fn keeper_config(instance: &Instance) -> orrery_keeper::Config {
    orrery_keeper::Config {
        socket: instance.keeper_socket(),
        runtime_directory: instance.runtime.clone(),
        table: instance.state.join("roles.json"),
    }
}

pub(crate) async fn keeper(instance: &Instance) -> RoleResult {
    let interrupted = shutdown_on_signal()?;
    Keeper::start(keeper_config(instance)).await?.serve(interrupted).await;
    Ok(())
}

/// Lets this process have as many open files as it may: there is one for each connection, and a store that finds none fails.
pub(crate) fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(files) => tracing::debug!(files, "open files"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

/// Cancelled by SIGTERM or SIGINT.
pub(crate) fn shutdown_on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            // Cancel-safe: the other signal needs no second answer.
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}

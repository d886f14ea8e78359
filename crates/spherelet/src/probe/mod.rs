//! Carrying out probes and lifecycle hooks: programs in containers, and connections to the pod's address from this host.
//!
//! When they are done and what follows from them is `orrery_lifecycle::probe`'s business. The words are the kubelet's, for
//! people and dashboards know them.

mod counts;
mod exec;
mod grpc;
mod http;

pub(crate) use counts::ProbeCounts;

use crate::host::Shim;
use orrery_lifecycle::{
    handler::{Handler, Port},
    probe::Outcome,
};
use std::time::Duration;
use tokio::net::TcpStream;

/// As much of an answer as is read and told, in bytes.
const MOST_ANSWER: usize = 10 * 1024;

/// Where a container is reached.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) shim: Shim,
    pub(crate) container: String,
    pub(crate) pod_ip: String,
}

/// Does what a probe says; no longer than `timeout`.
pub(crate) async fn probe(target: &Target, handler: &Handler, timeout: Duration) -> Outcome {
    match handler {
        Handler::Exec { command } => exec::probe(target, command, timeout).await,
        Handler::HttpGet { .. } => match http::Get::new(target, handler) {
            Ok(get) => get.probe(timeout).await,
            Err(message) => Outcome::Failure(message),
        },
        Handler::TcpSocket { host, port } => match address(target, host.as_deref(), port) {
            Ok((host, port)) => connect(&host, port, timeout).await.map_or_else(Outcome::Failure, |_| Outcome::Success),
            Err(message) => Outcome::Failure(message),
        },
        Handler::Grpc { port, service } => match address(target, None, port) {
            Ok((host, port)) => grpc::probe(&host, port, service, timeout).await,
            Err(message) => Outcome::Failure(message),
        },
        Handler::Sleep { .. } => Outcome::Failure("a probe cannot sleep".to_owned()),
    }
}

/// Does what a lifecycle hook says, for as long as it takes.
///
/// # Errors
/// What went wrong, for people.
pub(crate) async fn hook(target: &Target, handler: &Handler) -> Result<(), String> {
    match handler {
        Handler::Exec { command } => exec::hook(target, command).await,
        Handler::HttpGet { .. } => http::Get::new(target, handler)?.hook().await,
        Handler::Sleep { duration } => {
            tokio::time::sleep(Duration::try_from(*duration).unwrap_or_default()).await;
            Ok(())
        }
        Handler::TcpSocket { .. } | Handler::Grpc { .. } => {
            Err("a hook can run a program, ask an HTTP server, or sleep; nothing else".to_owned())
        }
    }
}

fn address(target: &Target, host: Option<&str>, port: &Port) -> Result<(String, u16), String> {
    match port {
        Port::Number(number) => Ok((host.unwrap_or(&target.pod_ip).to_owned(), *number)),
        Port::Unknown(name) => Err(format!("couldn't find port: {name:?} of container {}", target.container)),
    }
}

/// Connects, and says what is wrong in Go's words.
async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let at = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(format!("dial tcp {at}: connect: connection refused"))
        }
        Ok(Err(error)) => Err(format!("dial tcp {at}: {error}")),
        Err(_) => Err(format!("dial tcp {at}: i/o timeout")),
    }
}

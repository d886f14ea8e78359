//! `sim`: a private control plane with hollow nodes, until it is told to end.
//!
//! It is the library for people: it starts what the arguments ask for, prints where the API and the kubeconfig are, and waits.
//! What it is not: an installation. It listens on loopback only, keeps nothing, and runs no container.
//!
//! One task serves until a signal comes ([`serve`]); SIGINT and SIGTERM drop it, and with it go the control plane (a task, or
//! a process with `--orrery`), the nodes and their directory. Nothing is left for another start to find.
//!
//! Start reading at [`run`].
#![forbid(unsafe_code)]

use clap::Parser;
use orrery_sim::{Clients, ControlPlane, HollowNodes, HollowOptions, Options};
use std::{error::Error, io::Write, path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Run a private Kubernetes control plane with hollow nodes on loopback.
///
/// The API server, the controllers and the scheduler are Orrery's own; the nodes run nothing, but report what kubelets would.
/// Everything is removed at the end: stop it with Ctrl-C or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    /// How many hollow nodes.
    #[arg(long, default_value_t = 3, value_name = "N")]
    nodes: usize,
    /// Where an administrator's kubeconfig is written; it is removed at the end. Without it, it lies in the temporary directory.
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
    /// All nodes share one client and one watch instead of having certificates of their own: for thousands of nodes.
    #[arg(long)]
    shared: bool,
    /// Run the control plane as a process of its own: this `orrery` program.
    #[arg(long, value_name = "PROGRAM")]
    orrery: Option<PathBuf>,
    /// Processors of each node.
    #[arg(long, default_value = "32", value_name = "QUANTITY")]
    cpu: String,
    /// Memory of each node.
    #[arg(long, default_value = "256Gi", value_name = "QUANTITY")]
    memory: String,
    /// The most pods on each node.
    #[arg(long, default_value_t = 110, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250))]
    pods: u8,
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match orrery_telemetry::init(orrery_telemetry::Format::Text, "error") {
        Ok(()) => run(arguments).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            let text = causes.fold(format!("error: {error}"), |text, cause| format!("{text}: {cause}"));
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let told_to_end = async {
        tokio::select! {
            // Cancel-safe: the first signal is answered, the others need none.
            _ = terminate.recv() => {}
            result = tokio::signal::ctrl_c() => result?,
        }
        Ok::<(), std::io::Error>(())
    };
    let kubeconfig = arguments.kubeconfig_out.clone();
    let outcome = tokio::select! {
        // What was started ends and is removed when the future is dropped.
        result = serve(arguments) => result,
        result = told_to_end => result.map_err(Into::into),
    };
    if let Some(path) = kubeconfig {
        // It is of no use any more; that it is not there is what is wanted.
        let _ = std::fs::remove_file(path);
    }
    outcome
}

/// Serves until it is dropped.
async fn serve(arguments: Arguments) -> Outcome {
    let options = Options { program: arguments.orrery, parent_directory: None };
    let control_plane = ControlPlane::start(options).await?;
    let own = || control_plane.directory().join("kubeconfig");
    let kubeconfig = arguments.kubeconfig_out.unwrap_or_else(own);
    control_plane.write_kubeconfig(&kubeconfig)?;
    let hollow = HollowOptions {
        count: arguments.nodes,
        cpu: arguments.cpu,
        memory: arguments.memory,
        pods: arguments.pods,
        ..HollowOptions::default()
    };
    let clients = if arguments.shared {
        Clients::Shared(control_plane.admin().client().await?)
    } else {
        Clients::own(&control_plane)
    };
    let mut nodes = HollowNodes::start(clients, &hollow).await?;
    nodes.ready().await?;
    let mut out = std::io::stdout();
    writeln!(out, "API         {}", control_plane.endpoint())?;
    writeln!(out, "nodes       {} hollow, all Ready", hollow.count)?;
    writeln!(out, "kubeconfig  {}", kubeconfig.display())?;
    writeln!(out, "try         kubectl --kubeconfig {} get nodes", kubeconfig.display())?;
    writeln!(out, "end         Ctrl-C; everything is removed")?;
    out.flush()?;
    std::future::pending().await
}

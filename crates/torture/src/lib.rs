//! Kills a control plane under load, again and again, and looks whether anything is lost.
//!
//! ```text
//! control plane as a process, hollow nodes ──► clients write, and retry ──► SIGKILL ──► started again on the same state
//!                                                     ▲                                     │
//!                                                     └────────── next round ◄──────────────┘
//! after the last round: clients stop ──► everything is waited for ──► what was acknowledged is compared with what is there
//! ```
//!
//! What must hold:
//!
//! * a client sees answers, connections that break, and answers that say "later" (429, 503, 504), never anything else that
//!   its own writes do not explain ([`client::Violation`]);
//! * every write that was acknowledged is there, and none that was not asked for;
//! * controllers converge: Deployments have their pods and no more, Jobs have run as often as they say, what was deleted is
//!   gone with all that belonged to it, namespaces too.
//!
//! What this crate is not: it tries no power cut (`cargo xtask torture store --power-loss` does) and no damaged file.
//!
//! Tasks: one for each client. Start reading at [`run`].
#![forbid(unsafe_code)]

mod check;
mod client;
mod load;

pub use client::{Seen, Violation};

use client::Client;
use load::Load;
use orrery_harness::Api;
use orrery_sim::{Clients, ControlPlane, HollowError, HollowNodes, HollowOptions, StartError};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How it is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `orrery` program.
    pub program: PathBuf,
    /// How often the control plane is killed.
    pub rounds: u32,
    /// Decides when, and what the clients do.
    pub seed: u64,
    /// Longest time between two kills.
    pub longest: Duration,
}

/// What came of it, when everything held.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the clients saw.
    pub seen: Seen,
    /// How many objects were compared in the end.
    pub compared: usize,
}

/// Why it did not.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The control plane did not start, or not again.
    #[error("the control plane does not start")]
    Start(#[from] StartError),
    /// The nodes did not.
    #[error("the hollow nodes do not start")]
    Nodes(#[from] HollowError),
    /// Nobody can be asked.
    #[error("there is no client: {0}")]
    NoClient(String),
    /// Something was promised and not held.
    #[error("with seed {seed}: {what}")]
    Broken {
        /// Repeats the run, as far as anything that runs at once can be repeated.
        seed: u64,
        /// What.
        what: String,
    },
}

/// Kills, and looks.
///
/// # Errors
/// When it can't be tried, or something does not hold.
pub async fn run(options: &Options, mut tell: impl FnMut(&str)) -> Result<Report, Failed> {
    let seed = options.seed;
    let broken = |what: String| Failed::Broken { seed, what };
    let start = orrery_sim::Options { program: Some(options.program.clone()), parent_directory: None };
    let mut control_plane = ControlPlane::start(start).await?;
    let mut nodes = HollowNodes::start(Clients::own(&control_plane), &HollowOptions::default()).await?;
    nodes.ready().await?;
    let kube = control_plane.admin().client().await.map_err(|error| Failed::NoClient(error.to_string()))?;
    let client = Arc::new(Client::new(Api::new(kube)));
    let stop = CancellationToken::new();
    let load = Load::start(&client, seed, &stop);
    let mut random = StdRng::seed_from_u64(seed);
    for round in 1..=options.rounds {
        let wait = random.random_range(Duration::from_millis(50)..options.longest);
        tokio::time::sleep(wait).await;
        control_plane.kill_and_restart().await?;
        tell(&format!("round {round} of {}: {}", options.rounds, client.seen()));
        if let Some(violation) = client.violation() {
            return Err(broken(violation.to_string()));
        }
    }
    stop.cancel();
    let wanted = load.end().await.map_err(|violation| broken(violation.to_string()))?;
    let compared = check::everything(&client, &wanted).await.map_err(broken)?;
    nodes.stop().await;
    control_plane.stop().await?;
    Ok(Report { seen: client.seen(), compared })
}

//! `cargo xtask torture`: ends the product's processes violently, again and again, and looks whether anything is lost.
//!
//! What does it is an example program of the crate in question, which shows its own progress; this only builds and runs it.

use crate::report;
use clap::{Args, Subcommand};
use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

/// What `cargo xtask torture` is told.
#[derive(Args)]
pub(crate) struct Torture {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Kill a process that writes into an embedded store, open the store again, and check every write it acknowledged.
    ///
    /// On a failure the store's directory is kept and named, with the seed that repeats the run.
    Store(Store),
    /// Kill a control plane with hollow nodes under load, start it again, and check that everything acknowledged is there and
    /// that controllers converge.
    Api(Api),
}

#[derive(Args)]
struct Api {
    /// How often.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Decides when it is killed and what clients do [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Longest time between two kills, in milliseconds.
    #[arg(long, default_value_t = 3000)]
    longest_ms: u64,
}

#[derive(Args)]
struct Store {
    /// How often.
    #[arg(long, default_value_t = 1000)]
    rounds: u64,
    /// Let the power fail instead: what was not synced to the disk is lost, wholly or in part.
    #[arg(long)]
    power_loss: bool,
    /// Decides when the process is ended and what is lost [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Where to make the store's directory [default: the system's temporary directory]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
#[error("cannot run cargo")]
struct NoCargo(#[source] io::Error);

/// Runs it.
pub(crate) fn run(root: &Path, torture: &Torture) -> ExitCode {
    let outcome = match &torture.what {
        What::Store(options) => of_store(root, options),
        What::Api(options) => of_api(root, options),
    };
    match outcome {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            tell(&report::chain(&NoCargo(error)));
            ExitCode::FAILURE
        }
    }
}

fn of_store(root: &Path, options: &Store) -> io::Result<ExitStatus> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["run", "--quiet", "--release", "-p", "orrery-store", "--example", "torture", "--"]);
    command.args(["--rounds", &options.rounds.to_string()]);
    if options.power_loss {
        command.arg("--power-loss");
    }
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(directory) = &options.directory {
        command.arg("--directory").arg(directory);
    }
    command.status()
}

fn of_api(root: &Path, options: &Api) -> io::Result<ExitStatus> {
    let mut build = Command::new("cargo");
    let built = build.current_dir(root).args(["build", "--quiet", "-p", "orrery", "--bin", "orrery"]).status()?;
    if !built.success() {
        return Ok(built);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["run", "--quiet", "-p", "orrery-torture", "--"]);
    command.arg("--orrery").arg(target.join("debug/orrery"));
    command.args(["--rounds", &options.rounds.to_string(), "--longest-ms", &options.longest_ms.to_string()]);
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    // Clients that lose their connections say so, again and again; here that is what is wanted.
    command.env("ORRERY_LOG", std::env::var_os("ORRERY_LOG").unwrap_or_else(|| "off".into()));
    command.status()
}

#[allow(clippy::print_stderr, reason = "a command-line program")]
fn tell(text: &str) {
    eprintln!("error: {text}");
}

//! `cargo xtask torture`: ends the product's processes violently, again and again, and looks whether anything is lost.
//!
//! What does it is an example program of the crate in question, which shows its own progress; this only builds and runs it.

use crate::report;
use clap::{Args, Subcommand};
use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
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
    let What::Store(options) = &torture.what;
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
    match command.status().map_err(NoCargo) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            tell(&report::chain(&error));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a command-line program")]
fn tell(text: &str) {
    eprintln!("error: {text}");
}

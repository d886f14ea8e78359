//! Kills a store in the middle of writing, again and again, and checks it each time. `cargo xtask torture store` runs it.
//!
//! * `script`: what is written. `child`: the process that writes. `rounds`: the process that kills and checks.
//! * `disk`: a disk that loses what was not synced.
//!
//! The crate's tests run a few rounds of the same.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod child;
mod disk;
mod rounds;
mod script;

use rounds::{End, Torture};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: torture [--rounds N] [--power-loss | --lying-disk] [--seed N] [--directory DIRECTORY]";

struct Options {
    rounds: u64,
    end: End,
    seed: u64,
    directory: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { rounds: 1000, end: End::Kill, seed: u64::from(std::process::id()), directory: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value; {USAGE}"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number; {USAGE}"));
        match argument.as_str() {
            "--rounds" => options.rounds = number(value()?)?,
            "--seed" => options.seed = number(value()?)?,
            "--power-loss" => options.end = End::PowerLoss,
            // To see that the check notices.
            "--lying-disk" => options.end = End::Lie,
            "--directory" => options.directory = Some(value()?.into()),
            _ => return Err(format!("{argument:?} is not known; {USAGE}")),
        }
    }
    Ok(options)
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program has a path"))
}

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(path) = std::env::var_os(child::PATH) {
        child::run(Path::new(&path)).await;
        return ExitCode::SUCCESS;
    }
    match torture().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn torture() -> Result<(), String> {
    let options = options()?;
    let place = options.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::Builder::new().prefix("orrery-torture.").tempdir_in(place);
    let directory = directory.map_err(|error| format!("cannot make a directory: {error}"))?;
    let mut torture = Torture::new(directory.path().join("store.db"), options.end, options.seed, this_program);
    let (mut acknowledged, mut unannounced) = (0, 0);
    println!("{} rounds, seed {}, in {}", options.rounds, options.seed, directory.path().display());
    for round in 1..=options.rounds {
        match torture.round().await {
            Ok(done) => {
                acknowledged += done.acknowledged;
                unannounced += done.unannounced;
            }
            Err(error) => {
                let kept = directory.keep();
                return Err(format!("round {round}, seed {}: {error}; the store is kept in {kept:?}", options.seed));
            }
        }
        if round % 10 == 0 || round == options.rounds {
            println!("round {round} of {}: {acknowledged} writes acknowledged, all there", options.rounds);
        }
    }
    println!("{acknowledged} writes acknowledged, none lost; {unannounced} more were there, each whole");
    Ok(())
}

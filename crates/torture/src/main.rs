//! `torture-api`: kills a control plane under load, again and again, and looks whether anything is lost.
//!
//! It is the library for people: it says what the clients saw after each round. `cargo xtask torture api` builds the program
//! that is killed and runs this.
//!
//! Each round is one line: how many writes were acknowledged so far, how many connections broke, how often clients were told
//! to come later. The last line says what held, or what did not, with the seed.
//!
//! What it is not: a test. The tests of the program `orrery` call the library for a few rounds.
#![forbid(unsafe_code)]

use clap::Parser;
use orrery_torture::{Options, run};
use std::{error::Error, io::Write, path::PathBuf, process::ExitCode, time::Duration};

/// Kill a control plane under load, again and again, and look whether anything is lost.
#[derive(Debug, Parser)]
#[command(name = "torture-api", version)]
struct Arguments {
    /// The `orrery` program.
    #[arg(long, value_name = "PROGRAM")]
    orrery: PathBuf,
    /// How often it is killed.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Decides when, and what the clients do [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Longest time between two kills, in milliseconds.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(100..))]
    longest_ms: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = orrery_telemetry::init(orrery_telemetry::Format::Text, "error") {
        say(&format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    say(&format!("seed {seed}"));
    let longest = Duration::from_millis(arguments.longest_ms);
    let options = Options { program: arguments.orrery, rounds: arguments.rounds, seed, longest };
    match run(&options, say).await {
        Ok(report) => {
            say(&format!("everything held: {}; {} objects compared", report.seen, report.compared));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            say(&causes.fold(format!("error: {error}"), |text, cause| format!("{text}: {cause}")));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    // Nobody listens any more: then nobody needs to be told.
    let _ = writeln!(std::io::stdout(), "{text}");
}

//! Benchmarks, as `cargo xtask bench NAME`: the product as a user starts it, measured beside a peer in the same run.
//!
//! A number alone says little on a machine that others use too; the ratio to a peer that suffered the same says more. No
//! number here fails a build. docs/benchmarks.md says how each is measured and what to distrust.
//!
//! * `up`: a whole installation; it reads from top to bottom. `store`: the store beside plain SQLite and etcd. `api`: the API
//!   server beside a bare one. `engines`: the programs that these two run.
//! * `installation`, `steps`: an installation of the benchmark's own, and what `orrery up` says.
//! * `pod_start`, `density`: pods as a client sees them start, and what they hold when they do nothing.
//! * `streams`: what goes between a client and a container, by exec and in logs.
//! * `pods`, `bare`, `podman`: a pod's start, and its peers, a machine with nothing in it and a container.
//! * `memory`: what processes hold. `measure`: a number and how it is printed. `interrupt`: children that end with us.

mod api;
mod bare;
mod density;
mod engines;
mod installation;
mod interrupt;
mod measure;
mod memory;
mod pod_start;
mod podman;
mod pods;
mod steps;
mod store;
mod streams;
mod up;

use crate::report;
use clap::{Args, Subcommand};
use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What `cargo xtask bench` is told.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    name: Option<Name>,
}

#[derive(Subcommand)]
enum Name {
    /// Steps of `orrery up`, a pod from POST to Ready, and the memory of each process.
    ///
    /// Works on an installation of its own (`--instance bench`, its state below /var/tmp), which is removed at the end,
    /// also after a failure or Ctrl-C. Needs root and a built program (`make build`), takes some two minutes, and fetches
    /// the guest's kernel from Debian once. What it means: docs/benchmarks.md.
    Up(Up),
    /// From the POST of a pod to the first byte of its output, beside `podman run` of the same image; many at once; machines that
    /// boot.
    ///
    /// Works on an installation of its own, as `up` does. Needs root, a built program (`make build`), podman and runc, and takes
    /// some three minutes. What it means: docs/benchmarks.md.
    PodStart(PodStart),
    /// Memory and processor time of pods that do nothing.
    ///
    /// Works on an installation of its own, as `up` does. Needs root and a built program (`make build`); takes some five
    /// minutes. What it means: docs/benchmarks.md.
    PodDensity(PodDensity),
    /// Programs run in a pod beside `podman exec`: start to end, a line there and back, much output.
    ///
    /// Works on an installation of its own, as `up` does. Needs root, a built program (`make build`), podman and runc, and takes
    /// some two minutes. What it means: docs/benchmarks.md.
    Exec(Exec),
    /// The log of a pod that writes much, followed and read, beside `podman logs`.
    ///
    /// Needs what `exec` needs. What it means: docs/benchmarks.md.
    Logs(Logs),
    /// The embedded store beside plain SQLite and etcd: durable puts, gets, a range of 10,000, opening after a kill.
    ///
    /// Builds what it needs, gets etcd out of Debian if it is not there, and takes some four minutes. What it means:
    /// docs/benchmarks.md.
    Store(StoreBench),
    /// The API server beside a bare server of the same store: creates, gets, lists, applies, watchers, memory.
    ///
    /// Runs a control plane and its peer in a directory of their own, on ports of loopback that the system chooses; needs a
    /// built program (`make build`) and takes some five minutes. What it means: docs/benchmarks.md.
    Api(ApiBench),
}

/// Options of `bench up`.
#[derive(Args)]
struct Up {
    /// One JSON object a line instead of a table: name, value, unit, goal, peer, ratio, met.
    #[arg(long)]
    json: bool,
    /// How many pods, and machines with nothing in them, are started one after the other.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// The `orrery` to measure, with crx-init beside it [default: target/release/orrery]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Options of `bench pod-start`.
#[derive(Args)]
struct PodStart {
    /// One JSON object a line instead of a table: name, value, unit, goal, peer, ratio, met.
    #[arg(long)]
    json: bool,
    /// How many pods and containers are started, by turns.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How many pods are started at once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    burst: u16,
    /// The `orrery` to measure, with crx-init beside it [default: target/release/orrery]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The directory `cache/kernels` of an installation that has built the lean kernel, to measure with that.
    #[arg(long, value_name = "DIRECTORY")]
    kernels: Option<PathBuf>,
}

/// Options of `bench pod-density`.
#[derive(Args)]
struct PodDensity {
    /// One JSON object a line instead of a table: name, value, unit, goal, peer, ratio, met.
    #[arg(long)]
    json: bool,
    /// How many pods rest when it is measured; each number a measurement.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 60])]
    pods: Vec<u16>,
    /// The `orrery` to measure, with crx-init beside it [default: target/release/orrery]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The directory `cache/kernels` of an installation that has built the lean kernel, to measure with that.
    #[arg(long, value_name = "DIRECTORY")]
    kernels: Option<PathBuf>,
}

/// Options of `bench exec`.
#[derive(Args)]
struct Exec {
    /// One JSON object a line instead of a table: name, value, unit, goal, peer, ratio, met.
    #[arg(long)]
    json: bool,
    /// How many programs are run, by turns.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How many lines go there and back.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    echoes: u16,
    /// How much a program writes, in MiB.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    mebibytes: u16,
    /// The `orrery` to measure, with crx-init beside it [default: target/release/orrery]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Options of `bench logs`.
#[derive(Args)]
struct Logs {
    /// One JSON object a line instead of a table: name, value, unit, goal, peer, ratio, met.
    #[arg(long)]
    json: bool,
    /// How often the log is read from beginning to end.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How much the pod writes, in MiB; with the time on each line it has to stay below the 10 MiB at which a log is put aside.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=6))]
    mebibytes: u16,
    /// The `orrery` to measure, with crx-init beside it [default: target/release/orrery]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Options of `bench store`.
#[derive(Args)]
struct StoreBench {
    /// One JSON object a line instead of a table: name, value, unit, goal, peer, ratio, met.
    #[arg(long)]
    json: bool,
    /// How many objects of 2 KiB there are; 10,000 at least.
    #[arg(long, default_value_t = 100_000)]
    objects: usize,
    /// How often the engines take turns in each measurement; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a turn is, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    slice_ms: u64,
    /// The etcd to measure [default: $ORRERY_TEST_TOOLS/etcd, or one out of Debian by scripts/get-etcd]
    #[arg(long, value_name = "FILE")]
    etcd: Option<PathBuf>,
    /// Where the stores are made; the disk there is what is measured.
    #[arg(long, default_value = "/var/tmp", value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Options of `bench api`.
#[derive(Args)]
struct ApiBench {
    /// One JSON object a line instead of a table: name, value, unit, goal, peer, ratio, met.
    #[arg(long)]
    json: bool,
    /// How many pods there are in the end; 10,000 at least.
    #[arg(long, default_value_t = 100_000)]
    pods: usize,
    /// How often product and peer take turns in each measurement; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long a turn is, in milliseconds.
    #[arg(long, default_value_t = 3_000)]
    slice_ms: u64,
    /// How many watchers see each event, one measurement each.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    watchers: Vec<usize>,
    /// The `orrery` to measure [default: target/release/orrery]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where the stores are made; the disk there is what durable creates wait for.
    #[arg(long, default_value = "/var/tmp", value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Why there are no numbers.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("there is no program at {0}; build it first: make build")]
    NoProgram(PathBuf),
    #[error("there is no kubectl in $ORRERY_TEST_TOOLS or on $PATH; `make up` gets one")]
    NoKubectl,
    #[error(
        "an instance called {name} is there already; when nobody measures, remove it: \
         orrery down --purge --instance {name} --state {state}"
    )]
    Present { name: &'static str, state: String },
    #[error("cannot {0}")]
    Io(String, #[source] io::Error),
    #[error("{command} failed:\n{said}")]
    Command { command: String, said: String },
    #[error("{what} is not as expected: {said}")]
    Answer { what: String, said: String },
    #[error("broken off by a signal")]
    BrokenOff,
}

impl BenchError {
    /// For `map_err`: what was being done when the operating system refused.
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io(doing, source)
    }

    fn answer(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self::Answer { what: what.into(), said: said.into() }
    }
}

/// Runs the named benchmark, or lists them.
pub(crate) fn run(root: &Path, bench: Bench) -> ExitCode {
    let built = |program: Option<PathBuf>| program.unwrap_or_else(|| root.join("target/release/orrery"));
    let (measures, json) = match bench.name {
        None => {
            println!("up           steps of `orrery up`, a pod from POST to Ready, memory of each process");
            println!("pod-start    a pod from POST to the first byte of its output, beside podman");
            println!("pod-density  memory and processor time of pods that do nothing");
            println!("exec         programs run in a pod, beside podman exec");
            println!("logs         the log of a pod that writes much, beside podman logs");
            println!("store        the embedded store beside plain SQLite and etcd");
            println!(
                "api          the API server beside a bare server: creates, gets, lists, applies, watchers, memory"
            );
            println!("\nMore on one: cargo xtask bench NAME --help");
            return ExitCode::SUCCESS;
        }
        Some(Name::Up(options)) => (up::run(&built(options.program), options.runs), options.json),
        Some(Name::PodStart(options)) => {
            (pod_start::run(root, &built(options.program.clone()), &options), options.json)
        }
        Some(Name::PodDensity(options)) => {
            (density::run(root, &built(options.program.clone()), &options), options.json)
        }
        Some(Name::Exec(options)) => (streams::exec(root, &built(options.program.clone()), &options), options.json),
        Some(Name::Logs(options)) => (streams::logs(root, &built(options.program.clone()), &options), options.json),
        Some(Name::Store(options)) => (store::run(root, &options), options.json),
        Some(Name::Api(options)) => (api::run(root, &options), options.json),
    };
    match measures {
        Ok(measures) if json => measures.iter().for_each(|measure| println!("{}", measure.json())),
        Ok(measures) => println!("{}", measure::table(&measures)),
        Err(error) => {
            note(&format!("error: {}", report::chain(&error)));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Lets time pass.
#[allow(clippy::disallowed_methods, reason = "a command-line program that does one thing at a time")]
fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// Tells the person who waits; standard output is for the numbers.
#[allow(clippy::print_stderr, reason = "a command-line program")]
fn note(text: &str) {
    eprintln!("{text}");
}

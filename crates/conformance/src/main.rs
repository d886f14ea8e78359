//! `conformance`: how much of the published list of conformance tests a server holds, by tests of our own.
//!
//! The arguments say which list, which server (a kubeconfig, or a private one with hollow nodes) and which tests. A line
//! goes out when a test is done, a line for each class at the end; the exit code is 0 when everything that was run holds or
//! the floors do that were asked for, 1 when not, and 2 when it could not be run.
//!
//! Everything else is in the library. Ctrl-C and SIGTERM end a run after what its tests have made is removed.
//!
//! Start reading at `measure`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use clap::Parser;
use orrery_conformance::{
    harness::{Api, DEFAULT_POD_IMAGE, Run},
    list::List,
    registry, report, runner,
    simulated::Simulated,
};
use regex::Regex;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Where the list is looked for when `--list` does not say.
const DEFAULT_LIST: &str = "../shared/data/kubernetes/conformance.yaml";

/// Measures a Kubernetes API server with tests of our own, each of which answers to a codename of the published conformance
/// list. It is a measure of this project; it certifies nothing.
#[derive(Parser)]
#[command(name = "conformance", version)]
struct Arguments {
    /// The published list; its classes are read from conformance-classified.csv beside it.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_LIST)]
    list: PathBuf,
    /// How to reach the server as an administrator.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Measure a private control plane with hollow nodes (3 unless a number is given) instead of a server of a kubeconfig.
    #[arg(long, value_name = "NODES", num_args = 0..=1, default_missing_value = "3")]
    sim: Option<usize>,
    /// With --sim: run the control plane as a process of its own, this `orrery`.
    #[arg(long, value_name = "PROGRAM", requires = "sim")]
    orrery: Option<PathBuf>,
    /// The kubectl that [sig-cli] tests run; the one of the PATH unless it is named.
    #[arg(long, value_name = "PATH")]
    kubectl: Option<PathBuf>,
    /// The image of pods that really run: busybox and a shell, present on every node or to be had there.
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_POD_IMAGE)]
    pod_image: String,
    /// Only tests of these classes, such as `api,ctrl`.
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    class: Vec<String>,
    /// Only tests whose codename matches.
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,
    /// How many tests run at a time; serial ones run alone afterwards.
    #[arg(long, value_name = "N", default_value_t = 4)]
    parallel: usize,
    /// No test may take longer, in seconds.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Leave what tests have made.
    #[arg(long)]
    keep: bool,
    /// Print the result as JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Print everything that does not hold, also what is not written.
    #[arg(long)]
    missing: bool,
    /// Run nothing: only look at the list and at what is written.
    #[arg(long)]
    no_run: bool,
    /// Succeed when at least so many of a class hold, such as `api=110`, whatever fails; may be repeated.
    #[arg(long, value_name = "CLASS=N", value_parser = floor)]
    at_least: Vec<(String, usize)>,
}

fn floor(text: &str) -> Result<(String, usize), String> {
    let (class, number) = text.split_once('=').ok_or("expected CLASS=N, such as api=110")?;
    Ok((class.to_owned(), number.parse().map_err(|error| format!("{number:?} is no number: {error}"))?))
}

#[tokio::main]
async fn main() -> ExitCode {
    let measured = tokio::select! {
        measured = measure(Arguments::parse()) => measured,
        // A private control plane is removed when the measurement is dropped.
        () = interrupted() => Err("interrupted".into()),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {}", chain(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

type Failed = Box<dyn std::error::Error>;

/// Whether everything that was run holds, or the floors do.
async fn measure(arguments: Arguments) -> Result<bool, Failed> {
    let list = List::read(&arguments.list)?;
    let tests = registry::all();
    let mistakes = registry::mistakes(&tests, &list);
    if !mistakes.is_empty() {
        return Err(format!("the tests and {} disagree:\n{}", arguments.list.display(), mistakes.join("\n")).into());
    }
    let classes = list.classes();
    let floors = arguments.at_least.iter().map(|(class, _)| class);
    if let Some(unknown) = arguments.class.iter().chain(floors).find(|class| !classes.contains_key(class.as_str())) {
        let known = classes.keys().copied().collect::<Vec<_>>().join(", ");
        return Err(format!("the list has no class {unknown:?}; it has {known}").into());
    }
    let written: BTreeSet<&str> = tests.iter().map(|test| test.codename).collect();
    let chosen = |codename: &str| {
        let class = list.class_of(codename).unwrap_or_default();
        (arguments.class.is_empty() || arguments.class.iter().any(|name| name == class))
            && arguments.filter.as_ref().is_none_or(|filter| filter.is_match(codename))
    };
    let tests: Vec<_> = tests.into_iter().filter(|test| chosen(test.codename)).collect();
    let verdicts = if arguments.no_run { Vec::new() } else { run(&arguments, tests).await? };
    let report = report::Report::new(&list, &written, &verdicts);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        if arguments.missing {
            println!("\n{}", report.missing(&arguments.class).trim_end());
        }
        println!("\n{}", report.summary(&arguments.class).trim_end());
    }
    if arguments.at_least.is_empty() {
        return Ok(report.all_that_ran_hold());
    }
    Ok(arguments.at_least.iter().all(|(class, floor)| report.holding(class) >= *floor))
}

async fn run(arguments: &Arguments, tests: Vec<registry::Test>) -> Result<Vec<runner::Verdict>, Failed> {
    let Some(nodes) = arguments.sim else {
        let kubeconfig = arguments.kubeconfig.clone();
        let kubeconfig = kubeconfig.ok_or("name the server with --kubeconfig FILE or $KUBECONFIG, or use --sim")?;
        return run_against(arguments, tests, kubeconfig).await;
    };
    let simulated = Simulated::start(nodes, arguments.orrery.clone()).await?;
    let verdicts = run_against(arguments, tests, simulated.kubeconfig()).await?;
    simulated.stop().await?;
    Ok(verdicts)
}

async fn run_against(
    arguments: &Arguments,
    tests: Vec<registry::Test>,
    kubeconfig: PathBuf,
) -> Result<Vec<runner::Verdict>, Failed> {
    let (client, stranger) = connect(&kubeconfig).await?;
    let (api, stranger) = (Api::new(client), Api::new(stranger));
    let version = api.get("/version").await?.success()?;
    let kubectl = arguments.kubectl.clone().or_else(|| on_path("kubectl"));
    let run = Arc::new(
        Run::new(api, stranger, kubeconfig, kubectl, arguments.keep).with_pod_image(arguments.pod_image.clone()),
    );
    if !arguments.json {
        let version = version["gitVersion"].as_str().unwrap_or("no version");
        println!("{} tests against {version}; names of this run hold {}", tests.len(), run.id);
    }
    let limit = arguments.timeout.map(Duration::from_secs);
    let tell = |verdict: &runner::Verdict| {
        if !arguments.json {
            println!("{}", report::line(verdict));
        }
    };
    let signals = tokio::spawn(stop_on_signal(run.stop.clone()));
    let verdicts = runner::run(&run, tests, arguments.parallel, limit, tell).await;
    signals.abort();
    if !arguments.keep && !arguments.json {
        let left = run.left_behind().await?;
        if !left.is_empty() {
            println!("{} namespaces of this run are still being deleted: {}", left.len(), left.join(" "));
        }
    }
    Ok(verdicts)
}

/// Ctrl-C and SIGTERM end the run after what was made is removed.
async fn stop_on_signal(stop: CancellationToken) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        // Cancel-safe: neither arm holds anything.
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    eprintln!("conformance: stopping; what the tests have made is being removed");
    stop.cancel();
}

/// Clients for the current context of a kubeconfig, with its user and without any, with no proxy between.
async fn connect(path: &Path) -> Result<(kube::Client, kube::Client), Failed> {
    let kubeconfig = kube::config::Kubeconfig::read_from(path)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    config.read_timeout = None;
    // What the server answers is what is measured, also when it says 429.
    config.default_retry = false;
    let mut stranger = config.clone();
    stranger.auth_info = kube::config::AuthInfo::default();
    Ok((kube::Client::try_from(config)?, kube::Client::try_from(stranger)?))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

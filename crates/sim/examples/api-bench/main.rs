//! Measures the API server of a control plane of its own. `cargo xtask bench api` runs it and says what the numbers mean.
//!
//! Each line on standard output is one number: `{"engine": ..., "what": ..., "value": ...}`. The peer, `bare`, is a process
//! with the same sockets, TLS, HTTP, store and sizes of objects, and nothing between them; both take turns, and the median
//! counts.
//!
//! * `wire`: a client that costs little. `load`: many of them at once.
//! * `bare`: the peer. `product`: the control plane's process, its pods and paths.
//! * `fanout`: watchers. `memory`: what a process holds.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod bare;
mod fanout;
mod load;
mod memory;
mod product;
mod wire;

use load::{Load, median};
use product::Product;
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};
use wire::Target;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Clients of the measurements with many.
const CLIENTS: usize = 64;
/// Pods of one namespace: what the small list reads.
const NAMESPACE: usize = 10_000;
/// Items of a page.
const PAGE: usize = 500;

struct Settings {
    program: PathBuf,
    directory: PathBuf,
    pods: usize,
    rounds: usize,
    slice: Duration,
    watchers: Vec<usize>,
}

fn settings(arguments: &[String]) -> Result<Settings, Failure> {
    let [program, directory, pods, rounds, slice_ms, watchers] = arguments else {
        return Err("usage: api-bench ORRERY DIRECTORY PODS ROUNDS SLICE-MILLISECONDS WATCHERS,...".into());
    };
    Ok(Settings {
        program: program.into(),
        directory: directory.into(),
        pods: pods.parse::<usize>()?.max(NAMESPACE),
        rounds: rounds.parse::<usize>()?.max(1),
        slice: Duration::from_millis(slice_ms.parse()?),
        watchers: watchers.split(',').map(str::parse).collect::<Result<_, _>>()?,
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [role, directory] if role == "bare" => bare::serve(directory.as_ref()).await,
        arguments => match settings(arguments) {
            Ok(settings) => measure(&settings).await,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says one number.
fn say(engine: &str, what: &str, value: f64) {
    println!("{}", serde_json::json!({"engine": engine, "what": what, "value": value}));
}

fn note(text: &str) {
    eprintln!("api-bench: {text}");
}

async fn measure(settings: &Settings) -> Result<(), Failure> {
    let product = Product::start(settings).await?;
    let bare = bare::Bare::start(&settings.directory, &product.sample().await?)?;
    let targets = [("orrery", product.target.clone()), ("bare", bare.target.clone())];
    // What starting leaves behind is given back, and controllers have listed what they watch.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = memory::pss_kib(product.pid)?;
    say("orrery", "idle", idle / 1024.0);

    let mut creates = Load::creates();
    for clients in [1, CLIENTS] {
        note(&format!("creates, {clients} at a time"));
        let what = format!("creates {clients}");
        turns(settings, &targets, &what, &mut creates, clients).await?;
    }
    let (beyond, size) = product.fill(&mut creates, settings.pods, idle).await?;
    say("orrery", "memory", beyond);
    say("orrery", "size", size);
    for clients in [1, CLIENTS] {
        note(&format!("gets and server-side applies, {clients} at a time"));
        turns(settings, &targets, &format!("gets {clients}"), &mut Load::gets(), clients).await?;
        turns(settings, &targets, &format!("applies {clients}"), &mut Load::applies(), clients).await?;
    }
    lists(settings, &targets).await?;
    for watchers in &settings.watchers {
        note(&format!("{watchers} watchers, 20 events a second"));
        for (engine, target) in &targets {
            let spread = fanout::measure(target, *watchers).await?;
            say(engine, &format!("fan-out {watchers} median"), spread.median_ms);
            say(engine, &format!("fan-out {watchers} p99"), spread.p99_ms);
            say(engine, &format!("fan-out {watchers} missed"), spread.missed);
        }
    }
    product.stop().await
}

/// One load on both, by turns; the median of each is said.
async fn turns(
    settings: &Settings,
    targets: &[(&str, Target)],
    what: &str,
    load: &mut Load,
    clients: usize,
) -> Result<(), Failure> {
    let mut rates = vec![Vec::new(); targets.len()];
    for _ in 0..settings.rounds {
        for ((_, target), rates) in targets.iter().zip(&mut rates) {
            rates.push(load.run(target, clients, settings.slice).await?);
        }
    }
    for ((engine, _), rates) in targets.iter().zip(rates) {
        say(engine, what, median(rates));
    }
    Ok(())
}

async fn lists(settings: &Settings, targets: &[(&str, Target)]) -> Result<(), Failure> {
    for (name, namespace, count) in [("10000", product::LISTED, NAMESPACE), ("all", "", settings.pods)] {
        note(&format!("lists of {count}"));
        for page in [None, Some(PAGE)] {
            let what = format!("list {name}{}", if page.is_some() { " paged" } else { "" });
            let mut times = vec![Vec::new(); targets.len()];
            for _ in 0..settings.rounds {
                for ((_, target), times) in targets.iter().zip(&mut times) {
                    let started = Instant::now();
                    let read = target.list(namespace, count, page).await?;
                    times.push(started.elapsed().as_secs_f64() * 1000.0);
                    if read < count {
                        return Err(format!("{what}: only {read} of {count} came").into());
                    }
                }
            }
            for ((engine, _), times) in targets.iter().zip(times) {
                say(engine, &what, median(times));
            }
        }
    }
    Ok(())
}

//! Measures the embedded store beside plain SQLite and etcd. `cargo xtask bench store` runs it and says what the numbers mean.
//!
//! Each line on standard output is one number: `{"engine": ..., "what": ..., "value": ..., "unit": ...}`. The engines take turns
//! in short slices, so that what disturbs one disturbs the others; the median of the slices counts.
//!
//! * `engine`: what is measured of each; `plain`: SQLite without anything around it; `server`: an etcd of our own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod engine;
mod plain;
mod server;

use bytes::Bytes;
use engine::{Engine, Through};
use orrery_store::{Embedded, EmbeddedOptions};
use plain::Plain;
use server::Server;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the product allocates with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a value.
const VALUE: usize = 2048;
/// Objects in a namespace: what one range reads.
const NAMESPACE: usize = 10_000;

#[derive(Debug, Clone)]
struct Settings {
    directory: PathBuf,
    etcd: PathBuf,
    objects: usize,
    rounds: usize,
    slice: Duration,
}

fn settings(arguments: &[String]) -> Result<Settings, Failure> {
    let [directory, etcd, objects, rounds, slice_ms] = arguments else {
        return Err("usage: store-bench DIRECTORY ETCD OBJECTS ROUNDS SLICE-MILLISECONDS".into());
    };
    Ok(Settings {
        directory: directory.into(),
        etcd: etcd.into(),
        objects: objects.parse::<usize>()?.max(NAMESPACE),
        rounds: rounds.parse::<usize>()?.max(1),
        slice: Duration::from_millis(slice_ms.parse()?),
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        // What is killed, to see how long the next opening takes.
        [fill, name, path, objects] if fill == "fill" => fill_until_killed(name, path.as_ref(), objects).await,
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

pub(crate) fn key(number: usize) -> String {
    format!("/registry/pods/namespace-{}/pod-{:08}", number / NAMESPACE, number)
}

fn value(number: u64) -> Bytes {
    let mut text = format!("{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"number\":{number},\"filling\":\"");
    let mut random = number;
    while text.len() < VALUE - 2 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(b'a' + u8::try_from((random >> 40) % 26).unwrap_or(0)));
    }
    text.push_str("\"}");
    text.into()
}

async fn open(name: &str, path: &Path) -> Result<Arc<dyn Engine>, Failure> {
    Ok(match name {
        "embedded" => Arc::new(Through::new(Embedded::open(path, EmbeddedOptions::default()).await?).await?),
        _ => Arc::new(Plain::open(path)?),
    })
}

/// From the decision to open until the first object is read, in milliseconds.
async fn time_to_open(name: &str, path: &Path) -> Result<f64, Failure> {
    let began = Instant::now();
    if name == "embedded" {
        let store = Embedded::open(path, EmbeddedOptions::default()).await?;
        orrery_store::Store::get(&store, &key(0)).await?;
        let took = began.elapsed();
        store.close().await;
        return Ok(took.as_secs_f64() * 1000.0);
    }
    let engine = Plain::open(path)?;
    engine.get(&key(0)).await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

async fn load(engine: &dyn Engine, objects: usize) -> Result<(), Failure> {
    for start in (0..objects).step_by(100) {
        let end = (start + 100).min(objects);
        engine.load((start..end).map(|number| (key(number), value(number as u64))).collect()).await?;
    }
    Ok(())
}

async fn fill_until_killed(name: &str, path: &Path, objects: &str) -> Result<(), Failure> {
    let engine = open(name, path).await?;
    let objects: usize = objects.parse()?;
    load(&*engine, objects).await?;
    println!("loaded");
    let random = Random::default();
    loop {
        put(&*engine, &random, objects).await?;
    }
}

/// Has a child fill a store and kills it while it writes on.
fn filled_and_killed(settings: &Settings, name: &str, path: &Path) -> Result<(), Failure> {
    use std::io::BufRead as _;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["fill", name])
        .arg(path)
        .arg(settings.objects.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().ok_or("it is piped")?).read_line(&mut line)?;
    // Some seconds of updates on top.
    let until = Instant::now() + settings.slice.max(Duration::from_secs(1));
    while Instant::now() < until && child.try_wait()?.is_none() {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    if line.trim() == "loaded" { Ok(()) } else { Err("the store could not be filled".into()) }
}

/// Numbers that look random and are the same in each run.
#[derive(Default)]
struct Random(AtomicU64);

impl Random {
    fn next(&self) -> u64 {
        let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (number ^ (number >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 8
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }
}

/// One update of one object, on condition that nobody else has changed it.
async fn put(engine: &dyn Engine, random: &Random, objects: usize) -> Result<(), Failure> {
    engine.put(key(random.below(objects)), value(random.next())).await
}

/// What is done for a slice of time.
#[derive(Debug, Clone, Copy)]
enum Work {
    Puts { writers: usize },
    Gets,
    Ranges,
}

async fn slice(
    engine: &Arc<dyn Engine>,
    work: Work,
    settings: &Settings,
    random: &Arc<Random>,
) -> Result<f64, Failure> {
    let until = Instant::now() + settings.slice;
    let began = Instant::now();
    let mut done = 0_u32;
    match work {
        Work::Puts { writers: 1 } => {
            while Instant::now() < until {
                engine.put_alone(key(random.below(settings.objects)), value(random.next())).await?;
                done += 1;
            }
        }
        Work::Puts { writers } => {
            let tasks: Vec<_> = (0..writers)
                .map(|_| {
                    let (engine, random, objects) = (Arc::clone(engine), Arc::clone(random), settings.objects);
                    tokio::spawn(async move {
                        let mut done = 0_u32;
                        while Instant::now() < until {
                            put(&*engine, &random, objects).await?;
                            done += 1;
                        }
                        Ok::<_, Failure>(done)
                    })
                })
                .collect();
            for task in tasks {
                done += task.await??;
            }
        }
        Work::Gets => {
            while Instant::now() < until {
                engine.get(&key(random.below(settings.objects))).await?;
                done += 1;
            }
        }
        Work::Ranges => {
            while Instant::now() < until {
                let namespace = random.below(settings.objects / NAMESPACE);
                let got = engine.range(&format!("/registry/pods/namespace-{namespace}/")).await?;
                if got != NAMESPACE {
                    return Err(format!("{got} objects were read instead of {NAMESPACE}").into());
                }
                done += 1;
            }
            return Ok(began.elapsed().as_secs_f64() * 1000.0 / f64::from(done));
        }
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

fn say(engine: &str, what: &str, value: f64, unit: &str) {
    println!("{{\"engine\":\"{engine}\",\"what\":\"{what}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
}

async fn measure(settings: &Settings) -> Result<(), Failure> {
    let mut engines: Vec<(&str, Arc<dyn Engine>)> = Vec::new();
    for name in ["embedded", "sqlite"] {
        eprintln!("{name}: filling, then killing");
        let path = settings.directory.join(format!("{name}.db"));
        filled_and_killed(settings, name, &path)?;
        say(name, "open", time_to_open(name, &path).await?, "ms");
        engines.push((name, open(name, &path).await?));
    }
    eprintln!("etcd: filling, then killing");
    let mut server = Server::start(&settings.etcd, &settings.directory)?;
    load(&Through::new(server.store().await?).await?, settings.objects).await?;
    server.kill()?;
    let began = Instant::now();
    server.restart()?;
    let store = server.store().await?;
    orrery_store::Store::get(&store, &key(0)).await?;
    say("etcd", "open", began.elapsed().as_secs_f64() * 1000.0, "ms");
    engines.push(("etcd", Arc::new(Through::new(store).await?)));

    let random = Arc::new(Random::default());
    let works = [
        ("puts 1", Work::Puts { writers: 1 }, "1/s"),
        ("puts 64", Work::Puts { writers: 64 }, "1/s"),
        ("gets", Work::Gets, "1/s"),
        ("range", Work::Ranges, "ms"),
    ];
    for (what, work, unit) in works {
        let mut values = vec![Vec::new(); engines.len()];
        for round in 1..=settings.rounds {
            eprintln!("{what}: round {round} of {}", settings.rounds);
            for ((_, engine), values) in engines.iter().zip(&mut values) {
                values.push(slice(engine, work, settings, &random).await?);
            }
        }
        for ((name, _), values) in engines.iter().zip(values) {
            say(name, what, median(values), unit);
        }
    }
    Ok(())
}

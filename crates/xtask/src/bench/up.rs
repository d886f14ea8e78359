//! The benchmark `up`, in the order in which it is carried out.

use super::{
    BenchError,
    bare::Bare,
    installation::{Installation, UpRun},
    measure::{Measure, Spread},
    memory::{self, Row},
    note,
    pods::{self, Pods},
    steps,
};
use std::{fs, path::Path, thread, time::Instant};

/// The step before anything is started, and the steps that end when an API answers.
const BOOT_FILES: &str = "guest kernel and first file system";
const MANAGER: &str = "manager";
const SUPERVISOR: &str = "kubeconfig";

/// Makes an installation, measures, and removes it, whatever came of it.
pub(super) fn run(program: &Path, runs: u16) -> Result<Vec<Measure>, BenchError> {
    let installation = Installation::new(program)?;
    let measures = match measure(&installation, runs) {
        Err(_) if installation.children.told_to_end() => return Err(BenchError::BrokenOff),
        result => result?,
    };
    note("removing the installation");
    installation.purge()?;
    Ok(measures)
}

/// Measures everything, each in turn.
fn measure(installation: &Installation, runs: u16) -> Result<Vec<Measure>, BenchError> {
    // Found missing now and not after a minute.
    installation.kubectl()?;
    let mut measures = machine()?.to_vec();
    note("first up: from nothing");
    let first = installation.up()?;
    measures.extend(whole("first up", &first)?);
    measures.extend(each_step("first up", &first));
    note("second up: all runs already");
    measures.push(Measure::seconds("second up: total", installation.up()?.total));
    note("memory");
    let rows = installation.status()?;
    measures.extend(memory_of(&rows)?);
    measures.extend(starts(installation, &rows, runs)?);
    measures.extend(again(installation)?);
    Ok(measures)
}

/// A stop, and a start that finds its state: its own steps end while the pods still come back.
fn again(installation: &Installation) -> Result<Vec<Measure>, BenchError> {
    note("up from kept state");
    let before = pods::container(&Pods::connect(installation)?.demo()?);
    let mut measures = vec![Measure::seconds("down, state stays: total", installation.down()?)];
    let began = Instant::now();
    let up = installation.up()?;
    measures.extend(whole("up from kept state", &up)?);
    Pods::connect(installation)?.wait_for_another_container(&before)?;
    measures.push(Measure::seconds("up from kept state: until the demo pod is back", began.elapsed()));
    Ok(measures)
}

/// What the numbers depend on most.
fn machine() -> Result<[Measure; 2], BenchError> {
    let doing = "read /proc/loadavg";
    let text = fs::read_to_string("/proc/loadavg").map_err(BenchError::io(doing))?;
    let load = text.split(' ').next().and_then(|load| load.parse().ok());
    let load = load.ok_or_else(|| BenchError::answer("/proc/loadavg", &text))?;
    let processors = thread::available_parallelism().map_err(BenchError::io("count the processors"))?;
    let processors = u32::try_from(processors.get()).unwrap_or(u32::MAX);
    Ok([
        Measure::new("machine: processors", f64::from(processors), "1"),
        Measure::new("machine: load of the last minute, before", load, "1"),
    ])
}

/// From the program's start to its end, and from its first process to each API. Fetching the boot files is left out of
/// the latter: it depends on the network.
fn whole(when: &str, up: &UpRun) -> Result<[Measure; 3], BenchError> {
    let end_of = |name: &str| {
        let missing = || BenchError::answer("what orrery up says", format!("it names no step `{name}`"));
        steps::end_of(&up.steps, name).ok_or_else(missing)
    };
    let began = end_of(BOOT_FILES)?;
    Ok([
        Measure::seconds(format!("{when}: total"), up.total),
        Measure::seconds(format!("{when}: manager answers"), end_of(MANAGER)?.saturating_sub(began)),
        Measure::seconds(format!("{when}: Supervisor answers"), end_of(SUPERVISOR)?.saturating_sub(began)),
    ])
}

fn each_step(when: &str, up: &UpRun) -> Vec<Measure> {
    let steps = up.steps.iter().map(|seen| &seen.step);
    steps.map(|step| Measure::new(format!("{when}: step {}", step.name), step.seconds, "s")).collect()
}

#[allow(clippy::cast_precision_loss, reason = "no process holds 2^53 KiB")]
fn memory_of(rows: &[Row]) -> Result<Vec<Measure>, BenchError> {
    let mut measures = Vec::new();
    let (mut pss, mut uss) = (0, 0);
    let mut add = |name: &str, pss_kib: u64, uss_kib: u64| {
        measures.push(Measure::new(format!("memory: {name}, PSS"), pss_kib as f64 / 1024.0, "MiB"));
        measures.push(Measure::new(format!("memory: {name}, USS"), uss_kib as f64 / 1024.0, "MiB"));
    };
    for process in memory::processes(rows)? {
        let held = memory::held(&process)?;
        pss += held.pss_kib;
        uss += held.uss_kib;
        add(&process.name, held.pss_kib, held.uss_kib);
    }
    add("all together", pss, uss);
    Ok(measures)
}

/// Pods, and machines with nothing in them, by turns: what disturbs one disturbs the other.
fn starts(installation: &Installation, rows: &[Row], runs: u16) -> Result<[Measure; 6], BenchError> {
    let nothing = |what: &str| BenchError::answer("orrery status", format!("there is no {what}"));
    let demo = rows.iter().find_map(Row::machine).ok_or_else(|| nothing("machine"))?;
    let bare = Bare::like(demo)?;
    let api = Pods::connect(installation)?;
    let demo = api.demo()?;
    let (mut pods, mut boots) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        note(&format!("pod and bare machine, {run} of {runs}"));
        pods.push(api.start(&pods::like(&demo, &format!("bench-{run}")))?);
        boots.push(bare.boot(&installation.children)?);
    }
    let pod = Spread::of(&pods).ok_or_else(|| nothing("run"))?;
    let boot = Spread::of(&boots).ok_or_else(|| nothing("run"))?;
    Ok([
        Measure::new("pod: POST to Ready, median", pod.median, "s").beside(boot.median),
        Measure::new("pod: POST to Ready, fastest", pod.least, "s"),
        Measure::new("pod: POST to Ready, slowest", pod.most, "s"),
        Measure::new("bare machine: start to Ready, median", boot.median, "s"),
        Measure::new("bare machine: start to Ready, fastest", boot.least, "s"),
        Measure::new("bare machine: start to Ready, slowest", boot.most, "s"),
    ])
}

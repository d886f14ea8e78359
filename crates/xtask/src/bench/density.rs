//! The benchmark `pod-density`: what pods that do nothing hold of memory, and what they take of the processor.

use super::{
    BenchError, PodDensity,
    installation::Installation,
    measure::{Measure, machine},
    memory::{self, Process},
    note, pause, pod_start,
    pods::Pods,
};
use std::{path::Path, time::Duration};

/// After the last start, until what started has come to rest.
const REST: Duration = Duration::from_secs(10);
/// How long the processor's time is counted.
const WATCHED: Duration = Duration::from_secs(20);
const TEMPLATES: Duration = Duration::from_secs(180);
/// The pods' limit of memory, in MiB: that of the smallest machines, so that a host has room for many.
const SMALL: u32 = 32;
/// PSS of a pod with Debian's kernel, in MiB.
const GOAL: f64 = 64.0;
/// The same with the lean kernel: 50 MB.
const LEAN_GOAL: f64 = 50.0e6 / 1024.0 / 1024.0;

/// Makes an installation, measures, and removes it, whatever came of it.
pub(super) fn run(root: &Path, program: &Path, options: &PodDensity) -> Result<Vec<Measure>, BenchError> {
    let installation = Installation::new(program)?.with_lean_kernel(options.kernels.as_deref())?;
    installation.kubectl()?;
    let archive = pod_start::hello(root, installation.scratch())?;
    let mut measures = machine();
    note("bringing an installation up");
    installation.up()?;
    installation.import(&archive)?;
    installation.wait_for_templates(TEMPLATES)?;
    let api = Pods::connect(&installation)?;
    let goal = if options.kernels.is_some() { LEAN_GOAL } else { GOAL };
    let mut started = 0;
    for count in &options.pods {
        for number in started..*count {
            api.run(&pod_start::pod(&format!("idle-{number}"), Some(SMALL)))?;
        }
        started = started.max(*count);
        note(&format!("{started} pods rest"));
        pause(REST);
        measures.extend(measure(&installation, started, goal)?);
    }
    installation.purge()?;
    Ok(measures)
}

#[allow(clippy::cast_precision_loss, reason = "no process holds 2^53 KiB")]
fn measure(installation: &Installation, count: u16, goal: f64) -> Result<[Measure; 3], BenchError> {
    let idle = |process: &Process| process.name.contains("demo/idle-");
    let processes: Vec<Process> = memory::processes(&installation.status()?)?.into_iter().filter(idle).collect();
    let (mut pss, mut uss) = (0, 0);
    for process in &processes {
        let held = memory::held(process)?;
        pss += held.pss_kib;
        uss += held.uss_kib;
    }
    let ticks = || processes.iter().map(memory::processor_ticks).sum::<Result<u64, _>>();
    let before = ticks()?;
    pause(WATCHED);
    let used = ticks()?.saturating_sub(before) as f64 / memory::ticks_per_second();
    let pods = f64::from(count);
    let name = |what: &str| format!("{count} idle pods: {what} of one, QEMU and shim");
    Ok([
        Measure::new(name("PSS"), pss as f64 / 1024.0 / pods, "MiB").below(goal),
        Measure::new(name("USS"), uss as f64 / 1024.0 / pods, "MiB"),
        Measure::new(name("processor time in a second"), used / WATCHED.as_secs_f64() / pods * 1000.0, "ms"),
    ])
}
